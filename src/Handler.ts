/**
 * A job and the function that runs it.
 */
import type * as Effect from "effect/Effect"
import type { JobId, LeaseInfo } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import type { Job } from "./Job.ts"

/**
 * What a handler is told beside the payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivery {
  /** The same in every attempt: an idempotency key. */
  readonly id: string
  /** The broker's id of the job. */
  readonly jobId: JobId
  readonly queue: string
  /** When it was published, in milliseconds since the epoch, if the publisher said so. */
  readonly publishedAt: number | undefined
  /** Until when it is wanted, in milliseconds since the epoch; `undefined` for ever. */
  readonly expiresAt: number | undefined
  /** Which attempt this is: 1 for the first. May ask the broker. */
  readonly attempt: Effect.Effect<number, BrokerError>
  /** What the broker knows of the job: how it was put and how it fared. May ask the broker. */
  readonly info: Effect.Effect<LeaseInfo, BrokerError>
  /** Is the lease known to be lost? Then the job runs again, here or elsewhere, and nothing is to be put in its place. */
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
 * What a handler needs from its environment.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<H> = H extends Handler<infer R> ? R : never

/**
 * Says how a job is run. When the Effect succeeds the job is deleted; when it
 * fails, the job's retry schedule or the handler's directive (`Job.retryAfter`,
 * `Job.bury`, `Job.discard`) decides what becomes of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, X, E, R>(
  job: Job<A>,
  run: (payload: A, delivery: Delivery) => Effect.Effect<X, E, R>
): Handler<R> => ({ job, run })
