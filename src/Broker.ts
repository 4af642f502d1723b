/**
 * The one interface between backq and any queue server.
 *
 * A `Broker` keeps named queues of opaque bodies. Its vocabulary is
 * beanstalkd's: a job is *ready*, *delayed*, *reserved* or *buried*. A worker
 * reserves a job and gets a *lease* on it. It must settle the lease before the
 * job's time to run is over.
 *
 * Every broker guarantees these rules, and one conformance suite tests them on
 * all brokers:
 *
 * - a job that `put` accepted stays until it is deleted;
 * - only the holder of a lease can settle it, and only once; settling an expired
 *   lease fails with `LeaseLost`;
 * - the most urgent priority is served first, then the oldest job;
 * - delays and times to run are rounded up to the broker's resolution, never
 *   down;
 * - a job is delivered at least once: a handler must tolerate repetition.
 *
 * A broker reconnects by itself. An operation that is in progress when the
 * connection is lost fails at once with `Unavailable`.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { BrokerError, optionInvalid, QueueNameInvalid } from "./BrokerError.ts"
import * as Options from "./internal/options.ts"
import { textOf } from "./internal/thrown.ts"
import { maxUint32 } from "./internal/uint32.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The id that a broker gives a job. It is opaque, and unique within one broker for as long as that keeps its data.
 *
 * @category models
 * @since 0.1.0
 */
export const JobId = Schema.String.pipe(Schema.brand("JobId"))

/**
 * The decoded {@link JobId}.
 *
 * @category models
 * @since 0.1.0
 */
export type JobId = typeof JobId.Type

/**
 * The options of putting a job on a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutOptions {
  /** 0 is the most urgent, 2^32 - 1 the least. Default: 1024. */
  readonly priority?: number | undefined
  /** How long the job waits before it is ready. Default: 0. */
  readonly delay?: Duration.Input | undefined
  /** Time to run: how long a worker may hold the job before another worker gets it. More than 0. Default: 60 seconds. */
  readonly ttr?: Duration.Input | undefined
}

/**
 * A body to put, with checked and complete options; {@link putRequest} makes it.
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
 * What a broker knows about one delivery of a job.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseInfo {
  /**
   * The number of this attempt, from 1. A requeued delivery does not count, and
   * a kick takes one attempt back.
   */
  readonly attempt: number
  /** How many earlier deliveries ended without a settlement: the worker crashed, or the time to run ran out. */
  readonly abandoned: number
  /** How often the job was buried. */
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
   * Present when the broker stores it, or suspects that this is not the first
   * delivery. Otherwise ask with {@link Consumer.inspect}.
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
 * How a lease ends.
 *
 * @category models
 * @since 0.1.0
 */
export type Settlement =
  /** The job is done. */
  | { readonly _tag: "Delete"; readonly lease: Lease }
  /** The job runs again after a delay of at most {@link maxDelay}. `priority` defaults to what it was. */
  | {
    readonly _tag: "Release"
    readonly lease: Lease
    readonly delay: Duration.Duration
    readonly priority?: number | undefined
    /** Why it runs again; kept with the feature `keepsReasons`. */
    readonly reason?: string | undefined
    /** What the attempt failed with; kept with the feature `keepsReasons`. */
    readonly failure?: Failure | undefined
  }
  /** The job stays aside until an operator kicks it. */
  | {
    readonly _tag: "Bury"
    readonly lease: Lease
    /** Why; kept with the feature `keepsReasons`. */
    readonly reason: string
    readonly priority?: number | undefined
    /** What the attempt failed with; kept with the feature `keepsReasons`. */
    readonly failure?: Failure | undefined
  }
  /** The job did not run: it is ready again at once, and this does not count as an attempt. */
  | { readonly _tag: "Requeue"; readonly lease: Lease }

/**
 * What a broker can do, known before any call. An operation of the `Inspector`
 * that needs a missing feature fails with `Unsupported`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Features {
  /** The broker rounds delays, pauses and times to run up to this. */
  readonly resolution: "millisecond" | "second"
  /** Whether it lists the jobs of a queue. Otherwise it shows only the next one in each state. */
  readonly canList: boolean
  /** Whether it can bury a job that no worker holds. */
  readonly canBury: boolean
  /** Whether it can move a job to another queue. */
  readonly canMove: boolean
  /** Whether it keeps why a job was last released or buried, and what its last attempt failed with. */
  readonly keepsReasons: boolean
  /** Whether it lists finished jobs for some time. */
  readonly keepsDone: boolean
  /** Whether a restored job keeps how often it was attempted, abandoned and buried. */
  readonly keepsAttempts: boolean
}

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * The receiving side of a broker, for one worker.
 *
 * It works in batches, so that one round trip serves many jobs. When its scope
 * closes, it requeues all leases that it still holds, at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consumer {
  /**
   * Waits until at least one job is ready, and leases at most `max`.
   *
   * One fiber at a time may call it. Jobs that arrive for an interrupted call
   * are requeued at once. While the broker can't be reached the call waits for
   * the reconnection. It fails with `Unavailable` when that takes longer than
   * the broker's policy allows.
   */
  readonly reserve: (max: number) => Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError>

  /**
   * Settles leases. Returns a result for each, in order; failures are `LeaseLost`, `Unavailable` and others. Where a
   * transaction of the handler settles the job, `AlreadyDone` says that it has, and `RolledBack`, for a `Delete`, that it
   * has not; after that the lease is settled as any other.
   */
  readonly settle: (
    settlements: ReadonlyArray<Settlement>
  ) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>

  /** Restarts the time to run of leases. Returns a result for each, in order. */
  readonly touch: (leases: ReadonlyArray<Lease>) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>

  /** Asks the broker about deliveries that came without `info`. Returns a result for each, in order. */
  readonly inspect: (
    leases: ReadonlyArray<Lease>
  ) => Effect.Effect<ReadonlyArray<Result.Result<LeaseInfo, BrokerError>>>

  /**
   * Waits until leases are lost because their connection closed. Leases that
   * expired show up in `touch` and `settle`.
   */
  readonly leasesLost: Effect.Effect<NonEmptyReadonlyArray<Lease>>
}

/**
 * The queue server, as publishers and workers see it. Operators see it through
 * the `Inspector`, which the same layers provide.
 *
 * @category services
 * @since 0.1.0
 */
export class Broker extends Context.Service<Broker, {
  /** Names the broker in messages, for instance `beanstalk://127.0.0.1:11300`. It holds no secret. */
  readonly name: string

  /** What the broker can do. */
  readonly features: Features

  /** Succeeds when the broker answers. */
  readonly ping: Effect.Effect<void, BrokerError>

  /** Puts one job on a queue. */
  readonly put: (queue: string, request: PutRequest) => Effect.Effect<JobId, BrokerError>

  /** Puts many jobs on a queue in one round trip. Returns a result for each, in order. */
  readonly putAll: (
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ) => Effect.Effect<ReadonlyArray<Result.Result<JobId, BrokerError>>>

  /** Starts to receive from these queues only. */
  readonly consume: (queues: NonEmptyReadonlyArray<string>) => Effect.Effect<Consumer, BrokerError, Scope.Scope>

  /** How many workers wait for a job on a queue now. Busy workers do not count. */
  readonly idleWorkers: (queue: string) => Effect.Effect<number, BrokerError>
}>()("backq/Broker") {}

// -----------------------------------------------------------------------------
// Rules for putting jobs, shared by publishers and brokers
// -----------------------------------------------------------------------------

/**
 * The default priority of a job.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultPriority = 1024

/**
 * The default time to run of a job: 60 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultTtr = Duration.seconds(60)

/**
 * The longest delay, pause and time to run: 2^32 - 1 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxDelay = Duration.seconds(maxUint32)

const zeroToMaxDelay: Options.DurationLimits = { minMillis: 0, maxSeconds: maxUint32 }
const positiveToMaxDelay: Options.DurationLimits = { isPositive: true, maxSeconds: maxUint32 }

const queueName = /^[A-Za-z0-9+/;.$_()][-A-Za-z0-9+/;.$_()]{0,199}$/

/**
 * Checks a queue's name. All brokers use beanstalkd's rule (protocol.txt,
 * "tubes"), so that a program can change its broker.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkQueue = (queue: string): Result.Result<string, BrokerError> =>
  typeof queue === "string" && queueName.test(queue) ? Result.succeed(queue) : Result.fail(
    new BrokerError({ reason: new QueueNameInvalid({ queue: textOf(queue) }) })
  )

/**
 * Checks a duration: from 0 to {@link maxDelay}, or more than 0 when `allowZero` is false.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkDuration = (
  option: string,
  input: Duration.Input,
  allowZero = true
): Result.Result<Duration.Duration, BrokerError> =>
  Result.mapError(
    Options.readDuration(input, allowZero ? zeroToMaxDelay : positiveToMaxDelay),
    (rule) => optionInvalid(option, rule)
  )

/**
 * Checks a priority: an integer from 0 to 2^32 - 1.
 *
 * @category functions
 * @since 0.1.0
 */
export const checkPriority = (priority: number): Result.Result<number, BrokerError> => {
  const rule = Options.integer(priority, 0, maxUint32)
  return rule === undefined ? Result.succeed(priority) : Result.fail(optionInvalid("priority", rule))
}

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
