/**
 * An outcome for the followers of a worker: one JSON object per line.
 *
 * Names, ids and reasons are clipped, so that a line and the worker's memory for new
 * followers are bounded. They are not escaped for a terminal: escape them before you show
 * them.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { clip, maxNameChars, maxReasonChars } from "../internal/text.ts"
import type { Outcome } from "../Outcome.ts"

/** The last time that JavaScript can express, and the maximum of a duration. */
const maxMillis = 8.64e15

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: maxMillis }))

/**
 * An outcome without its result and failure, which stay in the worker.
 *
 * @category models
 * @since 0.1.0
 */
export const TailEvent = Schema.Struct({
  /** When it happened, in milliseconds since 1970. */
  at: Millis,
  /** The worker's process id. */
  pid: Schema.Int,
  outcome: Schema.Literals(["Done", "Retried", "Buried", "Discarded", "Expired", "Requeued", "LeaseLost"]),
  queue: Schema.String,
  /** The broker's id of the job. */
  jobId: Schema.String,
  /** The job's name. Absent, like `id`, if the body could not be read. */
  job: Schema.optionalKey(Schema.String),
  /** The envelope's id. */
  id: Schema.optionalKey(Schema.String),
  /** The number of the attempt, if the worker knows it. */
  attempt: Schema.optionalKey(Schema.Int),
  /** How long the handler ran, in milliseconds. */
  duration: Millis,
  /** Why the job is not done. */
  reason: Schema.optionalKey(Schema.String),
  /** The delay before the retry, in milliseconds. */
  delay: Schema.optionalKey(Millis)
})

/**
 * The decoded {@link TailEvent}.
 *
 * @category models
 * @since 0.1.0
 */
export type TailEvent = typeof TailEvent.Type

const reasonOf = (outcome: Outcome): string | undefined => {
  switch (outcome._tag) {
    case "Retried":
    case "Buried":
    case "Discarded":
      return outcome.reason
    case "LeaseLost":
      return outcome.error.message
    default:
      return undefined
  }
}

const bounded = (millis: number): number => Math.min(Math.max(millis, 0), maxMillis)

/**
 * Makes the event of an outcome.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromOutcome = (outcome: Outcome, at: number, pid: number): TailEvent => {
  const { attempt, duration, id, job, jobId, queue } = outcome
  const reason = reasonOf(outcome)
  return {
    at: bounded(at),
    pid,
    outcome: outcome._tag,
    queue,
    jobId,
    ...(job === undefined ? undefined : { job: clip(job, maxNameChars) }),
    ...(id === undefined ? undefined : { id: clip(id, maxNameChars) }),
    ...(attempt === undefined ? undefined : { attempt }),
    // It is negative if the clock was set back.
    duration: bounded(duration),
    ...(reason === undefined ? undefined : { reason: clip(reason, maxReasonChars) }),
    ...(outcome._tag === "Retried" ? { delay: bounded(Duration.toMillis(outcome.delay)) } : undefined)
  }
}

/**
 * A line of the wire.
 *
 * @category models
 * @since 0.1.0
 */
export const Line = Schema.fromJsonString(TailEvent)
