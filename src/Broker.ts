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
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { BrokerError, optionInvalid, QueueNameInvalid } from "./BrokerError.ts"
import * as Options from "./internal/options.ts"
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
 * What a broker can and can't do, known before anything is asked of it. An
 * operation of the `Inspector` that a feature rules out fails with
 * `Unsupported`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Features {
  /** Delays, pauses and times to run are rounded up to this. */
  readonly resolution: "millisecond" | "second"
  /** Are the jobs of a queue listed? Otherwise only the one that is next in each state is shown. */
  readonly canList: boolean
  /** Can a job be buried that no worker holds? */
  readonly canBury: boolean
  /** Can a job be moved to another queue? */
  readonly canMove: boolean
  /** Is it kept why a job was released or buried last, and what its last attempt failed with? */
  readonly keepsReasons: boolean
  /** Are the jobs that its workers finish still listed, for some time? */
  readonly keepsDone: boolean
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
 * The queue server, as publishers and workers see it. Operators see it through
 * the `Inspector`, which the same layers provide.
 *
 * @category services
 * @since 0.1.0
 */
export class Broker extends Context.Service<Broker, {
  /** Says which broker this is in messages, for instance `beanstalk://127.0.0.1:11300`. Holds no secret. */
  readonly name: string

  /** What it can and can't do. */
  readonly features: Features

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
}>()("backq/Broker") {}

// -----------------------------------------------------------------------------
// Rules of what is put, for publishers and brokers
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

const zeroToMaxDelay: Options.DurationLimits = { minMillis: 0, maxSeconds: maxUint32 }
const positiveToMaxDelay: Options.DurationLimits = { isPositive: true, maxSeconds: maxUint32 }

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
