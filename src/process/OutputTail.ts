/**
 * Keeps the end of a stream of bytes, of any length and chunk size. It takes at most
 * twice the memory of the kept bytes, and copies each byte a small constant number of
 * times.
 */
import * as Schema from "effect/Schema"
import { blankLine, cut, safeLines } from "../internal/text.ts"

/**
 * The end of a process's stdout or stderr.
 *
 * @category models
 * @since 0.1.0
 */
export const Output = Schema.Struct({
  /** The last bytes. */
  bytes: Schema.Uint8Array,
  /** The number of bytes that the process wrote. */
  total: Schema.Natural,
  /** Whether `bytes` is only the end of the output. */
  truncated: Schema.Boolean
})

/**
 * The decoded {@link Output}.
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
 * Makes a collector of the last `limit` bytes.
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
 * A complete {@link Output} of bytes or text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromText = (text: string | Uint8Array): Output => {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text
  return { bytes, total: bytes.length, truncated: false }
}

/**
 * The output as text. Invalid UTF-8, for instance a cut character at its start, becomes U+FFFD.
 *
 * @category functions
 * @since 0.1.0
 */
export const toText = (output: Output): string => new TextDecoder().decode(output.bytes)

const isLineEnd = (byte: number | undefined): boolean => byte === 10 || byte === 13

const isBlank = (byte: number | undefined): boolean => byte !== undefined && (byte === 32 || (byte >= 9 && byte <= 13))

/** A UTF-16 code unit takes at most this many bytes in UTF-8. */
const maxBytesPerChar = 3

/**
 * The end of an output as text for people: at most `maxChars` characters, without
 * whitespace at its end, and escaped for a terminal except for line ends. It decodes
 * only what it shows.
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

const maxLastLineChars = 200
/** The search for the last line reads at most this much of the output, and this much of a line. */
const searchedBytes = 64 * 1024
const maxLastLineBytes = 4096

/**
 * The last line that is not blank, without control characters and with at most 200
 * characters. It searches the last 64 KiB.
 *
 * @category functions
 * @since 0.1.0
 */
export const lastLine = (output: Output): string => {
  const bytes = output.bytes.subarray(-searchedBytes)
  const decoder = new TextDecoder()
  for (let end = bytes.length; end > 0;) {
    while (isBlank(bytes[end - 1])) end--
    let start = end
    while (start > 0 && !isLineEnd(bytes[start - 1])) start--
    let first = start
    while (first < end && isBlank(bytes[first])) first++
    const text = decoder.decode(bytes.subarray(first, Math.min(end, first + maxLastLineBytes)))
    const line = cut(blankLine(text).trim(), maxLastLineChars)
    if (line !== "") return line
    end = start
  }
  return ""
}
