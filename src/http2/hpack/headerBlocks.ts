/** Puts the header blocks together that come in HEADERS and CONTINUATION. RFC 9113, section 6.10. */
import { Code, type ConnectionError, connectionError } from "../frame/frame.ts"

/** The most bytes of one header block, and the most frames. What is longer is taken for an attack. */
export const maxBlockSize = 65536
const maxFrames = 64

/** A header block that has begun. */
export class HeaderBlocks {
  /** The stream whose block has begun, or 0. Until it is whole, the peer may send nothing else. */
  stream = 0
  isLast = false
  private parts: Array<Uint8Array> = []
  private size = 0

  begin(stream: number, isLast: boolean): void {
    this.stream = stream
    this.isLast = isLast
    this.parts = []
    this.size = 0
  }

  add(bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    this.size += end - start
    if (this.size > maxBlockSize || this.parts.length >= maxFrames) {
      return connectionError(
        Code.enhanceYourCalm,
        `a header block of more than ${maxBlockSize} bytes or ${maxFrames} frames`
      )
    }
    this.parts.push(new Uint8Array(bytes.subarray(start, end)))
    return undefined
  }

  /** The whole block. */
  finish(): Buffer {
    this.stream = 0
    return Buffer.concat(this.parts)
  }
}
