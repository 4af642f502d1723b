/**
 * The flags that all publishing commands share, how they read files, and how they publish.
 */
import * as CliError from "effect/cli/CliError"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { JobId } from "../../Broker.ts"
import * as BrokerUrl from "../../brokers/url.ts"
import * as ExactNumbers from "../../internal/exactNumbers.ts"
import * as Publisher from "../../Publisher.ts"
import { UsageError } from "../exitCode.ts"
import { note, print, withDone } from "../output.ts"
import { root, withBroker } from "../root.ts"
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

/** The options of a publication, from the flags of a command that has others, too. */
export const publishOptionsOf = (
  { deadline, delay, id, priority, queue, requireWorkers, ttr }: Command.Command.Config.Infer<
    ReturnType<typeof publishFlags>
  >
) => ({ deadline, delay, id, priority, queue, requireWorkers, ttr })

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

/** Reads `--payload FILE` as JSON. It keeps the digits of each number. */
export const readPayload = Effect.fnUntraced(function*(file: string) {
  const text = new TextDecoder().decode(yield* readInput("payload", file))
  return yield* Effect.fromResult(Result.try({
    try: (): unknown => ExactNumbers.parse(text),
    catch: (thrown) =>
      new UsageError({
        detail: `--payload ${file} is ${thrown instanceof RangeError ? "nested too deeply" : "not JSON"}`
      })
  }))
})

/** Warns that a job in memory is lost when the program ends. */
export const warnOfMemory = Effect.flatMap(
  root,
  ({ broker }) =>
    Option.exists(Result.getSuccess(BrokerUrl.parse(broker)), ({ _tag }) => _tag === "Memory")
      ? note("memory: exists only in this process, so the job is lost when it ends; name another broker")
      : Effect.void
)

/** Publishes jobs and prints their ids. If some were not accepted, it prints the others and fails. */
export const publishJobs = Effect.fnUntraced(function*<E, R>(
  publish: Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, E, R>
) {
  yield* warnOfMemory
  const published = yield* withBroker(Effect.provide(publish, Publisher.layer))
  const ids = published.flatMap((one) => Result.isSuccess(one) ? [one.success] : [])
  if (ids.length > 0) yield* withDone(`accepted: ${ids.join(", ")}`, print(...ids))
  yield* Effect.fromResult(Result.all(published))
})
