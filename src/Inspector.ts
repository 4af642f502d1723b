/**
 * What an operator needs of a broker: to see its queues and jobs, and to change
 * them by hand.
 *
 * The layers of a broker provide it beside the `Broker`, for the same jobs.
 * Publishers and workers do without. Not every broker can do all of it: its
 * `features` say so beforehand, and what they rule out fails with `Unsupported`.
 *
 * What is seen is the state of a moment: others publish and work meanwhile.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Broker, Failure, Features, JobId, JobState, LeaseInfo } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

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
// Service
// -----------------------------------------------------------------------------

/**
 * The queue server, as operators see it.
 *
 * @category services
 * @since 0.1.0
 */
export class Inspector extends Context.Service<Inspector, {
  /** Says which broker this is in messages, for instance `beanstalk://127.0.0.1:11300`. Holds no secret. */
  readonly name: string

  /** What the broker can and can't do. */
  readonly features: Features

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
   * renewed meanwhile may be seen again). A queue that does not exist has no jobs. Fails with `Unsupported` without
   * the feature `canList`.
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
   * a kick forgives. Fails with `NotFound` otherwise, and with `Unsupported` without the feature `canBury`.
   */
  readonly buryJob: (id: JobId, reason: string) => Effect.Effect<void, BrokerError>

  /**
   * Puts a ready, delayed or buried job anew on a queue: ready, at its first attempt, with the same body, priority and
   * ttr. Returns its id, which may be another. A crash meanwhile may leave it on both queues, never on none. Fails
   * with `NotFound` otherwise, and with `Unsupported` without the feature `canMove`.
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
}>()("backq/Inspector") {}

/**
 * The two services of one broker, as the constructors of brokers make them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly broker: Broker["Service"]
  readonly inspector: Inspector["Service"]
}
