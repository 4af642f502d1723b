/**
 * The last stage: settles deliveries that ended, in one round trip for all of
 * them, and says what became of each.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type Consumer, maxDelay, type Settlement } from "../Broker.ts"
import type { Delivered, Outcome } from "../Outcome.ts"
import type { Entry } from "./inFlight.ts"
import { fromSchedule, type Verdict } from "./verdict.ts"

const settlement = (entry: Entry, verdict: Verdict): Settlement | undefined => {
  const { lease } = entry
  switch (verdict._tag) {
    case "Done":
    case "Discard":
    case "Expire":
      return { _tag: "Delete", lease }
    case "Retry":
      return { _tag: "Release", lease, delay: Duration.min(verdict.delay, maxDelay), reason: verdict.reason }
    case "Bury":
      return { _tag: "Bury", lease, reason: verdict.reason }
    case "GiveBack":
      return { _tag: "GiveBack", lease }
    default:
      return undefined
  }
}

const why = ({ cause, failure, reason }: Extract<Verdict, { readonly _tag: "Retry" | "Bury" | "Failed" }>) => ({
  reason,
  failure,
  cause
})

const outcome = (entry: Entry, verdict: Verdict): Outcome => {
  const { dispatched, lease } = entry
  const { id, job } = dispatched
  const { id: jobId, queue } = lease
  const attempt = entry.info?.attempt
  const duration = entry.fiber === undefined ? 0 : Math.round(entry.endedAt - entry.startedAt)
  // the hot case has no spread: copying the fields costs more than the rest of the stage
  if (verdict._tag === "Done") {
    return { _tag: "Done", queue, jobId, job, id, attempt, duration, result: verdict.result }
  }
  const delivered: Delivered = { queue, jobId, job, id, attempt, duration }
  switch (verdict._tag) {
    case "Retry":
      return { _tag: "Retried", ...delivered, delay: verdict.delay, ...why(verdict) }
    case "Bury":
      return { _tag: "Buried", ...delivered, ...why(verdict) }
    case "Discard":
      return { _tag: "Discarded", ...delivered, reason: verdict.reason }
    case "Expire":
      return { _tag: "Expired", ...delivered, expiresAt: verdict.expiresAt }
    case "GiveBack":
      return { _tag: "GivenBack", ...delivered }
    case "Lost":
      return { _tag: "Lost", ...delivered, handled: verdict.handled, error: verdict.error }
    case "Failed":
      // the retry schedule has made something else of it
      return { _tag: "Retried", ...delivered, delay: Duration.zero, ...why(verdict) }
  }
}

/** Asks the broker which attempt it was, for those that failed and where it matters. */
const inspectFailed = Effect.fnUntraced(function*(consumer: Consumer, entries: ReadonlyArray<Entry>) {
  const unknown = entries.filter((entry) => entry.info === undefined && entry.verdict!._tag === "Failed")
  if (unknown.length === 0) return
  const answers = yield* consumer.inspect(unknown.map((entry) => entry.lease))
  for (let i = 0; i < unknown.length; i++) {
    const answer = answers[i]!
    const entry = unknown[i]!
    if (Result.isSuccess(answer)) entry.info = answer.success
    else entry.verdict = { _tag: "Lost", handled: false, error: answer.failure }
  }
})

/** Settles deliveries that have their verdict. The outcomes are in the order of the input. */
export const settle = Effect.fnUntraced(function*(
  consumer: Consumer,
  entries: ReadonlyArray<Entry>
): Effect.fn.Return<Array<Outcome>> {
  yield* inspectFailed(consumer, entries)
  const settlements: Array<Settlement> = []
  const settled: Array<Entry> = []
  for (const entry of entries) {
    const verdict = entry.verdict!
    if (verdict._tag === "Failed") {
      const { next } = entry.dispatched
      const job = "verdict" in next ? next.job : next.handler.job
      entry.verdict = yield* fromSchedule(verdict, job!, entry.info!.attempt)
    }
    const action = settlement(entry, entry.verdict!)
    if (action === undefined) continue
    settlements.push(action)
    settled.push(entry)
  }
  if (settlements.length > 0) {
    const answers = yield* consumer.settle(settlements)
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i]!
      if (Result.isSuccess(answer)) continue
      const entry = settled[i]!
      entry.verdict = { _tag: "Lost", handled: entry.verdict!._tag === "Done", error: answer.failure }
    }
  }
  return entries.map((entry) => outcome(entry, entry.verdict!))
})
