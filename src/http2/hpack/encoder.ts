/**
 * Encodes header blocks. RFC 7541.
 *
 * Each header's `index` says whether it enters the peer's dynamic table. The encoder
 * encodes a shared list of headers once, and copies the bytes until the table
 * changes. It uses the Huffman code for table entries, which are sent once, and not
 * for other values, where time matters more than bytes.
 *
 * It encodes names and values as UTF-8.
 */
import type { Header } from "../Message.ts"
import { Output } from "../session/output.ts"
import * as Huffman from "./huffman.ts"
import { fieldIndex, fieldKey, fields as staticTable, nameIndex, overhead } from "./staticTable.ts"

/** The initial size of the table, and the largest that the encoder uses, in bytes. */
const defaultTableSize = 4096

const pathIndex = nameIndex.get(":path")!

/** The encoder caches at most this many lists, and this many names. */
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

/** Whether a request must not set this header. RFC 9113, sections 8.2.2 and 8.3. */
const isForbidden = (name: string): boolean => name.charCodeAt(0) === 58 || forbidden.has(name)

const isBlank = (code: number): boolean => code === 32 || code === 9

/** Whether it has no control character but the tab, and no space or tab at its start or end. RFC 9113, section 8.2.1. */
const isValue = (value: string): boolean => {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if ((code < 32 && code !== 9) || code === 127) return false
  }
  return value === "" || !(isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)))
}

const isPath = (path: string): boolean => isValue(path) && !path.includes(" ") && !path.includes("\t")

const notValue = (name: string): string =>
  `the value of the header ${name} must have no control character, and no space or tab at its start or end`

/** Writes an integer after the bits of `pattern`. RFC 7541, section 5.1. */
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
 * Writes a string if all characters are ASCII from `lowest` on. Returns whether they
 * are. A loop is fastest for short strings, and most are short.
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

/** Writes a value without the Huffman code. Returns whether it is valid. */
const putValue = (out: Output, text: string): boolean => {
  const isEdged = text.charCodeAt(0) === 32 || text.charCodeAt(text.length - 1) === 32
  if (!isEdged && putAscii(out, text, 32)) return true
  if (!isValue(text)) return false
  putBytes(out, Buffer.from(text))
  return true
}

/** Writes a string in the shorter of its two forms. */
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
  /** Counts the changes of the table. Cached bytes of another generation are invalid. */
  private generation = 0
  private inserted = 0
  private maxSize = defaultTableSize
  private size = 0
  /** Oldest first. */
  private entries: Array<{ readonly key: string; readonly size: number }> = []
  /** The insertion number of each field. */
  private readonly index = new Map<string, number>()
  /** The table sizes that the next block must announce. */
  private updates: Array<number> = []

  /** The content-length that the block may have, in bytes. */
  private bodySize = 0

  private readonly shared = new Map<ReadonlyArray<Header>, Encoded>()
  private readonly names = new Map<string, Uint8Array>()
  private readonly scratch = new Output()

  /** Sets the table size that the peer allows, in bytes. The next block announces it. */
  setTableSize(allowed: number): void {
    const size = Math.min(allowed, defaultTableSize)
    if (size === this.maxSize && this.updates.length === 0) return
    const smallest = Math.min(size, ...this.updates)
    this.updates = smallest < size ? [smallest, size] : [size]
    this.maxSize = size
    this.evict(0)
    this.generation++
  }

  /** Empties the table; the next block announces that. Call it when a started block is not sent. */
  reset(): void {
    this.updates = [0, this.maxSize]
    this.evict(Infinity)
    this.generation++
  }

  /** Starts a block. `bodySize` is the size of the request's body, in bytes. */
  begin(out: Output, bodySize: number): void {
    this.bodySize = bodySize
    if (this.updates.length === 0) return
    for (const size of this.updates) putInteger(out, 0x20, 0x1f, size)
    this.updates = []
  }

  /**
   * Writes headers. Returns the fault if one is invalid: do not send the block then,
   * and call `reset`. Only `pseudo` headers may start with ":".
   */
  headers(out: Output, headers: ReadonlyArray<Header>, pseudo = false): string | undefined {
    for (const { index, name, value } of headers) {
      if (!pseudo && isForbidden(name)) {
        return `a request must not set the header ${JSON.stringify(name)}: the connection sets it, or HTTP/2 forbids it`
      }
      if (name === contentLength && value !== String(this.bodySize)) {
        return `its content-length is ${JSON.stringify(value)}, but its body has ${this.bodySize} bytes`
      }
      const wrong = this.header(out, name, value, index ?? false)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  /** Writes headers as `headers` does, and caches the bytes by the identity of the array. */
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
    // A content-length must be checked for each body.
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

  /** Writes a path, which never enters the table. Returns whether it is valid. */
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
        return `the header name ${JSON.stringify(name)} is invalid: use lower-case letters, digits and "-"`
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

  /** Evicts entries until `room` bytes are free, as the peer's decoder does. */
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
