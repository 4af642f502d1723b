/**
 * Cuts the bytes of a socket into lines, and holds no more of one that has not
 * ended yet than the longest line has.
 */
import * as Result from "effect/Result"

/** How long a line may be, in bytes. What a worker tells of an outcome is far shorter. */
export const maxLineBytes = 64 * 1024

/** Takes the next bytes; gives the lines that end in them, or fails when one is too long. A failure is final. */
export type Cutter = (chunk: Uint8Array) => Result.Result<ReadonlyArray<string>, "TooLong">

const lineEnd = 10

/** Begins to cut. Each byte is looked at once, and copied once more when its line came in pieces. */
export const cutter = (): Cutter => {
  const decoder = new TextDecoder()
  let pieces: Array<Uint8Array> = []
  let held = 0
  return (chunk) => {
    const lines: Array<string> = []
    let start = 0
    while (start < chunk.length) {
      const end = chunk.indexOf(lineEnd, start)
      const piece = chunk.subarray(start, end < 0 ? undefined : end)
      held += piece.length
      if (held > maxLineBytes) return Result.fail("TooLong")
      if (end < 0) {
        // a copy, which does not keep the rest of the chunk
        pieces.push(piece.slice())
        break
      }
      lines.push(decoder.decode(pieces.length === 0 ? piece : Buffer.concat([...pieces, piece], held)))
      pieces = []
      held = 0
      start = end + 1
    }
    return Result.succeed(lines)
  }
}
