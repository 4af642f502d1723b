import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import type { Action } from "../../../src/push/apns/answer/Reason.ts"
import { classify, table } from "../../../src/push/apns/answer/Reason.ts"

const token = "ab12cd34".repeat(8)

const answer = (status: number, reason: string | undefined) =>
  ApnsError.fromAnswer({ status, reason, timestamp: 1732000000123, token, apnsId: "an-id" })

const tags: ReadonlyArray<readonly [string, ReadonlyArray<Action>]> = [
  ["DeadToken", ["DropToken"]],
  ["WrongToken", ["CheckToken"]],
  ["ConfigFault", ["FixConfiguration"]],
  ["TooManyRequests", ["RetryLater"]],
  ["Rejected", ["DropChannel", "FixNotification", "RenewAuthorization", "Reconnect", "RetryLater", "ReportBug"]]
]

describe("ApnsError", () => {
  it.each(Object.entries(table))("%s", (reason, { action, status }) => {
    const error = answer(status, reason)
    assert.strictEqual(error.action, action)
    assert.isTrue(tags.find(([tag]) => tag === error.reason._tag)?.[1].includes(action))
    assert.deepInclude({ ...error.reason }, { status, reason, apnsId: "an-id" })
    assert.include(error.message, `(${status} ${reason}). ${classify(status, reason).advice}`)
    assert.notInclude(error.message, token)
  })

  it("says which token is dead and since when", () => {
    const { reason } = answer(410, "Unregistered")
    assert.deepInclude({ ...reason }, { _tag: "DeadToken", token, timestamp: 1732000000123 })
    assert.strictEqual(
      reason.message,
      "device token ab12cd34... is dead: the device token is no longer active for the topic (410 Unregistered). " +
        "Delete the token, unless the app has registered it again after the timestamp"
    )
  })

  it("distinguishes a throttled token from a provider token that changes too often", () => {
    assert.strictEqual(answer(429, "TooManyRequests").reason._tag, "TooManyRequests")
    assert.strictEqual(answer(429, undefined).reason._tag, "TooManyRequests")
    assert.strictEqual(answer(429, "TooManyProviderTokenUpdates").reason._tag, "Rejected")
  })

  it("has no token for a channel", () => {
    const { reason } = ApnsError.fromAnswer({ status: 410, reason: undefined, timestamp: undefined })
    assert.deepInclude({ ...reason }, { _tag: "Rejected", action: "DropToken" })
  })

  it("waits as long as the answer asks", () => {
    const delay = (status: number, retryAfter?: Duration.Duration) => {
      const { reason } = ApnsError.fromAnswer({ status, reason: undefined, timestamp: undefined, retryAfter })
      return "delay" in reason ? reason.delay : undefined
    }
    assert.deepStrictEqual(delay(500), Duration.minutes(15))
    assert.deepStrictEqual(delay(503, Duration.seconds(7)), Duration.seconds(7))
    assert.deepStrictEqual(delay(429, Duration.seconds(8)), Duration.seconds(8))
    assert.isUndefined(delay(400, Duration.seconds(9)))
  })

  it("says for every failure whether it is safe to send the push again", () => {
    const after = Duration.seconds(5)
    const cases: ReadonlyArray<readonly [ApnsError.ApnsErrorReason, Action, RegExp]> = [
      [
        new ApnsError.InvalidNotification({ field: "collapseId", rule: "over 64 bytes", apple: "BadCollapseId" }),
        "FixNotification",
        /collapseId: over 64 bytes \(APNs would answer BadCollapseId\)$/
      ],
      [new ApnsError.Expired({ expiration: 1732000000 }), "Discard", /was not sent/],
      [new ApnsError.NotSent({ detail: "no connection" }), "Retry", /no connection\. It is safe to send it again$/],
      [new ApnsError.Refused({ detail: "GOAWAY" }), "Retry", /GOAWAY\. It is safe to send it again$/],
      [new ApnsError.Unknown({ detail: "closed" }), "RetryMayDuplicate", /may have been delivered/],
      [new ApnsError.Timeout({ stage: "Queue", after }), "Retry", /not sent within 5s/],
      [new ApnsError.Timeout({ stage: "Answer", after }), "RetryMayDuplicate", /not answered within 5s/],
      [new ApnsError.ConfigFault({ detail: "the key is no P-256 key" }), "FixConfiguration", /the key is no P-256 key$/]
    ]
    for (const [reason, action, message] of cases) {
      const error = ApnsError.make(reason)
      assert.strictEqual(error.action, action)
      assert.match(error.message, message)
    }
  })

  it.effect("survives encoding and decoding", () =>
    Effect.gen(function*() {
      const codec = Schema.toCodecJson(ApnsError.ApnsError)
      for (const [reason, { status }] of Object.entries(table)) {
        const error = answer(status, reason)
        const json = yield* Schema.encodeEffect(codec)(error)
        const read = yield* Schema.decodeEffect(codec)(JSON.parse(JSON.stringify(json)))
        assert.strictEqual(read.message, error.message)
        assert.strictEqual(read.action, error.action)
      }
    }))
})
