/**
 * Encodes header blocks. RFC 7541.
 *
 * Each header says by itself whether it enters the peer's dynamic table. A list
 * of headers that many requests share is encoded once: as long as the table
 * stays as it is, the same bytes are copied. What enters the table is Huffman
 * coded, as it is sent once; everything else is not, as time is dearer than
 * bytes.
 *
 * Names and values are written in UTF-8.
 */
import type { Header } from "../Message.ts"
import { Output } from "../session/output.ts"
import * as Huffman from "./huffman.ts"
import { fieldIndex, fieldKey, fields as staticTable, nameIndex, overhead } from "./staticTable.ts"

/** The table's size until the peer says otherwise, and the most of what it allows that is used. */
const defaultTableSize = 4096

const pathIndex = nameIndex.get(":path")!

/** Remember the encoded form of so many lists, and of so many names. */
const maxRemembered = 256

interface Encoded {
  readonly generation: number
  readonly bytes: Uint8Array
}

/** The characters of a field name. RFC 9110, section 5.6.2, without upper case: RFC 9113, section 8.2.1. */
const isName = (name: string): boolean => /^[a-z0-9!#$%&'*+\-.^_`|~]+$/.test(name)

const contentLength = "content-length"

const forbidden = new Set([
  "connection",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** Headers that a request can't bring along. RFC 9113, sections 8.2.2 and 8.3. */
const isForbidden = (name: string): boolean => name.charCodeAt(0) === 58 || forbidden.has(name)

const isBlank = (code: number): boolean => code === 32 || code === 9

/** No control character but the tab, and no blank at its beginning or end. RFC 9113, section 8.2.1. */
const isValue = (value: string): boolean => {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if ((code < 32 && code !== 9) || code === 127) return false
  }
  return value === "" || !(isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)))
}

const isPath = (path: string): boolean => isValue(path) && !path.includes(" ") && !path.includes("\t")

const notValue = (name: string): string =>
  `the value of the header ${name} has a control character, or a blank at its beginning or end`

/** Writes an integer behind the bits of `pattern`. RFC 7541, section 5.1. */
const putInteger = (out: Output, pattern: number, mask: number, value: number): void => {
  out.reserve(6)
  if (value < mask) {
    out.bytes[out.size++] = pattern | value
    return
  }
  out.bytes[out.size++] = pattern | mask
  let rest = value - mask
  while (rest >= 128) {
    out.bytes[out.size++] = (rest & 127) | 128
    rest >>>= 7
  }
  out.bytes[out.size++] = rest
}

const putBytes = (out: Output, bytes: Uint8Array): void => {
  putInteger(out, 0, 0x7f, bytes.length)
  out.append(bytes)
}

/**
 * Writes a string as it is if all of it is ASCII from `lowest` on, and says
 * whether it is. A loop is the fastest for a short one, and most are.
 */
const putAscii = (out: Output, text: string, lowest: number): boolean => {
  const before = out.size
  const length = text.length
  putInteger(out, 0, 0x7f, length)
  out.reserve(length)
  const bytes = out.bytes
  const start = out.size
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code < lowest || code > 126) {
      out.size = before
      return false
    }
    bytes[start + i] = code
  }
  out.size = start + length
  return true
}

/** Writes a value as it is; says whether it is one. */
const putValue = (out: Output, text: string): boolean => {
  const isEdged = text.charCodeAt(0) === 32 || text.charCodeAt(text.length - 1) === 32
  if (!isEdged && putAscii(out, text, 32)) return true
  if (!isValue(text)) return false
  putBytes(out, Buffer.from(text))
  return true
}

/** Writes a string in whatever form is shorter. */
const putShortest = (out: Output, text: string): void => {
  const bytes = Buffer.from(text)
  const size = Huffman.encodedSize(bytes)
  if (size >= bytes.length) return putBytes(out, bytes)
  putInteger(out, 0x80, 0x7f, size)
  out.reserve(size)
  out.size = Huffman.encode(bytes, out.bytes, out.size)
}

/** Encodes the header blocks of one connection, in order. */
export class HpackEncoder {
  /** Insertions and changes of the size so far; what was encoded with another count is void. */
  private generation = 0
  private inserted = 0
  private maxSize = defaultTableSize
  private size = 0
  /** Oldest first. */
  private entries: Array<{ readonly key: string; readonly size: number }> = []
  /** When each field was inserted. */
  private readonly index = new Map<string, number>()
  /** Sizes of the table that the next block has to announce. */
  private updates: Array<number> = []

  /** What a content-length of the block has to be. */
  private bodySize = 0

  private readonly shared = new Map<ReadonlyArray<Header>, Encoded>()
  private readonly names = new Map<string, Uint8Array>()
  private readonly scratch = new Output()

  /** The size of the table that the peer allows. It is announced in the next block. */
  setTableSize(allowed: number): void {
    const size = Math.min(allowed, defaultTableSize)
    if (size === this.maxSize && this.updates.length === 0) return
    const smallest = Math.min(size, ...this.updates)
    this.updates = smallest < size ? [smallest, size] : [size]
    this.maxSize = size
    this.evict(0)
    this.generation++
  }

  /** Forgets the table, as the peer is told in the next block. To be called when a block that was begun is not sent. */
  reset(): void {
    this.updates = [0, this.maxSize]
    this.evict(Infinity)
    this.generation++
  }

  /** Begins a block, of a request whose body has so many bytes. */
  begin(out: Output, bodySize: number): void {
    this.bodySize = bodySize
    if (this.updates.length === 0) return
    for (const size of this.updates) putInteger(out, 0x20, 0x1f, size)
    this.updates = []
  }

  /**
   * Writes headers. Returns what is wrong with them, if anything; then the
   * block must not be sent: see `reset`. Only `pseudo` ones may begin with ":".
   */
  headers(out: Output, headers: ReadonlyArray<Header>, pseudo = false): string | undefined {
    for (const { index, name, value } of headers) {
      if (!pseudo && isForbidden(name)) {
        return `the header ${JSON.stringify(name)} is the connection's own, not a request's`
      }
      if (name === contentLength && value !== String(this.bodySize)) {
        return `its body has ${this.bodySize} bytes, and its content-length is ${JSON.stringify(value)}`
      }
      const wrong = this.header(out, name, value, index ?? false)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  /** As `headers`, for those that come again and again as the same array. */
  sharedHeaders(out: Output, headers: ReadonlyArray<Header>, pseudo = false): string | undefined {
    const known = this.shared.get(headers)
    if (known !== undefined && known.generation === this.generation) {
      out.append(known.bytes)
      return undefined
    }
    const start = out.size
    const generation = this.generation
    const wrong = this.headers(out, headers, pseudo)
    if (wrong !== undefined || generation !== this.generation) return wrong
    // It is to be looked at for each body.
    if (headers.some(({ name }) => name === contentLength)) return undefined
    if (this.shared.size >= maxRemembered) this.shared.clear()
    this.shared.set(headers, { generation, bytes: Uint8Array.from(out.bytes.subarray(start, out.size)) })
    return undefined
  }

  /** Writes one header, which may be a pseudo-header. */
  header(out: Output, name: string, value: string, index: boolean | "never"): string | undefined {
    if (index === true) return this.indexed(out, name, value)
    const wrong = this.literal(out, index === "never" ? 0x10 : 0, 0x0f, name)
    return wrong ?? (putValue(out, value) ? undefined : notValue(name))
  }

  /** Writes a path, which enters no table; says whether it is one. */
  path(out: Output, path: string): boolean {
    putInteger(out, 0, 0x0f, pathIndex)
    if (putAscii(out, path, 33)) return true
    if (!isPath(path)) return false
    putBytes(out, Buffer.from(path))
    return true
  }

  private indexed(out: Output, name: string, value: string): string | undefined {
    const key = fieldKey(name, value)
    const known = fieldIndex.get(key)
    if (known !== undefined) return void putInteger(out, 0x80, 0x7f, known)
    const inserted = this.index.get(key)
    if (inserted !== undefined) {
      return void putInteger(out, 0x80, 0x7f, staticTable.length + this.inserted - inserted)
    }
    if (!isValue(value)) return notValue(name)
    const size = Buffer.byteLength(name) + Buffer.byteLength(value) + overhead
    const fits = size <= this.maxSize
    const wrong = this.literal(out, fits ? 0x40 : 0, fits ? 0x3f : 0x0f, name)
    if (wrong !== undefined) return wrong
    putShortest(out, value)
    if (fits) this.insert(key, size)
    return undefined
  }

  private literal(out: Output, pattern: number, mask: number, name: string): string | undefined {
    const known = nameIndex.get(name)
    if (known !== undefined) return void putInteger(out, pattern, mask, known)
    let bytes = this.names.get(name)
    if (bytes === undefined) {
      if (!isName(name)) {
        return `${JSON.stringify(name)} is no name for a header: use lower-case letters, digits and "-"`
      }
      this.scratch.size = 0
      putShortest(this.scratch, name)
      bytes = Uint8Array.from(this.scratch.view())
      if (this.names.size >= maxRemembered) this.names.clear()
      this.names.set(name, bytes)
    }
    putInteger(out, pattern, mask, 0)
    out.append(bytes)
    return undefined
  }

  private insert(key: string, size: number): void {
    this.evict(size)
    this.entries.push({ key, size })
    this.index.set(key, this.inserted++)
    this.size += size
    this.generation++
  }

  /** Makes room for so many bytes, as the peer does at the same time. */
  private evict(room: number): void {
    let gone = 0
    while (this.size > 0 && this.size + room > this.maxSize) {
      const entry = this.entries[gone++]!
      this.index.delete(entry.key)
      this.size -= entry.size
    }
    if (gone > 0) this.entries = this.entries.slice(gone)
  }
}
