/** The static table of HPACK. RFC 7541, appendix A. */

/** A field of a header block: its name and its value. */
export type Field = readonly [name: string, value: string]

/** The static table. Its first field has the index 1. */
export const fields: ReadonlyArray<Field> = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""]
]

/** The index of each name: its first, if a name has several. */
export const nameIndex: ReadonlyMap<string, number> = new Map(
  fields.map(([name], i) => [name, i + 1] as const).toReversed()
)

/** The key of a field in an index. Names contain no NUL. */
export const fieldKey = (name: string, value: string): string => `${name}\0${value}`

/** The index of each field. */
export const fieldIndex: ReadonlyMap<string, number> = new Map(
  fields.map(([name, value], i) => [fieldKey(name, value), i + 1] as const)
)

/** The overhead of a field in a dynamic table or a header list, in bytes. RFC 7541, section 4.1. */
export const overhead = 32
