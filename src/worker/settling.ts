/**
 * The last stage: settles deliveries that ended, in one round trip for all of
 * them, and says what became of each.
 *
 * A settlement that the broker certainly did not carry out, because its disk is
 * full or somebody else holds its file, is worth trying again while the lease
 * lasts: else a job that was handled would run once more.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Consumer, Settlement } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Job } from "../Job.ts"
import type { Delivered, Outcome } from "../Outcome.ts"
import { type FinalVerdict, fromSchedule, toKeep } from "./decision.ts"
import type { Entry } from "./inFlight.ts"

/** What the broker is told; nothing when the lease is lost. */
const settlement = (entry: Entry, verdict: FinalVerdict): Settlement | undefined => {
  const { lease } = entry
  switch (verdict._tag) {
    case "Done":
    case "Discard":
    case "Expire":
      return { _tag: "Delete", lease }
    case "Retry":
      return {
        _tag: "Release",
        lease,
        delay: verdict.delay,
        reason: verdict.reason,
        failure: toKeep(verdict)
      }
    case "Bury":
      return { _tag: "Bury", lease, reason: verdict.reason, failure: toKeep(verdict) }
    case "GiveBack":
      return { _tag: "GiveBack", lease }
    case "Lost":
      return undefined
  }
}

const why = ({ cause, failure, reason }: Extract<FinalVerdict, { readonly _tag: "Retry" | "Bury" }>) => ({
  reason,
  failure,
  cause
})

const outcome = (entry: Entry, verdict: FinalVerdict): Outcome => {
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

/** The job that a delivery is for. Only one that could not be read has none. */
const jobOf = ({ dispatched: { next } }: Entry): Job<any> => ("verdict" in next ? next.job : next.handler.job)!

/** What became of deliveries. */
export interface Settled {
  /** Those that are over, in the order of the input. */
  readonly outcomes: Array<Outcome>
  /** Those to be settled again. */
  readonly again: ReadonlySet<Entry>
}

const isNotDone = ({ reason }: BrokerError): boolean =>
  reason._tag === "OutOfMemory" || reason._tag === "Unavailable" && reason.fate === "NotSent"

/** Until when a lease lasts for sure: it is renewed when half of its time is over. */
const lastsUntil = ({ endedAt, info }: Entry): number =>
  info === undefined ? -Infinity : endedAt + Duration.toMillis(info.ttr) / 2

/** Settles deliveries that have their verdict. `mayWaitUntil` says whether one that is refused may be tried again until then. */
export const settle = Effect.fnUntraced(function*(
  consumer: Consumer,
  entries: ReadonlyArray<Entry>,
  mayWaitUntil: (time: number) => boolean
): Effect.fn.Return<Settled> {
  yield* inspectFailed(consumer, entries)
  const verdicts: Array<FinalVerdict> = []
  const settlements: Array<Settlement> = []
  // positions in `verdicts` that the broker answers
  const settled: Array<number> = []
  for (const entry of entries) {
    const given = entry.verdict!
    const verdict = given._tag === "Failed"
      ? yield* fromSchedule(given, jobOf(entry), entry.info!.attempt)
      : given
    const action = settlement(entry, verdict)
    if (action !== undefined) {
      settlements.push(action)
      settled.push(verdicts.length)
    }
    verdicts.push(verdict)
  }
  const again = new Set<Entry>()
  if (settlements.length > 0) {
    const answers = yield* consumer.settle(settlements)
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i]!
      if (Result.isSuccess(answer)) continue
      const position = settled[i]!
      const entry = entries[position]!
      const error = entry.refused ??= answer.failure
      if (isNotDone(answer.failure) && mayWaitUntil(lastsUntil(entry))) again.add(entry)
      else verdicts[position] = { _tag: "Lost", handled: verdicts[position]!._tag === "Done", error }
    }
  }
  const outcomes: Array<Outcome> = []
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (!again.has(entry)) outcomes.push(outcome(entry, verdicts[i]!))
  }
  return { outcomes, again }
})
