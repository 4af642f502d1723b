/**
 * Keeps the end of a stream of bytes, whatever its length and the size of its
 * pieces, in memory for at most twice as many bytes as are kept. Each byte is
 * copied a small constant number of times.
 */
import * as Schema from "effect/Schema"
import { blankLine, cut, safeLines } from "../internal/text.ts"

/**
 * The end of what a process wrote to one of its streams.
 *
 * @category models
 * @since 0.1.0
 */
export const Output = Schema.Struct({
  /** The last bytes, as they were written. */
  bytes: Schema.Uint8Array,
  /** How many bytes were written in all. */
  total: Schema.Natural,
  /** Are `bytes` not all of it? */
  truncated: Schema.Boolean
})

/**
 * The end of what a process wrote to one of its streams.
 *
 * @category models
 * @since 0.1.0
 */
export type Output = typeof Output.Type

/**
 * Collects an {@link Output}.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutputTail {
  readonly push: (chunk: Uint8Array) => void
  readonly output: () => Output
}

/**
 * Begins to collect the last `limit` bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
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

/**
 * An {@link Output} of given bytes or text, complete.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromText = (text: string | Uint8Array): Output => {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text
  return { bytes, total: bytes.length, truncated: false }
}

/**
 * The output as text; what isn't UTF-8, a cut character at its start for instance, becomes U+FFFD.
 *
 * @category functions
 * @since 0.1.0
 */
export const toText = (output: Output): string => new TextDecoder().decode(output.bytes)

const isLineEnd = (byte: number | undefined): boolean => byte === 10 || byte === 13

const isBlank = (byte: number | undefined): boolean => byte !== undefined && (byte === 32 || (byte >= 9 && byte <= 13))

/** How many bytes a character, as strings count them, takes at most. */
const maxBytesPerChar = 3

/**
 * The end of an output as text for people: at most so many characters, without
 * blanks at its end, safe for a terminal but for its line ends. Decodes no more
 * than it shows.
 *
 * @category functions
 * @since 0.1.0
 */
export const lastChars = ({ bytes }: Output, maxChars: number): string => {
  let end = bytes.length
  while (isBlank(bytes[end - 1])) end--
  const start = Math.max(0, end - maxBytesPerChar * maxChars)
  const text = new TextDecoder().decode(bytes.subarray(start, end)).slice(-maxChars)
  return safeLines(text.replace(/^[\udc00-\udfff]/, "").replaceAll("\r\n", "\n"))
}

const lastLineChars = 200
/** So much of the output, and so much of a line, is looked at. */
const lookedAtBytes = 64 * 1024
const lastLineBytes = 4096

/**
 * The last line that isn't blank, without control characters, at most 200
 * characters long. Looks for it from the end, in the last 64 KiB.
 *
 * @category functions
 * @since 0.1.0
 */
export const lastLine = (output: Output): string => {
  const bytes = output.bytes.subarray(-lookedAtBytes)
  const decoder = new TextDecoder()
  for (let end = bytes.length; end > 0;) {
    while (isBlank(bytes[end - 1])) end--
    let start = end
    while (start > 0 && !isLineEnd(bytes[start - 1])) start--
    let first = start
    while (first < end && isBlank(bytes[first])) first++
    const text = decoder.decode(bytes.subarray(first, Math.min(end, first + lastLineBytes)))
    const line = cut(blankLine(text).trim(), lastLineChars)
    if (line !== "") return line
    end = start
  }
  return ""
}
