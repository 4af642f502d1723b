/**
 * The one seam between backq and any queue server.
 *
 * A `Broker` keeps named queues of opaque bodies. Its vocabulary is
 * beanstalkd's: a job is *ready*, *delayed*, *reserved* or *buried*. A worker
 * reserves a job and gets a *lease* on it, which it must settle before the
 * job's time to run is over.
 *
 * What every broker guarantees (one conformance suite states these rules as
 * tests and runs on all of them):
 *
 * - a job that `put` accepted stays until somebody deletes it;
 * - a lease can be settled only by its holder, and once; a lease that ran out
 *   fails with `LeaseLost`;
 * - the most urgent priority is served first, then the oldest job;
 * - delays and times to run are rounded up to the broker's resolution, never
 *   down;
 * - nothing is delivered exactly once: a handler has to bear a repetition.
 *
 * A broker keeps its own connection alive. An operation that is under way when
 * the connection is lost fails at once with `Unavailable`.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { BrokerError, jobTooBig, optionInvalid, QueueNameInvalid } from "./BrokerError.ts"
import * as DurationInput from "./internal/durationInput.ts"
import { textOf } from "./internal/thrown.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A job's id as its broker gave it. Opaque: unique within one broker, for as long as the broker keeps its data.
 *
 * @category models
 * @since 0.1.0
 */
export const JobId = Schema.String.pipe(Schema.brand("JobId"))

/**
 * A job's id as its broker gave it.
 *
 * @category models
 * @since 0.1.0
 */
export type JobId = typeof JobId.Type

/**
 * How a job is put on a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutOptions {
  /** 0 is the most urgent, 2^32 - 1 the least. Default: 1024. */
  readonly priority?: number | undefined
  /** How long the job waits before it is ready. Default: none. */
  readonly delay?: Duration.Input | undefined
  /** Time to run: how long a worker may hold the job before others may have it. More than 0. Default: 60 seconds. */
  readonly ttr?: Duration.Input | undefined
}

/**
 * One body to be put, with its options checked and complete; see {@link putRequest}.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutRequest {
  readonly body: Uint8Array
  readonly priority: number
  readonly delay: Duration.Duration
  readonly ttr: Duration.Duration
}

/**
 * The states of a job.
 *
 * @category models
 * @since 0.1.0
 */
export type JobState = "ready" | "delayed" | "reserved" | "buried"

/**
 * What a broker knows of one delivery of a job.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseInfo {
  /**
   * Which attempt this delivery is: 1 for the first. A delivery that was
   * requeued is not counted, and a kick forgives one.
   */
  readonly attempt: number
  /** How many earlier deliveries ended without a settlement: the worker died, or the time to run ran out. */
  readonly abandoned: number
  /** How often the job was buried before. */
  readonly buries: number
  readonly priority: number
  readonly ttr: Duration.Duration
}

/**
 * The right to work on a job, until its time to run is over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  /**
   * Known without asking where the broker stores it, or where it has reason to
   * believe that this is not the first delivery; otherwise see
   * {@link Consumer.inspect}.
   */
  readonly info: LeaseInfo | undefined
}

/**
 * What a handler failed with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  /** The tag of the error, or its name. */
  readonly tag: string
  readonly message: string
}

/**
 * What becomes of a lease.
 *
 * @category models
 * @since 0.1.0
 */
export type Settlement =
  /** The job is done. */
  | { readonly _tag: "Delete"; readonly lease: Lease }
  /** The job is to be tried again after a delay, of up to {@link maxDelay}. `priority` defaults to what it was. */
  | {
    readonly _tag: "Release"
    readonly lease: Lease
    readonly delay: Duration.Duration
    readonly priority?: number | undefined
    /** Why it has to be tried again; kept where the broker can keep it. */
    readonly reason?: string | undefined
    /** What the attempt failed with, kept as the job's last failure where the broker can keep it. */
    readonly failure?: Failure | undefined
  }
  /** The job is put aside until somebody kicks it. */
  | {
    readonly _tag: "Bury"
    readonly lease: Lease
    /** Why; kept where the broker can keep it. */
    readonly reason: string
    readonly priority?: number | undefined
    /** What the attempt failed with, kept as the job's last failure where the broker can keep it. */
    readonly failure?: Failure | undefined
  }
  /** The job was not worked on: it is ready again at once, and no attempt is spent. */
  | { readonly _tag: "Requeue"; readonly lease: Lease }

/**
 * A job as an operator sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface PeekedJob {
  readonly id: JobId
  readonly body: Uint8Array
}

/**
 * What a broker knows of a job.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobStats extends LeaseInfo {
  readonly id: JobId
  readonly queue: string
  readonly state: JobState
  /** How long ago the job was put. */
  readonly age: Duration.Duration
  /** Until it is ready (delayed) or its lease ends (reserved); zero otherwise. */
  readonly timeLeft: Duration.Duration
  /** Why it was released or buried last, where the broker keeps it. */
  readonly reason: string | undefined
  /** What the last attempt that failed has failed with, and when (milliseconds since the epoch), where the broker keeps it. */
  readonly lastFailure: (Failure & { readonly at: number }) | undefined
}

/**
 * The states that can be listed: those of a job, and `done` where the broker keeps finished jobs.
 *
 * @category models
 * @since 0.1.0
 */
export type ListedState = JobState | "done"

/**
 * A job of a {@link Page}: what is known of it, and its body.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedJob extends Omit<JobStats, "state"> {
  readonly state: ListedState
  readonly body: Uint8Array
  /** When it was done, in milliseconds since the epoch; `undefined` in other states. */
  readonly finishedAt: number | undefined
}

/**
 * Which jobs of a queue are listed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly state: ListedState
  /** How many jobs a page has at most, 1 to 1000. Default: 100. */
  readonly limit?: number | undefined
  /** The `next` of the page before. Default: from the first job on. */
  readonly after?: string | undefined
}

/**
 * Some of the jobs of a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly jobs: ReadonlyArray<ListedJob>
  /** Where the next page begins; `undefined` when this was the last. Opaque. */
  readonly next: string | undefined
}

/**
 * A queue in numbers.
 *
 * @category models
 * @since 0.1.0
 */
export interface QueueStats {
  readonly queue: string
  readonly ready: number
  readonly delayed: number
  readonly reserved: number
  readonly buried: number
  /** How many workers wait for a job on this queue now. */
  readonly idleWorkers: number
  /** How many jobs were put since the queue came to be. */
  readonly total: number
  /** Until a paused queue goes on; zero when it is not paused. */
  readonly pausedFor: Duration.Duration
}

/**
 * A broker in numbers: the sums over its queues, and what kind of server it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerStats {
  readonly version: string
  readonly uptime: Duration.Duration
  readonly ready: number
  readonly delayed: number
  readonly reserved: number
  readonly buried: number
  /** How many workers wait for a job now. */
  readonly idleWorkers: number
  /** The largest body that is accepted, in bytes. */
  readonly maxJobSize: number
  readonly draining: boolean
  /** Does an accepted job survive a restart of the server? */
  readonly durable: boolean
}

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * The receiving side of a broker, for one worker.
 *
 * Works in batches, so that one round trip serves many jobs. When its scope
 * closes, all leases that are still held go back to their queues at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consumer {
  /**
   * Waits until at least one job is ready and leases up to `max`.
   *
   * To be called by one fiber at a time. Jobs that arrive for an interrupted
   * call are requeued at once. While the broker can't be reached it waits for
   * the reconnection, and fails with `Unavailable` when that takes longer than
   * the broker's policy allows.
   */
  readonly reserve: (max: number) => Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError>

  /** Settles leases. The results are in the order of the input: `LeaseLost`, `Unavailable`, ... for those that failed. */
  readonly settle: (
    settlements: ReadonlyArray<Settlement>
  ) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>

  /** Starts the time to run of leases again. */
  readonly touch: (leases: ReadonlyArray<Lease>) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>

  /** Asks the broker about deliveries whose `info` it didn't give. */
  readonly inspect: (
    leases: ReadonlyArray<Lease>
  ) => Effect.Effect<ReadonlyArray<Result.Result<LeaseInfo, BrokerError>>>

  /**
   * Waits until leases are known to be lost without anyone asking, because
   * their connection closed. Leases that ran out silently are found by `touch`
   * and `settle`.
   */
  readonly leasesLost: Effect.Effect<NonEmptyReadonlyArray<Lease>>
}

/**
 * The queue server, as the rest of backq sees it.
 *
 * @category services
 * @since 0.1.0
 */
export class Broker extends Context.Service<Broker, {
  /** Says which broker this is in messages, for instance `beanstalk://127.0.0.1:11300`. Holds no secret. */
  readonly name: string

  /** Succeeds when the broker answers. */
  readonly ping: Effect.Effect<void, BrokerError>

  /** Puts one job on a queue. */
  readonly put: (queue: string, request: PutRequest) => Effect.Effect<JobId, BrokerError>

  /** Puts many jobs on a queue in one round trip, and says for each, in order, whether it was accepted. */
  readonly putAll: (
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ) => Effect.Effect<ReadonlyArray<Result.Result<JobId, BrokerError>>>

  /** Begins to receive from some queues, and from no others. */
  readonly consume: (queues: NonEmptyReadonlyArray<string>) => Effect.Effect<Consumer, BrokerError, Scope.Scope>

  /** How many workers wait for a job on a queue now. Those that are busy are not counted. */
  readonly idleWorkers: (queue: string) => Effect.Effect<number, BrokerError>

  /** Looks at a job in any queue and state. */
  readonly peek: (id: JobId) => Effect.Effect<Option.Option<PeekedJob>, BrokerError>

  /** Looks at the job of a queue that would be served next in a state; for `buried`, the one that would be kicked first. */
  readonly peekNext: (
    queue: string,
    state: "ready" | "delayed" | "buried"
  ) => Effect.Effect<Option.Option<PeekedJob>, BrokerError>

  /**
   * Lists the jobs of a queue in a state, in pages, as they will be served: ready ones by priority, then age; delayed
   * and reserved ones by when that ends; buried ones as they will be kicked; done ones latest first. A job that stays
   * in its state is seen exactly once, however many come and go between two pages (a reserved one whose lease is
   * renewed meanwhile may be seen again). A queue that does not exist has no jobs. Fails with `Unsupported` where the
   * broker can't list.
   */
  readonly list: (queue: string, options: ListOptions) => Effect.Effect<Page, BrokerError>

  /** Deletes a job that nobody holds. Fails with `NotFound` otherwise. */
  readonly delete: (id: JobId) => Effect.Effect<void, BrokerError>

  /** Makes up to `max` buried jobs ready; when none is buried, up to `max` delayed ones. Returns how many. */
  readonly kick: (queue: string, max: number) => Effect.Effect<number, BrokerError>

  /** Makes one buried or delayed job ready. Fails with `NotFound` otherwise. */
  readonly kickJob: (id: JobId) => Effect.Effect<void, BrokerError>

  /**
   * Puts a ready or delayed job aside, as a worker does that took it and buried it: this counts as an attempt, which
   * a kick forgives. Fails with `NotFound` otherwise, and with `Unsupported` where the broker has no means.
   */
  readonly buryJob: (id: JobId, reason: string) => Effect.Effect<void, BrokerError>

  /**
   * Puts a ready, delayed or buried job anew on a queue: ready, at its first attempt, with the same body, priority and
   * ttr. Returns its id, which may be another. A crash meanwhile may leave it on both queues, never on none. Fails
   * with `NotFound` otherwise, and with `Unsupported` where the broker has no means.
   */
  readonly moveJob: (id: JobId, queue: string) => Effect.Effect<JobId, BrokerError>

  /** Serves no job of a queue for some time, of up to {@link maxDelay}. */
  readonly pause: (queue: string, duration: Duration.Duration) => Effect.Effect<void, BrokerError>

  /** Ends a pause. */
  readonly resume: (queue: string) => Effect.Effect<void, BrokerError>

  /** The broker in numbers. */
  readonly stats: Effect.Effect<BrokerStats, BrokerError>

  /** One queue in numbers. Fails with `NotFound` when there is no such queue. */
  readonly statsQueue: (queue: string) => Effect.Effect<QueueStats, BrokerError>

  /** What is known of one job. Fails with `NotFound` when there is no such job. */
  readonly statsJob: (id: JobId) => Effect.Effect<JobStats, BrokerError>

  /** The names of all queues. */
  readonly queues: Effect.Effect<ReadonlyArray<string>, BrokerError>
}>()("backq/Broker") {}

// -----------------------------------------------------------------------------
// Rules that all brokers share
// -----------------------------------------------------------------------------

/**
 * The priority of a job that says nothing of it.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultPriority = 1024

/**
 * The time to run of a job that says nothing of it.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultTtr = Duration.seconds(60)

const maxUint32 = 4294967295
/**
 * The longest delay, pause, and time to run.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxDelay = Duration.seconds(maxUint32)

const queueName = /^[A-Za-z0-9+/;.$_()][-A-Za-z0-9+/;.$_()]{0,199}$/

/**
 * Checks a queue's name. The rule is beanstalkd's (protocol.txt, "tubes") and
 * holds for all brokers, so that a program can move from one to another.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkQueue = (queue: string): Result.Result<string, BrokerError> =>
  typeof queue === "string" && queueName.test(queue) ? Result.succeed(queue) : Result.fail(
    new BrokerError({ reason: new QueueNameInvalid({ queue: textOf(queue) }) })
  )

const refuse = (option: string, value: unknown, rule: string) => Result.fail(optionInvalid(option, value, rule))

/**
 * Checks a duration: not negative, at most {@link maxDelay}, and where zero means nothing, more than that.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkDuration = (
  option: string,
  input: Duration.Input,
  allowZero = true
): Result.Result<Duration.Duration, BrokerError> => {
  const duration = DurationInput.fromInput(input)
  if (Option.isNone(duration)) {
    return refuse(
      option,
      input,
      `write a duration such as "10 seconds", "5 minutes" or a number of milliseconds`
    )
  }
  if (Duration.isNegative(duration.value)) {
    return refuse(option, Duration.format(duration.value), "it can't be negative")
  }
  if (!allowZero && Duration.isZero(duration.value)) return refuse(option, "0", "it has to be more than 0")
  return Duration.isGreaterThan(duration.value, maxDelay)
    ? refuse(option, Duration.format(duration.value), `the longest is ${maxUint32} seconds`)
    : Result.succeed(duration.value)
}

/**
 * Checks a priority: an integer from 0 to 2^32 - 1.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkPriority = (priority: number): Result.Result<number, BrokerError> =>
  Number.isInteger(priority) && priority >= 0 && priority <= maxUint32
    ? Result.succeed(priority)
    : refuse("priority", priority, `it is an integer from 0 (most urgent) to ${maxUint32}`)

/**
 * Checks what a settlement asks for: the priority and the delay that the job is to have.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkSettlement = (settlement: Settlement): Result.Result<void, BrokerError> => {
  if ("priority" in settlement && settlement.priority !== undefined) {
    const priority = checkPriority(settlement.priority)
    if (Result.isFailure(priority)) return Result.fail(priority.failure)
  }
  return settlement._tag === "Release"
    ? Result.map(checkDuration("delay", settlement.delay), () => undefined)
    : Result.void
}

/**
 * Checks how many jobs an operation may take: at least one.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkMax = (max: number): Result.Result<number, BrokerError> =>
  Number.isInteger(max) && max > 0 ? Result.succeed(max) : refuse("max", max, "it is an integer from 1")

/**
 * The largest body of a broker that is not told otherwise, in bytes: beanstalkd's own.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxJobSize = 65535

const raiseLimit = "raise the limit (max-job-size in the broker's URL, maxJobSize in a program)"

/**
 * Checks a body against the largest that a broker of this process accepts.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkSize = (queue: string, body: Uint8Array, limit: number): Result.Result<void, BrokerError> =>
  body.length > limit ? Result.fail(jobTooBig(queue, body.length, limit, raiseLimit)) : Result.void

/**
 * Checks the options of a put and fills in the defaults.
 *
 * @category functions
 * @since 0.1.0
 */
export const putOptions = (
  options: PutOptions
): Result.Result<Omit<PutRequest, "body">, BrokerError> => {
  const priority = checkPriority(options.priority ?? defaultPriority)
  if (Result.isFailure(priority)) return Result.fail(priority.failure)
  const delay = options.delay === undefined
    ? Result.succeed(Duration.zero)
    : checkDuration("delay", options.delay)
  if (Result.isFailure(delay)) return Result.fail(delay.failure)
  const ttr = options.ttr === undefined ? Result.succeed(defaultTtr) : checkDuration("ttr", options.ttr, false)
  if (Result.isFailure(ttr)) return Result.fail(ttr.failure)
  return Result.succeed({ priority: priority.success, delay: delay.success, ttr: ttr.success })
}

/**
 * A body and its checked options.
 *
 * @category constructors
 * @since 0.1.0
 */
export const putRequest = (body: Uint8Array, options: PutOptions = {}): Result.Result<PutRequest, BrokerError> =>
  Result.map(putOptions(options), (checked) => ({ body, ...checked }))
