/**
 * From the end of a handler to what becomes of its job. Pure, except for the
 * retry schedule, which is an Effect.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { type Failure, maxDelay } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import { clip, maxReasonChars } from "../internal/text.ts"
import { callSafely, describe } from "../internal/thrown.ts"
import { defaultRetry, isDirective, type Job, retryDelay } from "../Job.ts"

/** Why a job is not done: what the handler failed with, in words, and the whole cause when that was a defect. */
interface Why {
  readonly reason: string
  /** What kind of failure it was, when no handler came to run. */
  readonly tag?: string
  readonly failure?: unknown
  readonly cause?: Cause.Cause<unknown> | undefined
}

/** What is to become of a delivery. */
export type Decision =
  | { readonly _tag: "Done"; readonly result: unknown }
  | ({ readonly _tag: "Failed" } & Why)
  | ({ readonly _tag: "Retry"; readonly delay: Duration.Duration } & Why)
  | ({ readonly _tag: "Bury" } & Why)
  | { readonly _tag: "Discard"; readonly reason: string }
  | { readonly _tag: "Expire"; readonly expiresAt: number }
  | { readonly _tag: "Requeue" }
  | { readonly _tag: "LeaseLost"; readonly handled: boolean; readonly error: BrokerError }

/** A decision on which the retry schedule has had its say. */
export type FinalDecision = Exclude<Decision, { readonly _tag: "Failed" }>

/** Why a worker interrupted a handler: what is to become of the job, if the interruption is what ended it. */
export type Interruption = Exclude<Decision, { readonly _tag: "Done" | "Retry" | "Bury" | "Discard" }>

/** A failure as a broker keeps it. */
export const toKeep = ({ failure, reason, tag }: Why): Failure => {
  const { message, name } = describe(failure)
  return { tag: tag ?? name ?? "Failure", message: message ?? reason }
}

/** The failure that a directive was made from, if it names one. */
const failureOf = (directive: Error): unknown => directive.cause ?? directive

/** A delay that a broker takes: what is over already, or no number, is none. */
const possible = (delay: Duration.Duration): Duration.Duration =>
  Duration.clamp(delay, { minimum: Duration.zero, maximum: maxDelay })

const fromCause = (cause: Cause.Cause<unknown>, interruption: Interruption | undefined): Decision => {
  if (interruption !== undefined && Cause.hasInterruptsOnly(cause)) return interruption
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason) || !isDirective(reason.error)) continue
    switch (reason.error._tag) {
      case "RetryAfter":
        return {
          _tag: "Retry",
          delay: possible(reason.error.delay),
          reason: clip(reason.error.reason, maxReasonChars),
          failure: failureOf(reason.error)
        }
      case "Bury":
        return { _tag: "Bury", reason: clip(reason.error.reason, maxReasonChars), failure: failureOf(reason.error) }
      case "Discard":
        return { _tag: "Discard", reason: clip(reason.error.reason, maxReasonChars) }
    }
  }
  const failure = Cause.squash(cause)
  const reason = Cause.hasInterruptsOnly(cause) ? "the handler interrupted itself" : describe(failure).text
  return Cause.hasDies(cause)
    ? { _tag: "Failed", failure, reason: `defect: ${reason}`, cause }
    : { _tag: "Failed", failure, reason }
}

/** The decision on an attempt of which nothing is known but that it failed. */
export const failed = (failure: unknown): Decision => ({ _tag: "Failed", failure, reason: describe(failure).text })

/** How a handler's exit is judged, given why the worker interrupted it, if it did. There is a decision whatever the exit has in it. */
export const fromExit = (exit: Exit.Exit<unknown, unknown>, interruption: Interruption | undefined): Decision => {
  if (Exit.isSuccess(exit)) {
    // what was done is done, even when the interruption came before its last step
    return interruption?._tag === "LeaseLost"
      ? { ...interruption, handled: true }
      : { _tag: "Done", result: exit.value }
  }
  return Result.getOrElse(callSafely(() => fromCause(exit.cause, interruption)), failed)
}

/** What the job's retry schedule makes of a failure: another attempt, or none. */
export const fromSchedule = Effect.fnUntraced(function*(
  failed: Extract<Decision, { readonly _tag: "Failed" }>,
  job: Job<any>,
  attempt: number
): Effect.fn.Return<FinalDecision> {
  const { cause, failure, reason, tag } = failed
  const kind = tag === undefined ? undefined : { tag }
  const replay = Effect.map(
    retryDelay(job.retry, attempt, failure),
    (delay) => delay === undefined ? undefined : possible(delay)
  )
  // in a schedule of the user's there may be an Effect that is none, which ends the fiber that it runs in
  const replayed = yield* Effect.exit(
    job.retry === defaultRetry
      ? replay
      : Effect.flatMap(Effect.forkChild(replay, { startImmediately: true }), Fiber.join)
  )
  if (Exit.isFailure(replayed)) {
    return { _tag: "Bury", reason: `${reason}; and its retry schedule failed`, failure, ...kind, cause: replayed.cause }
  }
  const delay = replayed.value
  return delay === undefined
    ? { _tag: "Bury", reason: `attempt ${attempt} was the last: ${reason}`, failure, ...kind, cause }
    : { _tag: "Retry", delay, reason, failure, ...kind, cause }
})
