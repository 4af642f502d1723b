/**
 * What an operator needs from a broker: to see its queues and jobs, and to
 * change them by hand.
 *
 * Each broker's layer provides it beside the `Broker`, for the same jobs.
 * Publishers and workers don't need it. Some brokers can't do everything: their
 * `features` say so, and an operation without its feature fails with
 * `Unsupported`.
 *
 * Each answer is a snapshot: publishers and workers go on in the meantime.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type { Broker, Failure, Features, JobId, JobState, LeaseInfo, PutRequest } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A job's id and body.
 *
 * @category models
 * @since 0.1.0
 */
export interface PeekedJob {
  readonly id: JobId
  readonly body: Uint8Array
}

/**
 * A state whose next job every broker shows.
 *
 * @category models
 * @since 0.1.0
 */
export type PeekableState = "ready" | "delayed" | "buried"

/**
 * What a broker knows about a job.
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
  /** The time until the job is ready (delayed) or its lease ends (reserved); otherwise zero. */
  readonly timeLeft: Duration.Duration
  /** Why the job was last released or buried, with the feature `keepsReasons`. */
  readonly reason: string | undefined
  /** The last failure, and when it happened in milliseconds since the epoch, with the feature `keepsReasons`. */
  readonly lastFailure: (Failure & { readonly at: number }) | undefined
}

/**
 * The states that can be listed: those of a job, and `done` with the feature `keepsDone`.
 *
 * @category models
 * @since 0.1.0
 */
export type ListedState = JobState | "done"

/**
 * A job of a {@link Page}: what the broker knows about it, and its body.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedJob extends Omit<JobStats, "state"> {
  readonly state: ListedState
  readonly body: Uint8Array
  /** When the job was done, in milliseconds since the epoch; `undefined` in other states. */
  readonly finishedAt: number | undefined
}

/**
 * Which jobs of a queue to list.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly state: ListedState
  /** At most this many jobs per page, from 1 to 1000. Default: 100. */
  readonly limit?: number | undefined
  /** The `next` of the previous page. Default: start with the first job. */
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
  /** Where the next page begins; `undefined` after the last page. Opaque. */
  readonly next: string | undefined
}

/**
 * A job to restore: its body and options, and what another broker knew about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestoreRequest extends PutRequest, Pick<JobStats, "reason" | "lastFailure" | "abandoned" | "buries"> {
  /** Whether the job is buried. Then its delay does not count. */
  readonly isBuried: boolean
  /** How many attempts the job has had. */
  readonly attempts: number
}

/**
 * The numbers of one queue.
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
  /** How many jobs were put since the queue was created. */
  readonly total: number
  /** The time until a paused queue resumes; zero when it is not paused. */
  readonly pausedFor: Duration.Duration
}

/**
 * The numbers of a broker: the sums over its queues, and facts about the server.
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
  /** The largest body that the broker accepts, in bytes. */
  readonly maxJobSize: number
  readonly draining: boolean
  /** Whether an accepted job survives a restart of the server. */
  readonly durable: boolean
}

/**
 * Something about the server that harms its jobs, and what to do about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Concern {
  /** The name of the rule, for programs. */
  readonly check: string
  /** Whether work may be lost or slow (`warning`), or has a limit (`note`). */
  readonly level: "warning" | "note"
  readonly message: string
  readonly todo: string
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The queue server, as operators see it.
 *
 * @category services
 * @since 0.1.0
 */
export class Inspector extends Context.Service<Inspector, {
  /** Names the broker in messages, for instance `beanstalk://127.0.0.1:11300`. It holds no secret. */
  readonly name: string

  /** What the broker can do. */
  readonly features: Features

  /** Returns a job in any queue and state, without reserving it. */
  readonly peek: (id: JobId) => Effect.Effect<Option.Option<PeekedJob>, BrokerError>

  /** Returns the job that is next in a state of a queue; for `buried`, the one that is kicked first. */
  readonly peekNext: (
    queue: string,
    state: PeekableState
  ) => Effect.Effect<Option.Option<PeekedJob>, BrokerError>

  /**
   * Lists the jobs of a queue in a state, in pages and in order: ready jobs by priority, then age; delayed and reserved
   * jobs by when that state ends; buried jobs as they are kicked; done jobs latest first. A job that stays in its state
   * is listed exactly once, whatever happens to other jobs between two pages. A reserved job whose lease is renewed in
   * between may be listed again. A queue that does not exist has no jobs. Fails with `Unsupported` without the feature
   * `canList`.
   */
  readonly list: (queue: string, options: ListOptions) => Effect.Effect<Page, BrokerError>

  /** Deletes a job that no worker holds. Otherwise fails with `NotFound`. */
  readonly delete: (id: JobId) => Effect.Effect<void, BrokerError>

  /** Makes at most `max` buried jobs ready; when no job is buried, at most `max` delayed ones. Returns how many. */
  readonly kick: (queue: string, max: number) => Effect.Effect<number, BrokerError>

  /** Makes one buried or delayed job ready. Otherwise fails with `NotFound`. */
  readonly kickJob: (id: JobId) => Effect.Effect<void, BrokerError>

  /**
   * Buries a ready or delayed job, as if a worker had reserved and buried it: this counts as an attempt, and a kick
   * takes it back. Otherwise fails with `NotFound`, and without the feature `canBury` with `Unsupported`.
   */
  readonly buryJob: (id: JobId, reason: string) => Effect.Effect<void, BrokerError>

  /**
   * Moves a ready, delayed or buried job to a queue, where it is ready for its first attempt, with the same body,
   * priority and ttr. Returns its id, which may be a new one. After a crash the job may be on both queues, but it is
   * never lost. Otherwise fails with `NotFound`, and without the feature `canMove` with `Unsupported`.
   */
  readonly moveJob: (id: JobId, queue: string) => Effect.Effect<JobId, BrokerError>

  /**
   * Puts jobs as another broker had them: ready, delayed or buried, with their attempts and why they failed. A broker
   * without `keepsAttempts` or `keepsReasons` forgets these. Without `canBury`, buried jobs fail with `Unsupported`.
   * Returns a result for each, in order. No worker gets a buried job, unless beanstalkd loses its connection meanwhile.
   */
  readonly restore: (
    queue: string,
    requests: ReadonlyArray<RestoreRequest>
  ) => Effect.Effect<ReadonlyArray<Result.Result<JobId, BrokerError>>>

  /** Serves no job of a queue for this long, at most {@link maxDelay}. */
  readonly pause: (queue: string, duration: Duration.Duration) => Effect.Effect<void, BrokerError>

  /** Ends a pause. */
  readonly resume: (queue: string) => Effect.Effect<void, BrokerError>

  /** The numbers of the broker. */
  readonly stats: Effect.Effect<BrokerStats, BrokerError>

  /** The numbers of one queue. Fails with `NotFound` when there is no such queue. */
  readonly statsQueue: (queue: string) => Effect.Effect<QueueStats, BrokerError>

  /** What the broker knows about one job. Fails with `NotFound` when there is no such job. */
  readonly statsJob: (id: JobId) => Effect.Effect<JobStats, BrokerError>

  /** The names of all queues. */
  readonly queues: Effect.Effect<ReadonlyArray<string>, BrokerError>

  /** What harms the jobs on this server. Absent where the broker knows of nothing that could. */
  readonly concerns?: Effect.Effect<ReadonlyArray<Concern>, BrokerError>
}>()("backq/Inspector") {}

/**
 * The two services of one broker. A broker's `make` returns them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly broker: Broker["Service"]
  readonly inspector: Inspector["Service"]
}
