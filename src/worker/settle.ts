/**
 * The last stage: settles deliveries that ended, in one round trip for all of
 * them, and tells what became of each.
 *
 * A settlement that the broker certainly did not carry out, because its disk is
 * full or somebody else holds its file, is worth trying again while the lease
 * lasts: else a job that was handled would run once more.
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
import type { Delivered, Outcome } from "../Outcome.ts"
import type { Attempt } from "./attempt.ts"
import { type FinalDecision, fromSchedule, toKeep } from "./decision.ts"
import type { Parts } from "./parts.ts"

/** What the broker is told; nothing when the lease is lost. */
export const settlement = (attempt: Attempt, decision: FinalDecision): Settlement | undefined => {
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
        failure: toKeep(decision)
      }
    case "Bury":
      return { _tag: "Bury", lease, reason: decision.reason, failure: toKeep(decision) }
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
  // the hot case has no spread: copying the fields costs more than the rest of the stage
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

/** Asks the broker which attempt it was, for those that failed and where it matters. */
const inspectFailed = Effect.fnUntraced(function*(consumer: Consumer, attempts: ReadonlyArray<Attempt>) {
  const unknown = attempts.filter((attempt) => attempt.info === undefined && attempt.decision!._tag === "Failed")
  if (unknown.length === 0) return
  const answers = yield* consumer.inspect(unknown.map((attempt) => attempt.lease))
  for (let i = 0; i < unknown.length; i++) {
    const answer = answers[i]!
    const attempt = unknown[i]!
    if (Result.isSuccess(answer)) attempt.inform(answer.success)
    else attempt.lose(answer.failure)
  }
})

/** The job that a delivery is for. Only one that could not be read has none. */
const jobOf = ({ decoded: { next } }: Attempt): Job<any> => ("decision" in next ? next.job : next.handler.job)!

/** What became of deliveries. */
interface Settled {
  /** Those that are over, in the order of the input. */
  readonly outcomes: Array<Outcome>
  /** Those to be settled again. */
  readonly again: ReadonlySet<Attempt>
}

/** Did the broker certainly not carry out what it was asked for, so that it may be asked again? */
export const isNotDone = ({ reason }: BrokerError): boolean =>
  reason._tag === "OutOfMemory" || reason._tag === "Unavailable" && reason.fate === "NotSent"

/** Until when a lease lasts for sure: it is renewed when half of its time is over. */
const lastsUntil = ({ endedAt, info }: Attempt): number =>
  info === undefined ? -Infinity : endedAt + Duration.toMillis(info.ttr) / 2

/** Settles deliveries that have their decision. `mayWaitUntil` says whether one that is refused may be tried again until then. */
const settleAll = Effect.fnUntraced(function*(
  consumer: Consumer,
  attempts: ReadonlyArray<Attempt>,
  mayWaitUntil: (time: number) => boolean
): Effect.fn.Return<Settled> {
  yield* inspectFailed(consumer, attempts)
  const decisions: Array<FinalDecision> = []
  const settlements: Array<Settlement> = []
  // positions in `decisions` that the broker answers
  const settled: Array<number> = []
  for (const attempt of attempts) {
    const given = attempt.decision!
    const decision = given._tag === "Failed"
      ? yield* fromSchedule(given, jobOf(attempt), attempt.info!.attempt)
      : given
    const action = settlement(attempt, decision)
    if (action !== undefined) {
      settlements.push(action)
      settled.push(decisions.length)
    }
    decisions.push(decision)
  }
  const again = new Set<Attempt>()
  if (settlements.length > 0) {
    const answers = yield* consumer.settle(settlements)
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i]!
      if (Result.isSuccess(answer)) continue
      const position = settled[i]!
      const attempt = attempts[position]!
      const error = attempt.refuse(answer.failure)
      if (isNotDone(answer.failure) && mayWaitUntil(lastsUntil(attempt))) again.add(attempt)
      else decisions[position] = { _tag: "LeaseLost", handled: decisions[position]!._tag === "Done", error }
    }
  }
  const outcomes: Array<Outcome> = []
  for (let i = 0; i < attempts.length; i++) {
    const attempt = attempts[i]!
    if (!again.has(attempt)) outcomes.push(outcome(attempt, decisions[i]!))
  }
  return { outcomes, again }
})

/** Waits for deliveries that ended and settles them. What was taken is settled, also when the fiber is interrupted meanwhile. */
export const settleNext = <E>(
  { attempts, clocks, consumer, ending, telemetry }: Parts,
  next: Effect.Effect<ReadonlyArray<Attempt>, E>
): Effect.Effect<ReadonlyArray<Outcome>, E> => {
  const mayWaitUntil = (time: number) => !ending.isBrokerAway && clocks.now() < time
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(next), (ended) => {
      for (const attempt of ended) attempt.settle()
      return Effect.map(settleAll(consumer, ended, mayWaitUntil), ({ again, outcomes }) => {
        attempts.settleAgain([...again])
        attempts.remove(again.size === 0 ? ended : ended.filter((attempt) => !again.has(attempt)), outcomes)
        return outcomes
      })
    })
  ).pipe(Effect.tap(telemetry.report))
}

/** From deliveries that ended to what became of them. */
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
