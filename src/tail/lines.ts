/**
 * Splits the bytes of a socket into lines. It keeps at most {@link maxLineBytes} of an
 * incomplete line.
 */
import * as Result from "effect/Result"

/** The maximum size of a line. A worker's lines are far shorter. */
export const maxLineBytes = 64 * 1024

/** Takes the next bytes. Returns the lines that end in them, or fails forever if a line is too long. */
export type Cutter = (chunk: Uint8Array) => Result.Result<ReadonlyArray<string>, "TooLong">

const lineEnd = 10

/** Makes a cutter. It reads each byte once, and copies it once more if its line arrives in pieces. */
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
        // A copy does not keep the rest of the chunk in memory.
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
