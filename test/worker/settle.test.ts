/** The settlement that the broker gets for a decision, and the outcome that the worker reports: one row per rule. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import type { JobId, Lease, Settlement } from "../../src/Broker.ts"
import * as BrokerError from "../../src/BrokerError.ts"
import type { Outcome } from "../../src/Outcome.ts"
import * as Attempt from "../../src/worker/attempt.ts"
import type { FinalDecision } from "../../src/worker/decision.ts"
import { isNotSettled, outcome, settlementOf } from "../../src/worker/settle.ts"

const lease: Lease = {
  id: "7" as JobId,
  queue: "q",
  body: new Uint8Array(),
  info: { attempt: 2, abandoned: 0, buries: 0, priority: 1024, ttr: Duration.minutes(1) }
}
const decoded = {
  job: "mail",
  id: "an-id",
  publishedAt: undefined,
  expiresAt: undefined,
  traceparent: undefined,
  next: { decision: { _tag: "Requeue" }, job: undefined }
} as const
const attempt = Attempt.make(lease, decoded, 0, () => 5, () => {})

const oops = new Error("oops")
const why = { reason: "it failed", failure: oops, cause: undefined }
const kept = { reason: "it failed", failure: { tag: "Error", message: "oops" } }
const error = BrokerError.consumerClosed("test")
const delay = Duration.seconds(3)

describe("settle", () => {
  const rows: ReadonlyArray<readonly [decision: FinalDecision, settlement: object | undefined, outcome: object]> = [
    [{ _tag: "Done", result: 7 }, { _tag: "Delete" }, { _tag: "Done", result: 7 }],
    [{ _tag: "Discard", reason: "old" }, { _tag: "Delete" }, { _tag: "Discarded", reason: "old" }],
    [{ _tag: "Expire", expiresAt: 9 }, { _tag: "Delete" }, { _tag: "Expired", expiresAt: 9 }],
    [{ _tag: "Retry", delay, ...why }, { _tag: "Release", delay, ...kept }, { _tag: "Retried", delay, ...why }],
    [{ _tag: "Bury", ...why }, { _tag: "Bury", ...kept }, { _tag: "Buried", ...why }],
    [{ _tag: "Requeue" }, { _tag: "Requeue" }, { _tag: "Requeued" }],
    [{ _tag: "LeaseLost", handled: true, error }, undefined, { _tag: "LeaseLost", handled: true, error }]
  ]

  it.each(rows)("$0._tag", (decision, told, reported) => {
    assert.deepStrictEqual(settlementOf(attempt, decision), told && { lease, ...told } as Settlement)
    assert.deepStrictEqual(outcome(attempt, decision), {
      queue: "q",
      jobId: "7",
      job: "mail",
      id: "an-id",
      attempt: 2,
      duration: 0,
      ...reported
    } as Outcome)
  })

  const unavailable = (fate: "NotSent" | "Unknown") =>
    BrokerError.make(new BrokerError.Unavailable({ broker: "test", fate, detail: "it is away" }))
  const refusals: ReadonlyArray<readonly [refusal: string, error: BrokerError.BrokerError, expected: boolean]> = [
    ["no space", BrokerError.make(new BrokerError.OutOfMemory({ broker: "test" })), true],
    ["not sent", unavailable("NotSent"), true],
    ["an unknown result", unavailable("Unknown"), false],
    ["no such job", BrokerError.make(new BrokerError.NotFound({ what: "job", name: "7" })), false]
  ]

  it.each(refusals)("after %s a settlement may be tried again: $2", (_, error, expected) => {
    assert.strictEqual(isNotSettled(error), expected)
  })
})
