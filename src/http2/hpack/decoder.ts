/**
 * Decodes header blocks. RFC 7541.
 *
 * Complete: dynamic table, Huffman code, size updates. A block that can't be
 * decoded is an error of the whole connection, since the two tables may differ
 * from then on. A list of headers over the limit is not: the block is decoded
 * to its end, and what is over the limit is dropped.
 *
 * Names and values are taken for UTF-8.
 */
import * as Huffman from "./huffman.ts"
import { type Field, fields as staticTable, overhead } from "./staticTable.ts"

/** The table's size until the peer knows ours, and the most that is ever allowed. */
export const defaultTableSize = 4096

/** A field of a table, and what it and its name count, in bytes of the wire: what is no UTF-8 is longer as text. */
interface Entry {
  readonly field: Field
  readonly size: number
  readonly nameSize: number
}

const outdated = "a use of the table of headers, which has to be smaller by now"

const staticEntries: ReadonlyArray<Entry> = staticTable.map((field) => ({
  field,
  size: field[0].length + field[1].length + overhead,
  nameSize: field[0].length
}))

/** Decodes the header blocks of one connection, in order. */
export class HpackDecoder {
  /** Did the last block hold more than the limit? */
  isOverLimit = false
  /** How much the last block held, in bytes, each field with its {@link overhead}. */
  listSize = 0

  private readonly maxListSize: number
  /** The limit that a size update has to keep. */
  private allowed = defaultTableSize
  private maxSize = defaultTableSize
  private size = 0
  /** Is the table larger than is allowed now, as long as the peer has not said that it is smaller? */
  private isOutdated = false
  /** Newest last. */
  private table: Array<Entry> = []
  /** How many of the table's first fields were evicted. */
  private evicted = 0

  private bytes: Buffer = Buffer.alloc(0)
  private at = 0
  private end = 0
  private error: string | undefined
  /** How many bytes the string that was read last has. */
  private octets = 0
  private scratch = Buffer.allocUnsafe(1024)

  /** `maxListSize` is the limit of a block's fields, each with its {@link overhead}, in bytes. */
  constructor(maxListSize: number) {
    this.maxListSize = maxListSize
  }

  /**
   * The table's size that we announced is in force: the peer has acknowledged
   * it. A smaller one has to be said at the beginning of its next block: RFC
   * 9113, section 4.3.1. A peer that does not say it is only let go on while it
   * leaves the table alone, as servers without a table do: the two can't differ
   * then. The first block that uses the table all the same is an error.
   */
  allow(size: number): void {
    this.allowed = size
    if (size < this.maxSize) this.isOutdated = true
  }

  /** Appends the fields of a whole block to `fields`. Returns what is wrong with it, if anything. */
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
        if (!mayUpdate) return "a table size update amid a header block"
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
    this.fail(`no field has the index ${index}`)
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

  /** An integer whose first bits are those of `mask` in the next byte. RFC 7541, section 5.1. */
  private integer(mask: number): number {
    let value = this.bytes[this.at++]! & mask
    if (value < mask) return value
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.at >= this.end) {
        this.fail("a header block that ends within a number")
        return 0
      }
      const byte = this.bytes[this.at++]!
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    this.fail("a number that is too large in a header block")
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
      this.fail("a header block that ends within a string")
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
      this.fail("a string that is no Huffman code in a header block")
      return ""
    }
    this.octets = size
    return this.scratch.toString("utf8", 0, size)
  }

  private resize(size: number): void {
    if (size > this.allowed) return this.fail(`a table of ${size} bytes, where ${this.allowed} are allowed`)
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

  /** Makes room for so many bytes. */
  private evict(room: number): void {
    while (this.size > 0 && this.size + room > this.maxSize) this.size -= this.table[this.evicted++]!.size
    if (this.evicted > 64 && this.evicted * 2 > this.table.length) {
      this.table = this.table.slice(this.evicted)
      this.evicted = 0
    }
  }
}
