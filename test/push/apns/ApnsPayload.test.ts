import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ApnsPayload, inferPushType } from "../../../src/push/apns/notification/ApnsPayload.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import type { PushType } from "../../../src/push/apns/notification/PushType.ts"

const decode = Schema.decodeUnknownEffect(ApnsPayload)
const encode = Schema.encodeUnknownEffect(ApnsPayload)

const whole =
  `{"tokens":["00ff","0A0b"],"pushType":"alert","topic":"com.example.app","priority":5,"expiration":1764000000,` +
  `"collapseId":"order-42","payload":{"aps":{"alert":{"title":"Order 42"},"badge":0},"order":{"id":[42]}}}`

describe("ApnsPayload", () => {
  it.effect("encodes and decodes the whole wire form", () =>
    Effect.gen(function*() {
      const { tokens, ...notification } = JSON.parse(whole)
      const read = yield* decode({ ...JSON.parse(whole), later: "ignored" })
      assert.deepStrictEqual(read, { tokens, notification })
      assert.strictEqual(JSON.stringify(yield* encode(read)), whole)
    }))

  it.effect("keeps the origin of pushes that are published again", () =>
    Effect.gen(function*() {
      const wire = { tokens: ["00"], pushType: "alert", payload: { aps: { badge: 1 } } }
      const again: unknown = { ...wire, backqOrigin: { id: "order-42", attempts: 3, publishedAt: 1_764_000_000_000 } }
      const read = yield* decode(again)
      assert.notProperty(read.notification, "origin")
      assert.deepStrictEqual(yield* encode(read), again)
      // what others call so is no business of ours
      assert.notProperty(yield* decode({ ...wire, origin: "web" }), "origin")
    }))

  it.effect("keeps unknown keys of aps", () =>
    Effect.gen(function*() {
      const payload = { aps: { badge: 1, alert: { body: "a", "new-a": [1] }, "new-b": { c: null } }, d: 1 }
      const read = yield* decode({ tokens: ["00"], payload })
      assert.deepStrictEqual(read.notification.payload, payload)
    }))

  it.effect("accepts a wrong token beside others", () =>
    Effect.gen(function*() {
      const read = yield* decode({ tokens: ["00ff", "", "no token"], payload: { aps: { badge: 1 } } })
      assert.deepStrictEqual(read.tokens, ["00ff", "", "no token"])
    }))

  it.each<readonly [Notification.Notification["payload"], PushType | undefined]>([
    [{ aps: { alert: "a" } }, "alert"],
    [{ aps: { badge: 0 } }, "alert"],
    [{ aps: { sound: "a", "content-available": 1 } }, "alert"],
    [{ aps: { "content-available": 1 }, a: 1 }, "background"],
    [{ aps: { "content-available": 1, category: "a" } }, undefined],
    [{ aps: { event: "update", alert: { title: "a" } } }, undefined],
    [{ aps: { "content-changed": true, alert: "a" } }, undefined],
    [{ aps: {} }, undefined],
    [{ mdm: "a" }, undefined],
    [{}, undefined]
  ])("infers from %j: %s", (payload, pushType) => {
    assert.strictEqual(inferPushType(payload), pushType)
  })

  it.each<readonly [string, object, RegExp]>([
    ["no tokens", { payload: { aps: { badge: 1 } } }, /at \["tokens"\]/],
    ["an empty list of tokens", { tokens: [], payload: { aps: { badge: 1 } } }, /at \["tokens"\]/],
    ["no payload", { tokens: ["00"] }, /at \["payload"\]/],
    ["an unknown push type", { tokens: ["00"], payload: { aps: {} } }, /push type.*\n.*at \["pushType"\]/],
    ["expiration in words", { tokens: ["00"], payload: { aps: { badge: 1 } }, expiration: "1" }, /at \["expiration"\]/],
    [
      "a notification that breaks a rule",
      { tokens: ["00"], payload: { aps: { "content-available": 1 } }, priority: 10 },
      /priority: must be 5 for background, not 10/
    ],
    [
      "a notification that is too large",
      { tokens: ["00"], payload: { aps: { alert: "a".repeat(4096) } } },
      /at most 4096 bytes/
    ]
  ])("refuses %s", (_, wire, message) =>
    Effect.runPromise(Effect.gen(function*() {
      const error = yield* Effect.flip(decode(wire))
      assert.match(error.message, message)
    })))

  it.effect("refuses to publish a push that Apple would refuse", () =>
    Effect.gen(function*() {
      const notification = Notification.alert({ body: "a", expiration: -1 })
      const error = yield* Effect.flip(encode({ tokens: ["00"], notification }))
      assert.match(error.message, /expiration: must be whole seconds/)
    }))

  it.effect.prop(
    "decodes to the encoded value",
    {
      tokens: Schema.NonEmptyArray(Schema.String),
      badge: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
      priority: Schema.Literals([1, 5, 10]),
      expiration: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4e9 }))
    },
    ({ badge, expiration, priority, tokens }) =>
      Effect.gen(function*() {
        const payload = { tokens, notification: Notification.alert({ badge, priority, expiration, collapseId: "a" }) }
        const json = JSON.stringify(yield* encode(payload))
        assert.deepEqual(yield* decode(JSON.parse(json)), payload)
      })
  )
})
