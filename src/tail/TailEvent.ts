/**
 * What those who follow a worker see of an outcome: one JSON object per line.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { Outcome } from "../Outcome.ts"

/** An outcome, without results and failures, which stay in the worker. */
export const TailEvent = Schema.Struct({
  /** Milliseconds since the epoch. */
  at: Schema.Finite,
  /** The worker's process. */
  pid: Schema.Int,
  outcome: Schema.Literals(["Done", "Retried", "Buried", "Discarded", "Expired", "GivenBack", "Lost"]),
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
  duration: Schema.Finite,
  /** Why it is not done. */
  reason: Schema.optionalKey(Schema.String),
  /** After how many milliseconds it is tried again. */
  delay: Schema.optionalKey(Schema.Finite)
})

/** An outcome, as those who follow a worker see it. */
export type TailEvent = typeof TailEvent.Type

const reasonOf = (outcome: Outcome): string | undefined => {
  switch (outcome._tag) {
    case "Retried":
    case "Buried":
    case "Discarded":
      return outcome.reason
    case "Lost":
      return outcome.error.message
    default:
      return undefined
  }
}

/** What is told of an outcome. */
export const fromOutcome = (outcome: Outcome, at: number, pid: number): TailEvent => {
  const { attempt, duration, id, job, jobId, queue } = outcome
  const reason = reasonOf(outcome)
  return {
    at,
    pid,
    outcome: outcome._tag,
    queue,
    jobId,
    ...(job === undefined ? undefined : { job }),
    ...(id === undefined ? undefined : { id }),
    ...(attempt === undefined ? undefined : { attempt }),
    duration,
    ...(reason === undefined ? undefined : { reason }),
    ...(outcome._tag === "Retried" ? { delay: Duration.toMillis(outcome.delay) } : undefined)
  }
}

/** One line of the wire. */
export const Line = Schema.fromJsonString(TailEvent)
