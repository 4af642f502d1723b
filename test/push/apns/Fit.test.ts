import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { broadcastLimit, encode, encodeBroadcast } from "../../../src/push/apns/notification/Encoder.ts"
import { fit } from "../../../src/push/apns/notification/Fit.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"

const size = (notification: Notification.Notification) => Buffer.byteLength(JSON.stringify(notification.payload))

const bodyOf = ({ payload: { aps } }: Notification.Notification) =>
  typeof aps?.alert === "object" ? aps.alert.body : aps?.alert

const graphemes = (text: string): ReadonlyArray<string> =>
  Array.from(new Intl.Segmenter("en", { granularity: "grapheme" }).segment(text), ({ segment }) => segment)

const body = (text: string, data = {}) => Notification.alert({ topic: "com.example.app", body: text, data })

const fitted = (notification: Notification.Notification) => Result.getOrThrow(fit(notification))

describe("fit", () => {
  it("returns a notification that fits unchanged, to the byte", () => {
    const full = body("a".repeat(4096 - size(body(""))))
    assert.strictEqual(size(full), 4096)
    assert.strictEqual(fitted(full), full)
    assert.strictEqual(fitted(Notification.background()).pushType, "background")
  })

  it("cuts no more than necessary", () => {
    const short = fitted(body("a".repeat(5000)))
    assert.strictEqual(size(short), 4096)
    assert.strictEqual(bodyOf(short), `${"a".repeat(4096 - size(body("")) - 3)}…`)
    assert.isTrue(Result.isSuccess(encode(short)))
  })

  it("knows the limit of the push type", () => {
    const long = { ...body("a".repeat(6000)), pushType: "voip" } as const
    assert.strictEqual(size(fitted(long)), 5120)
  })

  it("allows the larger limit of a broadcast", () => {
    const score = (text: string) =>
      Notification.liveActivityUpdate({ timestamp: 1, contentState: {}, alert: { title: "Goal", body: text } })
    const full = score("a".repeat(broadcastLimit - size(score(""))))
    assert.strictEqual(Result.getOrThrow(fit(full, { limit: broadcastLimit })), full)
    assert.isTrue(Result.isSuccess(encodeBroadcast(full)))
    assert.strictEqual(size(Result.getOrThrow(fit(score("a".repeat(6000)), { limit: broadcastLimit }))), 5120)
    assert.strictEqual(size(fitted(full)), 4096)
  })

  it("keeps everything else, and the form of the alert", () => {
    const long = "a".repeat(5000)
    const short = fitted({
      pushType: "alert",
      collapseId: "a",
      payload: { aps: { alert: { title: "T", body: long }, badge: 0 }, more: [1] }
    })
    assert.strictEqual(short.collapseId, "a")
    assert.deepStrictEqual(short.payload, {
      aps: { alert: { title: "T", body: bodyOf(short)! }, badge: 0 },
      more: [1]
    })
    assert.isString(fitted({ pushType: "alert", payload: { aps: { alert: long } } }).payload.aps?.alert)
  })

  it.each<readonly [string, Notification.Notification]>([
    ["there is no body", Notification.alert({ title: "a".repeat(5000) })],
    ["the rest is too much", body("Hello", { a: "a".repeat(4096) })],
    ["the rest leaves no room for an ellipsis", body("Hello", { a: "a".repeat(4096 - size(body("", { a: "" })) - 2) })],
    ["the body is looked up", Notification.alert({ locKey: "B", locArgs: ["a".repeat(5000)] })]
  ])("fails where %s", (_, notification) => {
    const { reason } = Result.getOrThrow(Result.flip(fit(notification)))
    assert.deepInclude({ ...reason }, { _tag: "InvalidNotification", field: "payload", apple: "PayloadTooLarge" })
  })

  it("keeps only an ellipsis if there is no room for more", () => {
    const short = fitted(body("Hello", { a: "a".repeat(4096 - size(body("", { a: "" })) - 3) }))
    assert.strictEqual(bodyOf(short), "…")
    assert.strictEqual(size(short), 4096)
  })

  const pieces = ["a", "é", "e\u0301", "\"", "\\", "\n", "\u0001", "漢", "👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "நி", "\r\n", " "]

  it.prop(
    "is never over the limit and never cuts a grapheme",
    {
      text: Schema.Array(Schema.Literals(pieces)).check(Schema.isMinLength(1)),
      other: Schema.String,
      room: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 120 }))
    },
    ({ other, room, text }) => {
      // The rest of the payload leaves `room` bytes for the body, whatever the body is.
      const whole = (text.join("") + other).repeat(1 + Math.ceil(120 / text.length))
      const filler = "a".repeat(4096 - size(body("", { a: "" })) - room)
      const result = fit(body(whole, { a: filler }))
      if (Result.isFailure(result)) return assert.isBelow(room, 3)
      assert.isAtMost(size(result.success), 4096)
      const kept = String(bodyOf(result.success))
      if (kept === whole) return
      assert.isTrue(kept.endsWith("…"))
      const all = graphemes(whole)
      const count = graphemes(kept.slice(0, -1)).length
      assert.strictEqual(kept, `${all.slice(0, count).join("")}…`)
      assert.isAbove(size(body(`${all.slice(0, count + 1).join("")}…`, { a: filler })), 4096)
    }
  )
})
