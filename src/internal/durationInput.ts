/**
 * Reads durations of programs.
 *
 * Effect reads `NaN`, and an object without a known unit such as a Date, as 0. A
 * deadline or limit of 0 would lose its job, so this module refuses them.
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

/** A duration; none if the input is not one. */
export const fromInput = (input: Duration.Input): Option.Option<Duration.Duration> =>
  isTime(input) ? Duration.fromInput(input) : Option.none()

/** A duration. Throws if the input is not one. */
export const fromInputUnsafe = (input: Duration.Input): Duration.Duration => {
  if (isTime(input)) return Duration.fromInputUnsafe(input)
  throw new Error("a duration must be a string such as \"10 seconds\", a number of milliseconds, or an object of units")
}
