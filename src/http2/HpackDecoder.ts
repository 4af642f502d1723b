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
import * as Huffman from "./Huffman.ts"
import { type Field, fields as staticTable, overhead } from "./StaticTable.ts"

/** The table's size until the peer knows ours, and the most that is ever allowed. */
export const defaultTableSize = 4096

/** A field that the peer added to the table, and what it counts there. */
interface Entry {
  readonly field: Field
  readonly size: number
}

const staticEntries: ReadonlyArray<Entry> = staticTable.map((field) => ({
  field,
  size: field[0].length + field[1].length + overhead
}))

/** Decodes the header blocks of one connection, in order. */
export class HpackDecoder {
  /** Did the last block hold more than the limit? */
  isOverLimit = false

  private readonly maxListSize: number
  /** The limit that a size update has to keep. */
  private allowed = defaultTableSize
  private maxSize = defaultTableSize
  private size = 0
  /** Newest last. */
  private table: Array<Entry> = []
  /** How many of the table's first fields were evicted. */
  private evicted = 0

  private bytes: Buffer = Buffer.alloc(0)
  private at = 0
  private end = 0
  private error: string | undefined
  /** How many bytes the strings that were read last have. */
  private octets = 0
  private scratch = Buffer.allocUnsafe(1024)

  /** `maxListSize` is the limit of a block's fields, each with its {@link overhead}, in bytes. */
  constructor(maxListSize: number) {
    this.maxListSize = maxListSize
  }

  /**
   * The table's size that we announced is in force: the peer has acknowledged
   * it. What the table holds stays until the peer says that it dropped it; a
   * peer that never says so has dropped it for good, and both agree again.
   */
  allow(size: number): void {
    this.allowed = size
  }

  /** Appends the fields of a whole block to `fields`. Returns what is wrong with it, if anything. */
  decode(bytes: Buffer, start: number, end: number, fields: Array<Field>): string | undefined {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.error = undefined
    this.isOverLimit = false
    let listSize = 0
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
      if (this.error !== undefined) return this.error
      if ((byte & 0xc0) === 0x40) this.insert(entry)
      listSize += entry.size
      if (listSize > this.maxListSize) this.isOverLimit = true
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
    if (index > staticTable.length && at >= this.evicted) return this.table[at]!
    this.fail(`no field has the index ${index}`)
    return staticEntries[0]!
  }

  private literal(mask: number): Entry {
    const index = this.integer(mask)
    const known = index === 0 ? undefined : this.entry(index).field[0]
    this.octets = known === undefined ? 0 : Buffer.byteLength(known)
    const name = known ?? this.string()
    return { field: [name, this.string()], size: this.octets + overhead }
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
      this.octets += length
      return this.bytes.toString("utf8", start, end)
    }
    if (this.scratch.length < length * 2) this.scratch = Buffer.allocUnsafe(length * 2)
    const size = Huffman.decode(this.bytes, start, end, this.scratch)
    if (size < 0) {
      this.fail("a string that is no Huffman code in a header block")
      return ""
    }
    this.octets += size
    return this.scratch.toString("utf8", 0, size)
  }

  private resize(size: number): void {
    if (size > this.allowed) return this.fail(`a table of ${size} bytes, where ${this.allowed} are allowed`)
    this.maxSize = size
    this.evict(0)
  }

  private insert(entry: Entry): void {
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
