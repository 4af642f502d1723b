/**
 * The rules of options, in one wording.
 *
 * A rule looks at a value and returns the end of a sentence that the name of
 * the option begins, such as `must be an integer from 1 to 1000, not 0`, or
 * `undefined` when the value is allowed. It trusts no type, since programs
 * without types call the library too. It quotes the value: write rules for
 * secrets by hand. Pure.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as DurationInput from "./durationInput.ts"
import { shown } from "./thrown.ts"

const quoted = (value: unknown): string =>
  typeof value === "string" ? `"${shown(value)}"` : Duration.isDuration(value) ? Duration.format(value) : shown(value)

/** What breaks a rule: `mustBe("a string", 7)` is `must be a string, not 7`. */
export const mustBe = (what: string, value: unknown): string => `must be ${what}, not ${quoted(value)}`

/** An integer within limits, both included. `unit` names what it counts, such as `bytes`. */
export const integer = (value: unknown, min: number, max = Infinity, unit?: string): string | undefined => {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return undefined
  const what = unit === undefined ? "an integer" : `an integer number of ${unit}`
  return mustBe(max === Infinity ? `${what} of at least ${min}` : `${what} from ${min} to ${max}`, value)
}

/** A number that is neither NaN nor infinite. */
export const finite = (value: unknown): string | undefined =>
  Number.isFinite(value) ? undefined : mustBe("a finite number", value)

/** A string, also an empty one. */
export const string = (value: unknown): string | undefined =>
  typeof value === "string" ? undefined : mustBe("a string", value)

/** What a duration may be. Default: any, also a negative or an infinite one. */
export interface DurationLimits {
  /** More than 0. */
  readonly isPositive?: boolean
  readonly minMillis?: number
  readonly maxSeconds?: number
  readonly isFinite?: boolean
}

const durationText = ({ isFinite, isPositive, maxSeconds, minMillis }: DurationLimits): string => {
  const limits = [
    isFinite === true ? ["finite"] : [],
    isPositive === true ? ["more than 0"] : [],
    minMillis === undefined ? [] : [minMillis === 0 ? "at least 0" : `at least ${minMillis} ms`],
    maxSeconds === undefined ? [] : [`at most ${maxSeconds} seconds`]
  ].flat()
  return `a duration such as "10 seconds"${limits.length === 0 ? "" : `, ${limits.join(" and ")}`}`
}

const isWithin = (millis: number, { isFinite, isPositive, maxSeconds, minMillis }: DurationLimits): boolean =>
  (isFinite !== true || Number.isFinite(millis)) &&
  (isPositive !== true || millis > 0) &&
  (minMillis === undefined || millis >= minMillis) &&
  (maxSeconds === undefined || millis <= maxSeconds * 1000)

/** Reads a duration. The failure is the rule that the input breaks. */
export const readDuration = (
  input: Duration.Input,
  limits: DurationLimits = {}
): Result.Result<Duration.Duration, string> => {
  const duration = DurationInput.fromInput(input)
  return Option.isSome(duration) && isWithin(Duration.toMillis(duration.value), limits)
    ? Result.succeed(duration.value)
    : Result.fail(mustBe(durationText(limits), input))
}

/** A duration within limits. */
export const duration = (input: Duration.Input, limits?: DurationLimits): string | undefined => {
  const read = readDuration(input, limits)
  return Result.isFailure(read) ? read.failure : undefined
}
