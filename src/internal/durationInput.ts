/**
 * Durations as programs give them.
 *
 * Effect takes `NaN` for no time at all, and so an object without a unit that it
 * knows, such as a Date. A deadline or a limit like that would lose its job.
 * Here they are no durations.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

const units = ["weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"]

const isNumber = (u: unknown): boolean => typeof u === "number" && !Number.isNaN(u)

const isTime = (input: unknown): boolean => {
  if (typeof input === "number") return isNumber(input)
  if (typeof input !== "object" || input === null || Duration.isDuration(input)) return true
  if (Array.isArray(input)) return input.every(isNumber)
  const given = units.map((unit) => (input as Record<string, unknown>)[unit]).filter((value) => value !== undefined)
  return given.length > 0 && given.every(isNumber)
}

/** A duration, or none. */
export const fromInput = (input: Duration.Input): Option.Option<Duration.Duration> =>
  isTime(input) ? Duration.fromInput(input) : Option.none()

/** A duration. Throws where it is none. */
export const fromInputUnsafe = (input: Duration.Input): Duration.Duration => {
  if (isTime(input)) return Duration.fromInputUnsafe(input)
  throw new Error("a duration must be a text such as \"10 seconds\", a number of milliseconds, or an object of units")
}
