/**
 * A job and the function that runs it.
 */
import type * as Effect from "effect/Effect"
import type { JobId, Lease, LeaseInfo } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import type { Job } from "./Job.ts"

/**
 * What a handler receives in addition to the payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivery {
  /** The envelope's id, the same in every attempt: use it as an idempotency key. */
  readonly id: string
  /** The broker's id of the job. */
  readonly jobId: JobId
  readonly queue: string
  /** The lease that the worker holds, for what its broker offers besides: see `PostgresBroker.done`. */
  readonly lease: Lease
  /** When the job was published, in milliseconds since the epoch; `undefined` when the envelope doesn't say. */
  readonly publishedAt: number | undefined
  /** The deadline, in milliseconds since the epoch; `undefined` when there is none. */
  readonly expiresAt: number | undefined
  /** The number of this attempt, from 1. May ask the broker. */
  readonly attempt: Effect.Effect<number, BrokerError>
  /** What the broker knows about this delivery. May ask the broker. */
  readonly info: Effect.Effect<LeaseInfo, BrokerError>
  /** Whether the lease is lost. If so the job will run again: do not publish a replacement. */
  readonly isLost: Effect.Effect<boolean>
}

/**
 * A job and the function that runs it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handler<out R = never> {
  readonly job: Job<any>
  readonly run: (payload: any, delivery: Delivery) => Effect.Effect<unknown, unknown, R>
}

/**
 * The services that a handler requires.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<H> = H extends Handler<infer R> ? R : never

/**
 * Makes a handler. When its Effect succeeds the worker deletes the job. When it
 * fails with a directive (`Job.retryAfter`, `Job.bury`, `Job.discard`) the worker
 * follows that, and otherwise the job's retry schedule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, X, E, R>(
  job: Job<A>,
  run: (payload: A, delivery: Delivery) => Effect.Effect<X, E, R>
): Handler<R> => ({ job, run })
