/** The flags that all workers of the command share, and how they run. */
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import type { Broker } from "../../Broker.ts"
import * as Handler from "../../Handler.ts"
import * as RetrySchedule from "../../internal/retrySchedule.ts"
import * as Job from "../../Job.ts"
import { logAnnotations, type Outcome } from "../../Outcome.ts"
import { Tail } from "../../tail/index.ts"
import * as Worker from "../../Worker.ts"
import { withBroker } from "../root.ts"
import { Shutdown } from "../shutdown.ts"
import * as Flags from "./flags.ts"

// -----------------------------------------------------------------------------
// Flags
// -----------------------------------------------------------------------------

/** The options of a worker. */
export const workFlags = ({ concurrency, queue, what }: {
  readonly queue: string
  readonly what: string
  readonly concurrency: number
}) => ({
  queue: Flag.String("queue").pipe(
    Flag.withDescription(`A queue to serve; can be repeated. Default: ${queue}`),
    Flags.repeated
  ),
  concurrency: Flags.integer("concurrency", 1).pipe(
    Flag.withDescription(`How many ${what} run at once. Default: ${concurrency}`),
    Flags.optional
  ),
  prefetch: Flags.integer("prefetch", 0).pipe(
    Flag.withDescription("How many jobs to reserve in advance, beyond those that run. Default: 0"),
    Flags.optional
  ),
  touch: Flag.Boolean("touch").pipe(
    Flag.withDescription("Renew the leases of running jobs (--no-touch: do not). Default: yes"),
    Flag.withDefault(true)
  ),
  timeout: Flags.positiveDuration("timeout").pipe(
    Flag.withDescription("How long one attempt may take. Default: no limit"),
    Flags.optional
  ),
  poisonLimit: Flags.integer("poison-limit", 1).pipe(
    Flag.withDescription(
      "Bury a job after this many deliveries whose worker crashed or let the lease expire. Default: 5"
    ),
    Flags.optional
  ),
  grace: Flags.duration("grace").pipe(
    Flag.withDescription(`How long running ${what} may continue when the worker stops. Default: 30s`),
    Flags.optional
  ),
  idleTimeout: Flags.duration("idle-timeout").pipe(
    Flag.withDescription("Stop after this long without a job. Default: never"),
    Flags.optional
  ),
  maxJobs: Flags.integer("max-jobs", 1).pipe(
    Flag.withDescription("Stop after this many jobs. Default: never"),
    Flags.optional
  ),
  reconnectFor: Flags.duration("reconnect-for").pipe(
    Flag.withDescription(
      "How long the broker may be away before the worker gives up. Default: no limit; for a file 5s"
    ),
    Flags.optional
  )
})

/** When a failed job is retried. `exception` is a flag that overrides this for some failures. */
export const retryFlags = (exception?: string) => ({
  retryTimes: Flags.integer("retry-times", 0).pipe(
    Flag.withDescription(
      `How many more attempts a failed job gets${
        exception === undefined ? "" : `, except for ${exception}`
      }. Default: 10`
    ),
    Flags.optional
  ),
  retryDelay: Flags.duration("retry-delay").pipe(
    Flag.withDescription("The delay before the second attempt; it doubles each time, to at most 5m. Default: 1s"),
    Flags.optional
  )
})

/** The values of a flag, or `undefined` if there are none. */
export const nonEmpty = <A>(values: ReadonlyArray<A>): readonly [A, ...Array<A>] | undefined =>
  values.length === 0 ? undefined : values as unknown as readonly [A, ...Array<A>]

/** `--at-most-once`, for pushes or messages. */
export const atMostOnce = (what: "push" | "message"): Flag.Flag<boolean> =>
  Flag.Boolean("at-most-once").pipe(
    Flag.withDescription(`Do not repeat a ${what} that was sent and never answered`),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )

/** A job with the retries of the flags, if they are given. */
export const withRetries = <A>(
  job: Job.Job<A>,
  payload: Job.Options<A>["payload"],
  { retryDelay, retryTimes }: {
    readonly retryDelay: Duration.Duration | undefined
    readonly retryTimes: number | undefined
  }
): Job.Job<A> =>
  retryDelay === undefined && retryTimes === undefined
    ? job
    : Job.make(job.name, { payload, retry: RetrySchedule.doubling(retryDelay, retryTimes) })

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/** Reads the attempt count for the log while the broker still has the job. */
const withAttempt = <R>({ job, run }: Handler.Handler<R>): Handler.Handler<R> =>
  Handler.make(job, (payload, delivery) => Effect.andThen(Effect.ignore(delivery.attempt), run(payload, delivery)))

const logDone = (outcome: Outcome): Effect.Effect<void> =>
  outcome._tag !== "Done"
    ? Effect.void
    : Effect.annotateLogs(Effect.logInfo(`done in ${outcome.duration} ms`), logAnnotations(outcome))

type WorkerFlags = Omit<Worker.Options, "queue" | "stop" | "foreign"> & {
  readonly queue: ReadonlyArray<string>
  readonly reconnectFor: Duration.Duration | undefined
}

/** Runs a worker until it stops or a signal stops the program. */
export const runWorker = <R, E, RIn>(
  flags: WorkerFlags,
  handler: Handler.Handler<R>,
  layer: Layer.Layer<Exclude<R, Broker>, E, RIn>
) =>
  Effect.gen(function*() {
    const { asked } = yield* Shutdown
    // at this level the worker itself logs finished jobs
    const debug = !LogLevel.isGreaterThan(yield* References.MinimumLogLevel, "Debug")
    const worker = Worker.stream({ ...flags, queue: nonEmpty(flags.queue) }, withAttempt(handler)).pipe(
      Stream.tap(Tail.offer),
      Stream.runForEach((outcome) => debug ? Effect.void : logDone(outcome)),
      Effect.provide(Layer.merge(layer, Tail.layer))
    )
    // an interrupted worker stops gracefully, and the broker closes after it
    yield* withBroker(Effect.raceFirst(worker, asked), flags)
  })
