import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { Action, classify, isReason, parseBody, table } from "../../../src/push/apns/answer/Reason.ts"

/** Apple's lists, reason by reason, with the status and the action that its pages give. */
const apple: ReadonlyArray<readonly [number, string, Action]> = [
  [400, "BadCollapseId", "FixNotification"],
  [400, "BadDeviceToken", "CheckToken"],
  [400, "BadExpirationDate", "FixNotification"],
  [400, "BadMessageId", "FixNotification"],
  [400, "BadPriority", "FixNotification"],
  [400, "BadTopic", "FixNotification"],
  [400, "DeviceTokenNotForTopic", "CheckToken"],
  [400, "DuplicateHeaders", "ReportBug"],
  [400, "IdleTimeout", "Reconnect"],
  [400, "InvalidPushType", "FixNotification"],
  [400, "MissingDeviceToken", "FixNotification"],
  [400, "MissingTopic", "FixNotification"],
  [400, "PayloadEmpty", "FixNotification"],
  [400, "TopicDisallowed", "FixConfiguration"],
  [403, "BadCertificate", "FixConfiguration"],
  [403, "BadCertificateEnvironment", "FixConfiguration"],
  [403, "BadEnvironmentKeyIdInToken", "FixConfiguration"],
  [403, "BadEnvironmentKeyInToken", "FixConfiguration"],
  [403, "ExpiredProviderToken", "RenewAuthorization"],
  [403, "Forbidden", "FixConfiguration"],
  [403, "InvalidProviderToken", "FixConfiguration"],
  [403, "MissingProviderToken", "FixConfiguration"],
  [403, "UnrelatedKeyIdInToken", "Reconnect"],
  [404, "BadPath", "ReportBug"],
  [405, "MethodNotAllowed", "ReportBug"],
  [410, "ExpiredToken", "DropToken"],
  [410, "Unregistered", "DropToken"],
  [413, "PayloadTooLarge", "FixNotification"],
  [429, "TooManyProviderTokenUpdates", "RetryLater"],
  [429, "TooManyRequests", "RetryLater"],
  [500, "InternalServerError", "RetryLater"],
  [503, "ServiceUnavailable", "RetryLater"],
  [503, "Shutdown", "RetryLater"],
  [400, "BadChannelId", "FixNotification"],
  [400, "BadRequestParams", "FixNotification"],
  [400, "BadRequestPayload", "FixNotification"],
  [400, "CannotCreateChannelConfig", "FixConfiguration"],
  [400, "ChannelNotRegistered", "DropChannel"],
  [400, "FeatureNotEnabled", "FixConfiguration"],
  [400, "MissingChannelId", "FixNotification"],
  [400, "MissingChannelQueueSize", "FixNotification"],
  [400, "MissingPushType", "FixNotification"],
  [403, "TopicMismatch", "FixConfiguration"]
]

describe("Reason", () => {
  it("has exactly Apple's reasons", () => {
    assert.deepStrictEqual(Object.keys(table).sort(), apple.map(([, reason]) => reason).sort())
  })

  it.each(apple)("%d %s: %s", (status, reason, action) => {
    const answer = classify(status, reason)
    assert.isTrue(isReason(reason) && table[reason].status === status)
    assert.deepInclude(answer, { status, reason, action, known: true, timestamp: undefined })
    assert.match(answer.meaning, /^\w.*[^.]$/)
    assert.match(answer.advice, /^[A-Z].*[^.]$/)
    assert.strictEqual(answer.delay !== undefined, action === "RetryLater")
    if (action === "Reconnect" || action === "RenewAuthorization") assert.isTrue(answer.reconnect)
  })

  it("waits as long as Apple asks", () => {
    for (const reason of ["InternalServerError", "ServiceUnavailable", "Shutdown", undefined]) {
      assert.deepStrictEqual(classify(503, reason).delay, Duration.minutes(15))
    }
  })

  it.each<readonly [number, Action]>([
    [400, "FixNotification"],
    [403, "FixConfiguration"],
    [404, "ReportBug"],
    [405, "ReportBug"],
    [410, "DropToken"],
    [413, "FixNotification"],
    [418, "FixNotification"],
    [429, "RetryLater"],
    [500, "RetryLater"],
    [502, "RetryLater"],
    [599, "RetryLater"],
    [302, "FixConfiguration"],
    [0, "FixConfiguration"],
    [NaN, "FixConfiguration"]
  ])("gives an unknown reason with status %d the action %s", (status, action) => {
    for (const reason of ["NewInAnyYear", "toString", "__proto__", undefined]) {
      assert.deepInclude(classify(status, reason, 7), { reason, known: false, action, timestamp: 7 })
    }
  })

  it("prefers a known reason to its status", () => {
    assert.strictEqual(classify(400, "Unregistered").action, "DropToken")
    assert.strictEqual(classify(410, "TooManyRequests").action, "RetryLater")
  })

  it.prop("classifies every answer", { status: Schema.Int, reason: Schema.String }, ({ reason, status }) => {
    const answer = classify(status, reason)
    assert.isTrue(Schema.is(Action)(answer.action))
    assert.strictEqual(answer.delay !== undefined, answer.action === "RetryLater")
  })

  it.each<readonly [string, string | undefined, number | undefined]>([
    [`{"reason":"Unregistered","timestamp":1732000000123}`, "Unregistered", 1732000000123],
    [`{"reason":"BadDeviceToken"}`, "BadDeviceToken", undefined],
    [`{"reason":"Shutdown","more":[1]}`, "Shutdown", undefined],
    [`{"reason":"A\\nforged log line"}`, undefined, undefined],
    [`{"reason":42,"timestamp":"yesterday"}`, undefined, undefined],
    [`{"reason":null,"timestamp":1e999}`, undefined, undefined],
    ["", undefined, undefined],
    ["null", undefined, undefined],
    ["[]", undefined, undefined],
    ["<html>502 Bad Gateway</html>", undefined, undefined]
  ])("reads the body %s", (body, reason, timestamp) => {
    assert.deepStrictEqual(parseBody(body), { reason, timestamp })
  })

  it.prop("reads every body", [Schema.String], ([text]) => {
    assert.deepStrictEqual(Object.keys(parseBody(text)), ["reason", "timestamp"])
  })
})
