/**
 * What those who follow a worker see of an outcome: one JSON object per line.
 *
 * Names, ids and reasons, which may be anybody's, are bounded, so that a line
 * is, and what a worker keeps for those who come later. They are not made safe
 * for a terminal: who shows them does that.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { clip, maxNameChars, maxReasonChars } from "../internal/text.ts"
import type { Outcome } from "../Outcome.ts"

/** The last instant of JavaScript, and a longer time than any duration that is meant. */
const maxMillis = 8.64e15

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: maxMillis }))

/**
 * An outcome, without results and failures, which stay in the worker.
 *
 * @category models
 * @since 0.1.0
 */
export const TailEvent = Schema.Struct({
  /** Milliseconds since the epoch. */
  at: Millis,
  /** The worker's process. */
  pid: Schema.Int,
  outcome: Schema.Literals(["Done", "Retried", "Buried", "Discarded", "Expired", "Requeued", "LeaseLost"]),
  queue: Schema.String,
  /** The broker's id of the job. */
  jobId: Schema.String,
  /** The job's name. Absent, as `id`, when the body could not be read. */
  job: Schema.optionalKey(Schema.String),
  /** The envelope's id. */
  id: Schema.optionalKey(Schema.String),
  /** Which attempt it was, where the worker came to know it. */
  attempt: Schema.optionalKey(Schema.Int),
  /** How long the handler ran, in milliseconds. */
  duration: Millis,
  /** Why it is not done. */
  reason: Schema.optionalKey(Schema.String),
  /** After how many milliseconds it is tried again. */
  delay: Schema.optionalKey(Millis)
})

/**
 * An outcome, as those who follow a worker see it.
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
 * What is told of an outcome.
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
    // a clock that was set back makes it negative
    duration: bounded(duration),
    ...(reason === undefined ? undefined : { reason: clip(reason, maxReasonChars) }),
    ...(outcome._tag === "Retried" ? { delay: bounded(Duration.toMillis(outcome.delay)) } : undefined)
  }
}

/**
 * One line of the wire.
 *
 * @category models
 * @since 0.1.0
 */
export const Line = Schema.fromJsonString(TailEvent)
