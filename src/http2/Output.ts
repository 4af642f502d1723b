/** Bytes that are being written, in one buffer that grows and is used again. */

/** A buffer to append to. Whoever writes past `size` reserves the room first. */
export class Output {
  bytes: Buffer = Buffer.allocUnsafe(16384)
  size = 0

  /** Makes sure that so many bytes can be written. */
  reserve(count: number): void {
    if (this.size + count <= this.bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.size + count))
    larger.set(this.bytes.subarray(0, this.size))
    this.bytes = larger
  }

  /** Appends bytes. */
  append(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.size)
    this.size += bytes.length
  }

  /** What was written; good until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.size)
  }
}
