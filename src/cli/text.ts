/**
 * Text that comes from jobs, made fit for a terminal, and figures as people
 * read them. Pure.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"

// Control characters, and those that turn the direction of what follows or hide themselves.
// oxlint-disable-next-line no-control-regex
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/gu

const escaped = (char: string): string => {
  switch (char) {
    case "\n":
      return "\\n"
    case "\t":
      return "\\t"
    case "\r":
      return "\\r"
  }
  const code = char.codePointAt(0)!
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`
}

/** One line that does nothing to a terminal but show itself. */
export const safeLine = (text: string): string => text.replace(unsafe, escaped)

/** The same for a text of several lines. */
export const safeLines = (text: string): string => text.split("\n").map(safeLine).join("\n")

/** Bytes as text, where they are UTF-8. */
export const utf8 = (bytes: Uint8Array): string | undefined =>
  Result.getOrUndefined(
    Result.try(() => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes))
  )

/** Bytes as one safe line: text where they are UTF-8, otherwise byte by byte. */
export const safeBytes = (bytes: Uint8Array): string => {
  const text = utf8(bytes)
  return text === undefined
    ? Array.from(
      bytes,
      (byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`
    ).join("")
    : safeLine(text)
}

/** At most so many characters, and how many are left out. */
export const clip = (text: string, max: number): string =>
  text.length <= max ? text : `${text.slice(0, max)} … and ${text.length - max} more characters`

const units = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000]] as const

/** A duration in its two largest units: `3d 4h`, `5m`, `0s`. Parts of a second count as one where it matters. */
export const shortDuration = (duration: Duration.Duration): string => {
  let left = Math.ceil(Duration.toMillis(duration) / 1000) * 1000
  if (!Number.isFinite(left)) return "for ever"
  const parts: Array<string> = []
  for (const [unit, size] of units) {
    const count = Math.floor(left / size)
    left -= count * size
    if (count > 0) parts.push(`${count}${unit}`)
  }
  return parts.length === 0 ? "0s" : parts.slice(0, 2).join(" ")
}

/** A number per second. */
export const rate = (value: number): string => value === 0 ? "0" : value < 10 ? value.toFixed(1) : value.toFixed(0)

/** A count and its noun: `1 job`, `2 jobs`. */
export const jobs = (count: number): string => `${count} ${count === 1 ? "job" : "jobs"}`
