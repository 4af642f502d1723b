/** Bytes that are to be sent, in buffers that grow and are used again. */

/** The size of a buffer to begin with, in bytes. */
const initialSize = 16384

/** A buffer to append to. Whoever writes past `size` reserves the room first. */
export class Output {
  bytes: Buffer = Buffer.allocUnsafe(initialSize)
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

/** Two buffers that take turns: one is filled while the socket has the other. */
export class Outbox {
  /** What is to be sent next. */
  out = new Output()
  private spare = new Output()

  /** What is to be sent, if anything; good until the next but one `take`. */
  take(): Uint8Array | undefined {
    const { out, spare } = this
    if (out.size === 0) return undefined
    spare.size = 0
    this.out = spare
    this.spare = out
    return out.view()
  }

  /** Gives large buffers back. A write that is under way keeps its own. */
  shrink(): void {
    if (this.spare.bytes.length > initialSize) this.spare = new Output()
    if (this.out.bytes.length > initialSize && this.out.size === 0) this.out = new Output()
  }

  /** How much memory the buffers take, in bytes. */
  get held(): number {
    return this.out.bytes.length + this.spare.bytes.length
  }
}
