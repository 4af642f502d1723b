/**
 * Decodes header blocks. RFC 7541.
 *
 * It supports the dynamic table, the Huffman code and size updates. A block that it
 * can't decode ends the connection, since the tables of the two sides may differ
 * from then on. A header list over the limit does not: the decoder reads the block
 * to its end and drops the fields over the limit.
 *
 * It decodes names and values as UTF-8.
 */
import * as Huffman from "./huffman.ts"
import { type Field, fields as staticTable, overhead } from "./staticTable.ts"

/** The initial size of the table, and its maximum, in bytes. */
export const defaultTableSize = 4096

/** A field of a table. The sizes are bytes on the wire: bytes that are not UTF-8 take more space as text. */
interface Entry {
  readonly field: Field
  readonly size: number
  readonly nameSize: number
}

const outdated = "a use of the dynamic table without the size update that it must announce first"

const staticEntries: ReadonlyArray<Entry> = staticTable.map((field) => ({
  field,
  size: field[0].length + field[1].length + overhead,
  nameSize: field[0].length
}))

/** Decodes the header blocks of one connection, in order. */
export class HpackDecoder {
  /** Whether the last block was over the limit. */
  isOverLimit = false
  /** The size of the last block's fields, in bytes, each with its {@link overhead}. */
  listSize = 0

  private readonly maxListSize: number
  /** The limit of a size update, in bytes. */
  private allowed = defaultTableSize
  private maxSize = defaultTableSize
  private size = 0
  /** Whether the table is larger than allowed, and the peer has not announced a smaller one yet. */
  private isOutdated = false
  /** Newest last. */
  private table: Array<Entry> = []
  /** How many of the table's first entries were evicted. */
  private evicted = 0

  private bytes: Buffer = Buffer.alloc(0)
  private at = 0
  private end = 0
  private error: string | undefined
  /** The size of the last string, in bytes. */
  private octets = 0
  private scratch = Buffer.allocUnsafe(1024)

  /** `maxListSize` limits the fields of a block, in bytes, each with its {@link overhead}. */
  constructor(maxListSize: number) {
    this.maxListSize = maxListSize
  }

  /**
   * The peer acknowledged the announced table size. Its next block must start with a
   * size update if that size is smaller: RFC 9113, section 4.3.1. A peer without the
   * update, such as a server that has no table, may go on while it does not use the
   * table, since the tables can't differ then. The first use is an error.
   */
  allow(size: number): void {
    this.allowed = size
    if (size < this.maxSize) this.isOutdated = true
  }

  /** Appends the fields of a whole block to `fields`. Returns the fault if the block is invalid. */
  decode(bytes: Buffer, start: number, end: number, fields: Array<Field>): string | undefined {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.error = undefined
    this.isOverLimit = false
    this.listSize = 0
    let mayUpdate = true
    while (this.at < this.end) {
      const byte = bytes[this.at]!
      if ((byte & 0xe0) === 0x20) {
        if (!mayUpdate) return "a table size update inside a header block"
        this.resize(this.integer(0x1f))
        if (this.error !== undefined) return this.error
        continue
      }
      mayUpdate = false
      const entry = byte & 0x80
        ? this.entry(this.integer(0x7f))
        : this.literal(byte & 0x40 ? 0x3f : 0x0f)
      if ((byte & 0xc0) === 0x40) this.insert(entry)
      if (this.error !== undefined) return this.error
      this.listSize += entry.size
      if (this.listSize > this.maxListSize) this.isOverLimit = true
      else fields.push(entry.field)
    }
    return undefined
  }

  private fail(error: string): void {
    this.error ??= error
  }

  private entry(index: number): Entry {
    if (index > 0 && index <= staticTable.length) return staticEntries[index - 1]!
    const at = this.table.length - (index - staticTable.length)
    if (this.isOutdated) this.fail(outdated)
    if (index > staticTable.length && at >= this.evicted) return this.table[at]!
    this.fail(`the unknown header index ${index}`)
    return staticEntries[0]!
  }

  private literal(mask: number): Entry {
    const index = this.integer(mask)
    const known = index === 0 ? undefined : this.entry(index)
    const name = known === undefined ? this.string() : known.field[0]
    const nameSize = known === undefined ? this.octets : known.nameSize
    const value = this.string()
    return { field: [name, value], size: nameSize + this.octets + overhead, nameSize }
  }

  /** Reads an integer that starts in the bits of `mask`. RFC 7541, section 5.1. */
  private integer(mask: number): number {
    let value = this.bytes[this.at++]! & mask
    if (value < mask) return value
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.at >= this.end) {
        this.fail("a header block that ends inside a number")
        return 0
      }
      const byte = this.bytes[this.at++]!
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    this.fail("a header block with a number that is too large")
    return 0
  }

  private string(): string {
    if (this.at >= this.end) {
      this.fail("a header block that ends before a string")
      return ""
    }
    const isCoded = this.bytes[this.at]! >= 0x80
    const length = this.integer(0x7f)
    const start = this.at
    const end = start + length
    if (end > this.end) {
      this.fail("a header block that ends inside a string")
      return ""
    }
    this.at = end
    if (!isCoded) {
      this.octets = length
      return this.bytes.toString("utf8", start, end)
    }
    if (this.scratch.length < length * 2) this.scratch = Buffer.allocUnsafe(length * 2)
    const size = Huffman.decode(this.bytes, start, end, this.scratch)
    if (size < 0) {
      this.fail("a header block with an invalid Huffman code")
      return ""
    }
    this.octets = size
    return this.scratch.toString("utf8", 0, size)
  }

  private resize(size: number): void {
    if (size > this.allowed) return this.fail(`a table of ${size} bytes; at most ${this.allowed} are allowed`)
    this.maxSize = size
    this.isOutdated = false
    this.evict(0)
  }

  private insert(entry: Entry): void {
    if (this.isOutdated) return this.fail(outdated)
    this.evict(entry.size)
    if (entry.size > this.maxSize) return
    this.table.push(entry)
    this.size += entry.size
  }

  /** Evicts entries until `room` bytes are free. */
  private evict(room: number): void {
    while (this.size > 0 && this.size + room > this.maxSize) this.size -= this.table[this.evicted++]!.size
    if (this.evicted > 64 && this.evicted * 2 > this.table.length) {
      this.table = this.table.slice(this.evicted)
      this.evicted = 0
    }
  }
}
