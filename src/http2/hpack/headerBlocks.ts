/** Joins the parts of a header block from HEADERS and CONTINUATION. RFC 9113, section 6.10. */
import { Code, type ConnectionError, connectionError } from "../frame/frame.ts"

/** A header block may have at most this many bytes and frames. A longer one counts as an attack. */
export const maxBlockBytes = 65536
const maxFrames = 64

/** An incomplete header block. */
export class HeaderBlocks {
  /** The stream of the incomplete block, or 0. The peer may send no other frame until it is complete. */
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
    if (this.size > maxBlockBytes || this.parts.length >= maxFrames) {
      return connectionError(
        Code.enhanceYourCalm,
        `a header block of more than ${maxBlockBytes} bytes or ${maxFrames} frames`
      )
    }
    this.parts.push(new Uint8Array(bytes.subarray(start, end)))
    return undefined
  }

  /** Returns the complete block. */
  finish(): Buffer {
    this.stream = 0
    return Buffer.concat(this.parts)
  }
}
