/**
 * Escapes bytes of jobs for a terminal, and formats durations, rates and counts.
 * Pure.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { safeLine } from "../../internal/text.ts"

/** Bytes as text, if they are UTF-8. */
export const utf8 = (bytes: Uint8Array): string | undefined =>
  Result.getOrUndefined(
    Result.try(() => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes))
  )

/** Bytes as one escaped line: as text if they are UTF-8, otherwise byte by byte. */
export const safeBytes = (bytes: Uint8Array): string => {
  const text = utf8(bytes)
  return text === undefined
    ? Array.from(
      bytes,
      (byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`
    ).join("")
    : safeLine(text)
}

const units = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000]] as const

/** A duration in its two largest units: `3d 4h`, `5m`, `0s`. Rounds up to whole seconds. */
export const shortDuration = (duration: Duration.Duration): string => {
  let left = Math.ceil(Duration.toMillis(duration) / 1000) * 1000
  if (!Number.isFinite(left)) return "forever"
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
