/**
 * What became of a delivery: the values that a worker reports, one per lease.
 *
 * A failure at any stage (a body that can't be read, a job that nobody handles,
 * a handler that fails, a settlement that comes too late) becomes such a value;
 * none of them ends the worker.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { JobId } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import { safeName } from "./internal/text.ts"

/**
 * Which delivery an outcome is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivered {
  readonly queue: string
  /** The broker's id of the job. */
  readonly jobId: JobId
  /** The job's name; `undefined` when the body could not be read. */
  readonly job: string | undefined
  /** The envelope's id; `undefined` when the body could not be read. */
  readonly id: string | undefined
  /** Which attempt it was, where the worker came to know it. */
  readonly attempt: number | undefined
  /** How long the handler ran, in milliseconds; 0 when it did not. */
  readonly duration: number
}

/**
 * The handler succeeded, and the job is deleted. `result` is the handler's.
 *
 * @category models
 * @since 0.1.0
 */
export interface Done extends Delivered {
  readonly _tag: "Done"
  readonly result: unknown
}

/**
 * The attempt failed; the job is tried again after `delay`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Retried extends Delivered {
  readonly _tag: "Retried"
  readonly delay: Duration.Duration
  readonly reason: string
  /** What the handler failed with, if it came to run. */
  readonly failure: unknown
  /** Present when the handler died of a defect. */
  readonly cause: Cause.Cause<unknown> | undefined
}

/**
 * The job is put aside with its reason until somebody kicks it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Buried extends Delivered {
  readonly _tag: "Buried"
  readonly reason: string
  /** What the handler failed with, if it came to run. */
  readonly failure: unknown
  /** Present when the handler died of a defect. */
  readonly cause: Cause.Cause<unknown> | undefined
}

/**
 * The handler said that the job is not wanted any more; it is deleted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Discarded extends Delivered {
  readonly _tag: "Discarded"
  readonly reason: string
}

/**
 * The job was past its deadline, before or while it ran; it is deleted.
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
 * The worker stops; the job is ready again and no attempt is spent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Requeued extends Delivered {
  readonly _tag: "Requeued"
}

/**
 * The lease was lost before it could be settled; the job runs again.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseLost extends Delivered {
  readonly _tag: "LeaseLost"
  /** Had the handler succeeded by then? If so its work will be done a second time. */
  readonly handled: boolean
  readonly error: BrokerError
}

/**
 * What became of a delivery.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = Done | Retried | Buried | Discarded | Expired | Requeued | LeaseLost

/**
 * An attempt took longer than its limit. What the retry schedule gets to see of it.
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
 * How many deliveries ended which way.
 *
 * @category models
 * @since 0.1.0
 */
export type Counts = { readonly [Tag in Outcome["_tag"]]: number }

/**
 * No delivery at all.
 *
 * @category constants
 * @since 0.1.0
 */
export const noCounts: Counts = { Done: 0, Retried: 0, Buried: 0, Discarded: 0, Expired: 0, Requeued: 0, LeaseLost: 0 }

/**
 * Counts as a person reads them: `12 done, 1 buried`.
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
 * Which job an outcome is about, for a log line: bounded, and safe to print.
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
