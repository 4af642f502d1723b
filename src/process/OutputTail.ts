/**
 * Keeps the end of a stream of bytes, whatever its length and the size of its
 * pieces, in memory for at most twice as many bytes as are kept. Each byte is
 * copied a small constant number of times.
 */
import * as Schema from "effect/Schema"

/** The end of what a process wrote to one of its streams. */
export const Output = Schema.Struct({
  /** The last bytes, as they were written. */
  bytes: Schema.Uint8Array,
  /** How many bytes were written in all. */
  total: Schema.Natural,
  /** Are `bytes` not all of it? */
  truncated: Schema.Boolean
})

/** The end of what a process wrote to one of its streams. */
export type Output = typeof Output.Type

/** Collects an {@link Output}. */
export interface OutputTail {
  readonly push: (chunk: Uint8Array) => void
  readonly output: () => Output
}

/** Begins to collect the last `limit` bytes. */
export const make = (limit: number): OutputTail => {
  let buffer = new Uint8Array(0)
  let used = 0
  let total = 0

  const room = (size: number): void => {
    if (used + size <= buffer.length) return
    const kept = Math.min(used, limit - size)
    const capacity = Math.min(2 * limit, Math.max(1024, 2 * (kept + size)))
    const target = capacity > buffer.length ? new Uint8Array(capacity) : buffer
    target.set(buffer.subarray(used - kept, used))
    buffer = target
    used = kept
  }

  return {
    push(chunk) {
      total += chunk.length
      if (limit === 0) return
      const tail = chunk.length > limit ? chunk.subarray(chunk.length - limit) : chunk
      room(tail.length)
      buffer.set(tail, used)
      used += tail.length
    },
    output: () => {
      const bytes = buffer.slice(Math.max(0, used - limit), used)
      return { bytes, total, truncated: bytes.length < total }
    }
  }
}

/** An {@link Output} of given bytes or text, complete. */
export const fromText = (text: string | Uint8Array): Output => {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text
  return { bytes, total: bytes.length, truncated: false }
}

/** The output as text; what isn't UTF-8, a cut character at its start for instance, becomes U+FFFD. */
export const toText = (output: Output): string => new TextDecoder().decode(output.bytes)

/** The last line that isn't blank, on one line and without control characters, at most 200 characters long. */
export const lastLine = (output: Output): string => {
  const lines = toText(output).split(/[\r\n]+/)
  const line = lines.findLast((line) => line.trim() !== "") ?? ""
  return line.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, " ").trim().slice(0, 200)
}
