/**
 * How a delivery ended. A worker reports one outcome per lease.
 *
 * A failure at any stage becomes an outcome and does not end the worker: an
 * unreadable body, a job without a handler, a handler that fails, a settlement
 * that is too late.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { JobId } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import { safeName } from "./internal/text.ts"

/**
 * The delivery that an outcome is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivered {
  readonly queue: string
  /** The broker's id of the job. */
  readonly jobId: JobId
  /** The job's name; `undefined` when the body is unreadable. */
  readonly job: string | undefined
  /** The envelope's id; `undefined` when the body is unreadable. */
  readonly id: string | undefined
  /** The number of the attempt, from 1, if the worker knows it. */
  readonly attempt: number | undefined
  /** How long the handler ran, in milliseconds; 0 when it did not run. */
  readonly duration: number
}

/**
 * The handler succeeded with `result`, and the job is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Done extends Delivered {
  readonly _tag: "Done"
  readonly result: unknown
}

/**
 * The attempt failed. The job is retried after `delay`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Retried extends Delivered {
  readonly _tag: "Retried"
  readonly delay: Duration.Duration
  readonly reason: string
  /** What the handler failed with, if it ran. */
  readonly failure: unknown
  /** The whole cause, when the handler had a defect. */
  readonly cause: Cause.Cause<unknown> | undefined
}

/**
 * The job stays aside with its reason until an operator kicks it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Buried extends Delivered {
  readonly _tag: "Buried"
  readonly reason: string
  /** What the handler failed with, if it ran. */
  readonly failure: unknown
  /** The whole cause, when the handler had a defect. */
  readonly cause: Cause.Cause<unknown> | undefined
}

/**
 * The handler discarded the job, and it is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Discarded extends Delivered {
  readonly _tag: "Discarded"
  readonly reason: string
}

/**
 * The job passed its deadline, before or while it ran, and is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expired extends Delivered {
  readonly _tag: "Expired"
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * The worker stopped. The job is ready again, and this does not count as an attempt.
 *
 * @category models
 * @since 0.1.0
 */
export interface Requeued extends Delivered {
  readonly _tag: "Requeued"
}

/**
 * The lease was lost before its settlement. The job runs again.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseLost extends Delivered {
  readonly _tag: "LeaseLost"
  /** Whether the handler had succeeded. If so its work will be repeated. */
  readonly handled: boolean
  readonly error: BrokerError
}

/**
 * How a delivery ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = Done | Retried | Buried | Discarded | Expired | Requeued | LeaseLost

/**
 * An attempt took longer than its limit. The retry schedule gets this failure.
 *
 * @category errors
 * @since 0.1.0
 */
export class AttemptTimeout extends Schema.TaggedError<AttemptTimeout>()("AttemptTimeout", {
  timeout: Schema.Duration
}) {
  override get message() {
    return `the attempt took longer than ${Duration.format(this.timeout)}`
  }
}

/**
 * How many deliveries ended with each outcome.
 *
 * @category models
 * @since 0.1.0
 */
export type Counts = { readonly [Tag in Outcome["_tag"]]: number }

/**
 * All counts at 0.
 *
 * @category constants
 * @since 0.1.0
 */
export const noCounts: Counts = { Done: 0, Retried: 0, Buried: 0, Discarded: 0, Expired: 0, Requeued: 0, LeaseLost: 0 }

/**
 * Formats counts for a log line: `12 done, 1 buried`.
 *
 * @category functions
 * @since 0.1.0
 */
export const formatCounts = (counts: Counts): string =>
  ([
    [counts.Done, "done"],
    [counts.Retried, "retried"],
    [counts.Buried, "buried"],
    [counts.Discarded, "discarded"],
    [counts.Expired, "expired"],
    [counts.Requeued, "requeued"],
    [counts.LeaseLost, "lease lost"]
  ] as const).flatMap(([count, name]) => count === 0 && name !== "done" ? [] : [`${count} ${name}`]).join(", ")

/**
 * The log annotations that name the job of an outcome, bounded and safe to print.
 *
 * @category functions
 * @since 0.1.0
 */
export const logAnnotations = (outcome: Outcome): Record<string, unknown> => ({
  queue: safeName(outcome.queue),
  jobId: safeName(outcome.jobId),
  ...(outcome.job === undefined ? undefined : { job: safeName(outcome.job) }),
  ...(outcome.attempt === undefined ? undefined : { attempt: outcome.attempt })
})
