/** Buffers for the bytes to send. They grow, and are reused. */

const initialBytes = 16384

/** A growing buffer. Call `reserve` before you write past `size`. */
export class Output {
  bytes: Buffer = Buffer.allocUnsafe(initialBytes)
  size = 0

  /** Makes space for `count` more bytes. */
  reserve(count: number): void {
    if (this.size + count <= this.bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.size + count))
    larger.set(this.bytes.subarray(0, this.size))
    this.bytes = larger
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.size)
    this.size += bytes.length
  }

  /** The written bytes, valid until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.size)
  }
}

/** Two buffers that alternate: the session fills one while the socket sends the other. */
export class Outbox {
  /** The buffer to fill. */
  out = new Output()
  private spare = new Output()

  /** Takes the bytes to send, if there are any. They stay valid until the second `take` from now. */
  take(): Uint8Array | undefined {
    const { out, spare } = this
    if (out.size === 0) return undefined
    spare.size = 0
    this.out = spare
    this.spare = out
    return out.view()
  }

  /** Frees large buffers. A running write keeps its own. */
  shrink(): void {
    if (this.spare.bytes.length > initialBytes) this.spare = new Output()
    if (this.out.bytes.length > initialBytes && this.out.size === 0) this.out = new Output()
  }

  /** The memory of both buffers, in bytes. */
  get held(): number {
    return this.out.bytes.length + this.spare.bytes.length
  }
}
