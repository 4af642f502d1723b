/**
 * The last stage: settles attempts that ended, all of them in one round trip, and
 * emits their outcomes.
 *
 * If the broker certainly did not carry out a settlement, because its disk is
 * full or another program locks its file, the settlement is retried while the
 * lease lasts. Otherwise a finished job would run again.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Consumer, Settlement } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Job } from "../Job.ts"
import { type Delivered, logAnnotations, type Outcome } from "../Outcome.ts"
import type { Attempt } from "./attempt.ts"
import { type FinalDecision, fromSchedule, keptFailure } from "./decision.ts"
import type { Parts } from "./parts.ts"
import { log } from "./telemetry.ts"

/** The settlement for a decision; `undefined` when the lease is lost. */
export const settlementOf = (attempt: Attempt, decision: FinalDecision): Settlement | undefined => {
  const { lease } = attempt
  switch (decision._tag) {
    case "Done":
    case "Discard":
    case "Expire":
      return { _tag: "Delete", lease }
    case "Retry":
      return {
        _tag: "Release",
        lease,
        delay: decision.delay,
        reason: decision.reason,
        failure: keptFailure(decision)
      }
    case "Bury":
      return { _tag: "Bury", lease, reason: decision.reason, failure: keptFailure(decision) }
    case "Requeue":
      return { _tag: "Requeue", lease }
    case "LeaseLost":
      return undefined
  }
}

const why = ({ cause, failure, reason }: Extract<FinalDecision, { readonly _tag: "Retry" | "Bury" }>) => ({
  reason,
  failure,
  cause
})

/** What the worker reports. */
export const outcome = (attempt: Attempt, decision: FinalDecision): Outcome => {
  const { decoded, lease } = attempt
  const { id, job } = decoded
  const { id: jobId, queue } = lease
  const number = attempt.info?.attempt
  const duration = attempt.fiber === undefined ? 0 : Math.round(attempt.endedAt - attempt.startedAt)
  // the hot case avoids a spread, which would cost more than the rest of the stage
  if (decision._tag === "Done") {
    return { _tag: "Done", queue, jobId, job, id, attempt: number, duration, result: decision.result }
  }
  const delivered: Delivered = { queue, jobId, job, id, attempt: number, duration }
  switch (decision._tag) {
    case "Retry":
      return { _tag: "Retried", ...delivered, delay: decision.delay, ...why(decision) }
    case "Bury":
      return { _tag: "Buried", ...delivered, ...why(decision) }
    case "Discard":
      return { _tag: "Discarded", ...delivered, reason: decision.reason }
    case "Expire":
      return { _tag: "Expired", ...delivered, expiresAt: decision.expiresAt }
    case "Requeue":
      return { _tag: "Requeued", ...delivered }
    case "LeaseLost":
      return { _tag: "LeaseLost", ...delivered, handled: decision.handled, error: decision.error }
  }
}

/** Whether this is a failed attempt whose number the worker does not know. */
const isUncounted = ({ decision, info }: Attempt): boolean => info === undefined && decision!._tag === "Failed"

/** Asks the broker for the numbers of these attempts. */
const inspectFailed = Effect.fnUntraced(function*(consumer: Consumer, unknown: ReadonlyArray<Attempt>) {
  const answers = yield* consumer.inspect(unknown.map((attempt) => attempt.lease))
  for (let i = 0; i < unknown.length; i++) {
    const answer = answers[i]!
    const attempt = unknown[i]!
    if (Result.isSuccess(answer)) attempt.inform(answer.success)
    else attempt.lose(answer.failure)
  }
})

/** The job of a failed attempt. A job that is buried before it ran has none, and such a job never needs its retry schedule. */
const jobOf = ({ decoded: { next } }: Attempt): Job<any> => ("decision" in next ? next.job : next.handler.job)!

/** Whether the broker certainly did not carry out a settlement, so that it may be retried. */
export const isNotSettled = ({ reason }: BrokerError): boolean =>
  reason._tag === "OutOfMemory" || reason._tag === "Unavailable" && reason.fate === "NotSent"

/** Warns of a handler that failed after its own transaction had settled the job. */
const warnOfFailure = (decision: FinalDecision, done: Outcome): Effect.Effect<void> =>
  "reason" in decision
    ? Effect.annotateLogs(
      log("Warn", `failed after its own transaction had settled the job, so it does not run again: ${decision.reason}`),
      logAnnotations(done)
    )
    : Effect.void

/** Until when a lease lasts for sure, since it is renewed after half of its time. */
const lastsUntil = ({ endedAt, info }: Attempt): number =>
  info === undefined ? -Infinity : endedAt + Duration.toMillis(info.ttr) / 2

/** An attempt, its decision, and what the broker is asked to do; `undefined` when the lease is lost. */
interface Decided {
  readonly attempt: Attempt
  readonly decision: FinalDecision
  readonly settlement: Settlement | undefined
}

const decided = (attempt: Attempt, decision: FinalDecision): Decided => ({
  attempt,
  decision,
  settlement: settlementOf(attempt, decision)
})

/** Decides attempts of which some failed, by their retry schedules. */
const decideFailed = Effect.fnUntraced(function*(consumer: Consumer, attempts: ReadonlyArray<Attempt>) {
  if (attempts.some(isUncounted)) yield* inspectFailed(consumer, attempts.filter(isUncounted))
  const all: Array<Decided> = []
  for (const attempt of attempts) {
    const given = attempt.decision!
    all.push(decided(
      attempt,
      given._tag === "Failed" ? yield* fromSchedule(given, jobOf(attempt), attempt.info!.attempt) : given
    ))
  }
  return all
})

const decideAll = (consumer: Consumer, attempts: ReadonlyArray<Attempt>): Effect.Effect<ReadonlyArray<Decided>> => {
  const all: Array<Decided> = []
  for (const attempt of attempts) {
    const decision = attempt.decision!
    if (decision._tag === "Failed") return decideFailed(consumer, attempts)
    all.push(decided(attempt, decision))
  }
  return Effect.succeed(all)
}

/** The result of settling attempts. */
interface Settled {
  /** The outcomes of those that are over, in the order of the input. */
  readonly outcomes: Array<Outcome>
  /** Those whose settlement is retried. */
  readonly again: Set<Attempt>
  /** Log lines. */
  readonly warnings: Array<Effect.Effect<void>>
}

/** Sorts attempts by the broker's answers. */
const settled = (
  all: ReadonlyArray<Decided>,
  answers: ReadonlyArray<Result.Result<void, BrokerError>>,
  mayWaitUntil: (time: number) => boolean
): Settled => {
  const outcomes: Array<Outcome> = []
  const again = new Set<Attempt>()
  const warnings: Array<Effect.Effect<void>> = []
  let answered = 0
  for (const { attempt, decision, settlement } of all) {
    const answer = settlement && answers[answered++]
    if (answer === undefined || Result.isSuccess(answer)) {
      outcomes.push(outcome(attempt, decision))
      continue
    }
    const { failure } = answer
    if (failure.reason._tag === "AlreadyDone") {
      const done = outcome(attempt, { _tag: "Done", result: undefined })
      warnings.push(warnOfFailure(decision, done))
      outcomes.push(done)
      continue
    }
    if (failure.reason._tag === "RolledBack") {
      if (attempt.decision!._tag === "Done") attempt.undo(failure)
      again.add(attempt)
      continue
    }
    const error = attempt.refuse(failure)
    if (isNotSettled(failure) && mayWaitUntil(lastsUntil(attempt))) again.add(attempt)
    else outcomes.push(outcome(attempt, { _tag: "LeaseLost", handled: decision._tag === "Done", error }))
  }
  return { outcomes, again, warnings }
}

const settleAll = (consumer: Consumer, all: ReadonlyArray<Decided>): ReturnType<Consumer["settle"]> => {
  const settlements: Array<Settlement> = []
  for (const { settlement } of all) if (settlement !== undefined) settlements.push(settlement)
  return settlements.length === 0 ? Effect.succeed([]) : consumer.settle(settlements)
}

/** Waits for attempts that ended and settles them. An interruption does not stop a settlement that has started. */
export const settleNext = <E>(
  { attempts, clocks, consumer, ending, telemetry }: Parts,
  next: Effect.Effect<ReadonlyArray<Attempt>, E>
): Effect.Effect<ReadonlyArray<Outcome>, E> => {
  const mayWaitUntil = (time: number) => !ending.isBrokerAway && clocks.now() < time

  const remove = (ended: ReadonlyArray<Attempt>, { again, outcomes, warnings }: Settled) => {
    if (again.size > 0) attempts.settleAgain([...again])
    attempts.remove(again.size === 0 ? ended : ended.filter((attempt) => !again.has(attempt)), outcomes)
    return warnings.length === 0
      ? Effect.succeed(outcomes)
      : Effect.as(Effect.all(warnings, { discard: true }), outcomes)
  }

  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(next), (ended) => {
      attempts.settling(ended)
      return Effect.flatMap(decideAll(consumer, ended), (all) =>
        Effect.flatMap(settleAll(consumer, all), (answers) => remove(ended, settled(all, answers, mayWaitUntil))))
    })
  ).pipe(Effect.tap(telemetry.report))
}

/** Turns attempts that ended into outcomes. */
export const settle =
  (parts: Parts) => (ended: Stream.Stream<Attempt, BrokerError>): Stream.Stream<Outcome, BrokerError> =>
    Stream.transformPull(ended, (next) => {
      const pull: Effect.Effect<NonEmptyReadonlyArray<Outcome>, BrokerError | Cause.Done> = Effect.filterOrElse(
        settleNext(parts, next),
        isReadonlyArrayNonEmpty,
        () => pull
      )
      return Effect.succeed(pull)
    })
