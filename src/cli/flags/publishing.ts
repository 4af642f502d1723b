/**
 * The flags that all publishing commands share, and how they read files.
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as BrokerUrl from "../../brokers/url.ts"
import { UsageError } from "../exitCode.ts"
import { note } from "../output.ts"
import { root } from "../root.ts"
import * as Flags from "./flags.ts"

/** A time from now, or an instant. */
export const durationOrTime = (
  name: string,
  description: string
): Flag.Flag<Duration.Duration | DateTime.Utc | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar("DURATION|TIME"),
    Flag.withDescription(`${description}: a time from now (10m) or an instant (2030-01-31T12:00:00Z)`),
    Flag.filterMap(
      (text): Option.Option<Duration.Duration | DateTime.Utc> =>
        Option.orElse(BrokerUrl.parseDuration(text), () => DateTime.make(text)),
      () => "a duration such as 10m, or an instant such as 2030-01-31T12:00:00Z"
    ),
    Flags.optional
  )

/** The options of a publication. */
export const publishFlags = (queue: string) => ({
  queue: Flag.String("queue").pipe(Flag.withDescription(`The queue. Default: ${queue}`), Flags.optional),
  delay: Flags.duration("delay").pipe(Flag.withDescription("How long the job waits before it may run"), Flags.optional),
  ttr: Flags.positiveDuration("ttr").pipe(
    Flag.withDescription("Time to run: a job is ready again if its worker is silent for this long. Default: 60s"),
    Flags.optional
  ),
  priority: Flag.Int("priority").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("The priority: 0 is the most urgent, 4294967295 the least. Default: 1024"),
    Flags.optional
  ),
  id: Flag.String("id").pipe(
    Flag.withDescription("The envelope's id, the same in every attempt. Default: a new UUID"),
    Flags.optional
  ),
  deadline: Flag.mapEffect(
    durationOrTime("deadline", "Do not run the job later than this"),
    Effect.fnUntraced(function*(deadline) {
      const isPast = Duration.isDuration(deadline)
        ? !Duration.isPositive(deadline)
        : deadline !== undefined && (yield* DateTime.isPast(deadline))
      return isPast
        ? yield* new CliError.ValidationError({ message: "--deadline must be in the future: give a later time" })
        : deadline
    })
  ),
  requireWorkers: Flag.Boolean("require-workers").pipe(
    Flag.withDescription("Publish only if a worker is idle on the queue; otherwise exit with 3"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
})

/** Reads a file that a flag names, or this program's standard input (-). */
export const readInput = Effect.fnUntraced(function*(flag: string, file: string): Effect.fn.Return<
  Uint8Array,
  UsageError,
  Stdio.Stdio | FileSystem.FileSystem
> {
  const stdio = yield* Stdio.Stdio
  const fs = yield* FileSystem.FileSystem
  const read = file === "-"
    ? Effect.map(Stream.runCollect(stdio.stdin), (chunks) => new Uint8Array(Buffer.concat(chunks)))
    : fs.readFile(file)
  return yield* Effect.mapError(
    read,
    ({ message, reason }) =>
      new UsageError({
        detail: `--${flag} ${file} can't be read: ${reason._tag === "NotFound" ? "there is no such file" : message}`
      })
  )
})

/** Warns that a job in memory is lost when the program ends. */
export const warnOfMemory = Effect.flatMap(
  root,
  ({ broker }) =>
    Option.exists(Result.getSuccess(BrokerUrl.parse(broker)), ({ _tag }) => _tag === "Memory")
      ? note("memory: exists only in this process, so the job is lost when it ends; name another broker")
      : Effect.void
)
