/**
 * Kinds of flags that several commands share, with their error messages.
 */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { JobId } from "../../Broker.ts"
import { parseDuration } from "../../brokers/url.ts"

/** A flag that may be absent; its value is `undefined` then. */
export const optional = <A>(flag: Flag.Flag<A>): Flag.Flag<A | undefined> =>
  Flag.map(Flag.optional(flag), Option.getOrUndefined)

/** A flag that may be given several times. */
export const repeated = <A>(flag: Flag.Flag<A>): Flag.Flag<ReadonlyArray<A>> => Flag.atLeast(flag, 0)

/** `--json`. */
export const json: Flag.Flag<boolean> = Flag.Boolean("json").pipe(
  Flag.withDescription("Print JSON (durations in milliseconds, times in milliseconds since the epoch)"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

/** `--yes`, for commands that ask for confirmation. */
export const yes: Flag.Flag<boolean> = Flag.Boolean("yes").pipe(
  Flag.withAlias("y"),
  Flag.withDescription("Do not ask for confirmation. Required without a terminal"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

/** The ids of jobs, as a flag. */
export const ids: Flag.Flag<ReadonlyArray<JobId>> = repeated(
  Flag.String("id").pipe(Flag.withDescription("The id of a job; can be repeated"), Flag.map((id) => JobId.make(id)))
)

const readDuration = (text: string): Option.Option<Duration.Duration> =>
  text.trim() === "0" ? Option.some(Duration.zero) : parseDuration(text)

const durationHint = (text: string): string =>
  /^\s*-/.test(text)
    ? "a duration that is not negative"
    : "a duration such as 500ms, 4s, 5m, 2h or \"10 seconds\""

/** A duration that isn't negative, as an argument. */
export const durationArgument = (name: string): Argument.Argument<Duration.Duration> =>
  Argument.String(name).pipe(
    Argument.filterMap(
      (text) => Option.filter(readDuration(text), (value) => !Duration.isNegative(value)),
      durationHint
    )
  )

/** A duration that isn't negative. */
export const duration = (name: string): Flag.Flag<Duration.Duration> =>
  Flag.String(name).pipe(
    Flag.withMetavar("DURATION"),
    Flag.filterMap(
      (text) => Option.filter(readDuration(text), (value) => !Duration.isNegative(value)),
      durationHint
    )
  )

/** A duration greater than 0. */
export const positiveDuration = (name: string): Flag.Flag<Duration.Duration> =>
  Flag.filter(duration(name), Duration.isPositive, () => "a duration greater than 0")

const readInteger = (text: string, min: number): Option.Option<number> =>
  Option.filter(Option.some(/^\d+$/.test(text) ? Number(text) : NaN), (value) => value >= min)

/** An integer that is not below a limit. */
export const integer = (name: string, min: number): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.withMetavar("N"),
    Flag.filterMap((text) => readInteger(text, min), () => `an integer of at least ${min}`)
  )

/** The same as an argument. */
export const integerArgument = (name: string, min: number): Argument.Argument<number> =>
  Argument.String(name).pipe(
    Argument.filterMap((text) => readInteger(text, min), () => `an integer of at least ${min}`)
  )

const isCode = (code: number): boolean => Number.isInteger(code) && code >= 0 && code <= 255

const parseCode = (text: string): Option.Option<number> =>
  Option.filter(Option.some(/^\d+$/.test(text.trim()) ? Number(text) : NaN), isCode)

/** Exit codes: `64,65`. */
export const codes = (name: string): Flag.Flag<ReadonlyArray<number>> =>
  Flag.String(name).pipe(
    Flag.withMetavar("CODE,..."),
    Flag.filterMap(
      (text) => Option.all(text.split(",").map(parseCode)),
      () => "exit codes from 0 to 255, separated by commas: 64,65"
    )
  )

const parseRetryCode = (text: string): Option.Option<readonly [number, Duration.Duration]> => {
  const at = text.indexOf("=")
  return Option.all([
    parseCode(text.slice(0, Math.max(at, 0))),
    Option.filter(readDuration(text.slice(at + 1)), (delay) => !Duration.isNegative(delay))
  ])
}

/** Exit codes and delays: `75=1m`. Commas separate several. */
export const codeDelays = (name: string): Flag.Flag<ReadonlyArray<readonly [number, Duration.Duration]>> =>
  Flag.String(name).pipe(
    Flag.withMetavar("CODE=DELAY,..."),
    Flag.filterMap(
      (text) => Option.all(text.split(",").map(parseRetryCode)),
      () => "exit codes with their delays, separated by commas: 75=1m,76=10s"
    )
  )

/** A name and a value: `K=V`. The name has no `=`, and the value may be empty. */
export const assignment = (name: string): Flag.Flag<readonly [string, string]> =>
  Flag.String(name).pipe(
    Flag.withMetavar("K=V"),
    Flag.filterMap(
      (text) => {
        const at = text.indexOf("=")
        return at < 1 ? Option.none() : Option.some([text.slice(0, at), text.slice(at + 1)] as const)
      },
      () => "NAME=VALUE, or NAME= for an empty value"
    )
  )

/** One queue. */
export const queueArgument = Argument.String("queue").pipe(Argument.withDescription("The queue"))

/** Ids of jobs, at least one. */
export const idArguments = Argument.String("id").pipe(
  Argument.withDescription("The id of a job; can be repeated"),
  Argument.map((id) => JobId.make(id)),
  Argument.variadic({ min: 1 })
)
