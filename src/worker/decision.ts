/**
 * Decides about a job from how its handler ended. Pure, except for the retry
 * schedule, which is an Effect.
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

/** Why a job is not done: the reason in words, the failure, and the whole cause of a defect. */
interface Why {
  readonly reason: string
  /** The kind of failure, when no handler ran. */
  readonly tag?: string
  readonly failure?: unknown
  readonly cause?: Cause.Cause<unknown> | undefined
}

/** How a delivery will be settled. `Failed` leaves that to the retry schedule. */
export type Decision =
  | { readonly _tag: "Done"; readonly result: unknown }
  | ({ readonly _tag: "Failed" } & Why)
  | ({ readonly _tag: "Retry"; readonly delay: Duration.Duration } & Why)
  | ({ readonly _tag: "Bury" } & Why)
  | { readonly _tag: "Discard"; readonly reason: string }
  | { readonly _tag: "Expire"; readonly expiresAt: number }
  | { readonly _tag: "Requeue" }
  | { readonly _tag: "LeaseLost"; readonly handled: boolean; readonly error: BrokerError }

/** A decision after the retry schedule. */
export type FinalDecision = Exclude<Decision, { readonly _tag: "Failed" }>

/** Why a worker interrupted a handler, and the decision on the job if the interruption ended it. */
export type Interruption = Exclude<Decision, { readonly _tag: "Done" | "Retry" | "Bury" | "Discard" }>

/** The failure that a broker keeps. */
export const keptFailure = ({ failure, reason, tag }: Why): Failure => {
  const { message, name } = describe(failure)
  return { tag: tag ?? name ?? "Failure", message: message ?? reason }
}

/** The cause of a directive, or the directive itself. */
const failureOf = (directive: Error): unknown => directive.cause ?? directive

/** A delay that a broker accepts; a negative one and NaN become 0. */
const clampDelay = (delay: Duration.Duration): Duration.Duration =>
  Duration.clamp(delay, { minimum: Duration.zero, maximum: maxDelay })

const fromCause = (cause: Cause.Cause<unknown>, interruption: Interruption | undefined): Decision => {
  if (interruption !== undefined && Cause.hasInterruptsOnly(cause)) return interruption
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason) || !isDirective(reason.error)) continue
    switch (reason.error._tag) {
      case "RetryAfter":
        return {
          _tag: "Retry",
          delay: clampDelay(reason.error.delay),
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

/** The decision on an attempt that failed without a handler's exit. */
export const failed = (failure: unknown): Decision => ({ _tag: "Failed", failure, reason: describe(failure).text })

/** Decides from a handler's exit and the worker's interruption of it, if any. Never throws, whatever the handler failed with. */
export const fromExit = (exit: Exit.Exit<unknown, unknown>, interruption: Interruption | undefined): Decision => {
  if (Exit.isSuccess(exit)) {
    // a success counts, even if the worker interrupted the handler before its last step
    return interruption?._tag === "LeaseLost"
      ? { ...interruption, handled: true }
      : { _tag: "Done", result: exit.value }
  }
  return Result.getOrElse(callSafely(() => fromCause(exit.cause, interruption)), failed)
}

/** Decides by the job's retry schedule: retry, or bury when the schedule ends. */
export const fromSchedule = Effect.fnUntraced(function*(
  failed: Extract<Decision, { readonly _tag: "Failed" }>,
  job: Job<any>,
  attempt: number
): Effect.fn.Return<FinalDecision> {
  const { cause, failure, reason, tag } = failed
  const kind = tag === undefined ? undefined : { tag }
  const replay = Effect.map(
    retryDelay(job.retry, attempt, failure),
    (delay) => delay === undefined ? undefined : clampDelay(delay)
  )
  // a user's schedule may hold a value that is not an Effect, which ends the fiber that runs it
  const replayed = yield* Effect.exit(
    job.retry === defaultRetry
      ? replay
      : Effect.flatMap(Effect.forkChild(replay, { startImmediately: true }), Fiber.join)
  )
  if (Exit.isFailure(replayed)) {
    return {
      _tag: "Bury",
      reason: `${reason}; then its retry schedule failed`,
      failure,
      ...kind,
      cause: replayed.cause
    }
  }
  const delay = replayed.value
  return delay === undefined
    ? { _tag: "Bury", reason: `attempt ${attempt} was the last: ${reason}`, failure, ...kind, cause }
    : { _tag: "Retry", delay, reason, failure, ...kind, cause }
})
