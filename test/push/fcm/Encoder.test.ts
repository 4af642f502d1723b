/** Messages, targets, and their encoding: what Google would refuse is refused here, with the field named. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Encoder from "../../../src/push/fcm/message/Encoder.ts"
import { FcmPayload } from "../../../src/push/fcm/message/FcmPayload.ts"
import type { Message } from "../../../src/push/fcm/message/Message.ts"
import * as Target from "../../../src/push/fcm/message/Target.ts"

const problem = (message: unknown): string | undefined => {
  const broken = Encoder.check(message as Message)
  return broken && `${broken.field} ${broken.rule}`
}

const throwing = {
  get data(): never {
    throw new TypeError("no")
  }
}

const refused: ReadonlyArray<readonly [what: string, message: unknown, start: string]> = [
  ["a number in data", { data: { id: 42 } }, "data.id must be a string, since FCM carries only strings"],
  ["an object in android.data", { android: { data: { a: {} } } }, "android.data.a must be a string"],
  ["null in data", { data: { a: null } }, "data.a must be a string"],
  ["a list as data", { data: ["a"] }, "data must be"],
  ["the reserved key from", { data: { from: "a" } }, "data.from must have another name"],
  ["a reserved prefix", { data: { "google.a": "a" } }, "data.google.a must have another name"],
  [
    "another reserved prefix",
    { android: { data: { "gcm.notification.x": "a" } } },
    "android.data.gcm.notification.x must"
  ],
  ["a ttl without its unit", { android: { ttl: "3600" } }, "android.ttl must be seconds with an s"],
  ["a ttl as a number", { android: { ttl: 3600 } }, "android.ttl must be a string"],
  ["a ttl of more than 4 weeks", { android: { ttl: "2419201s" } }, "android.ttl must be seconds"],
  ["a negative ttl", { android: { ttl: "-1s" } }, "android.ttl must be seconds"],
  [
    "a colour by its name",
    { android: { notification: { color: "red" } } },
    "android.notification.color must be a colour"
  ],
  [
    "arguments without their key",
    { android: { notification: { bodyLocArgs: ["a"] } } },
    "android.notification.bodyLocArgs must have its key"
  ],
  [
    "the same with underscores",
    { android: { notification: { title_loc_args: ["a"] } } },
    "android.notification.titleLocArgs must have its key"
  ],
  ["an unknown priority", { android: { priority: "URGENT" } }, "android.priority must be"],
  ["a label with a blank", { fcmOptions: { analyticsLabel: "a b" } }, "fcmOptions.analyticsLabel must have 1 to 50"],
  [
    "a label of 51 characters",
    { apns: { fcm_options: { analytics_label: "a".repeat(51) } } },
    "apns.fcmOptions.analyticsLabel must"
  ],
  [
    "a link without TLS",
    { webpush: { fcmOptions: { link: "http://example.com" } } },
    "webpush.fcmOptions.link must be a URL"
  ],
  [
    "a header that is a number",
    { apns: { headers: { "apns-priority": 5 } } },
    "apns.headers.apns-priority must be a string"
  ],
  ["a light above 1", {
    android: { notification: { lightSettings: { color: { red: 2 }, lightOnDuration: "1s", lightOffDuration: "1s" } } }
  }, "android.notification.lightSettings.color.red must be a number from 0 to 1"],
  [
    "a time that is none",
    { android: { notification: { eventTime: "tomorrow" } } },
    "android.notification.eventTime must be a time"
  ],
  ["a target inside", { token: "a" }, "token must not be in the message"],
  ["half a character", { notification: { title: "\ud800" } }, "message must not have a lone surrogate"],
  ["a big integer", { apns: { payload: { aps: { badge: 1n } } } }, "apns.payload.aps.badge must not be a bigint"],
  ["a getter that throws", throwing, "message must be readable, but a part of it throws TypeError"],
  ["nothing", undefined, "message must be an object"],
  ["a text", "hello", "message must be an object"]
]

const accepted: ReadonlyArray<readonly [what: string, message: Message]> = [
  ["no block", {}],
  ["all blocks", {
    notification: { title: "a", body: "b", image: "https://example.com/a.png" },
    data: { a: "1" },
    android: {
      priority: "high",
      ttl: "3.5s",
      collapseKey: "a",
      notification: {
        color: "#Ff0000",
        bodyLocKey: "k",
        bodyLocArgs: ["a"],
        vibrateTimings: ["0.5s"],
        eventTime: "2026-01-31T09:00:00Z"
      }
    },
    apns: { headers: { "apns-priority": "5" }, payload: { aps: { "content-available": 1 } } },
    webpush: {
      headers: { TTL: "60" },
      notification: { actions: [{ action: "a" }] },
      fcmOptions: { link: "https://a.b" }
    },
    fcmOptions: { analyticsLabel: "a-b_c.d~e%" }
  }],
  ["keys of the future", { android_v2: { remote_notification: { x: 1 } }, android: { somethingNew: [1] } }],
  ["the longest ttl", { android: { ttl: "2419200s" } }],
  ["a ttl of 0", { android: { ttl: "0s" } }],
  ["data whose keys begin with google", { data: { googlemail: "a", fromage: "b" } }]
]

describe("a message", () => {
  it.each(refused)("is refused with %s", (_, message, start) => {
    const found = problem(message)
    assert.isTrue(found?.startsWith(start), `${found} should begin with ${start}`)
  })

  it.each(accepted)("may have %s", (_, message) => assert.isUndefined(problem(message)))

  it("is encoded once, and its target is put in front of it", () => {
    const message: Message = { data: { a: "é" }, android: { collapse_key: "k", ttl: "60s" } }
    const encoded = Result.getOrThrow(Encoder.encode(message))
    const read = (target: Target.Target, isDryRun?: boolean) =>
      JSON.parse(Buffer.from(Encoder.bodyOf(encoded, target, isDryRun)).toString())
    const rest = { data: { a: "é" }, android: { collapseKey: "k", ttl: "60s" } }
    assert.deepStrictEqual(read(Target.token("a:b-C_1")), { message: { token: "a:b-C_1", ...rest } })
    assert.deepStrictEqual(read(Target.fid("f\"\\é")), { message: { fid: "f\"\\é", ...rest } })
    assert.deepStrictEqual(read(Target.topic("/topics/news"), true), {
      validate_only: true,
      message: { topic: "news", ...rest }
    })
    const condition = "'a' in topics && !('b' in topics)"
    assert.deepStrictEqual(read(Target.condition(condition)), { message: { condition, ...rest } })
    const empty = Result.getOrThrow(Encoder.encode({}))
    assert.strictEqual(Buffer.from(Encoder.bodyOf(empty, Target.token("t"))).toString(), `{"message":{"token":"t"}}`)
  })

  it("gets a warning if Google will probably call it too large", () => {
    const sized = (bytes: number) => Result.getOrThrow(Encoder.encode({ data: { a: "x".repeat(bytes - 1) } }))
    assert.isUndefined(Encoder.sizeWarning(sized(4096), Target.token("t")))
    assert.match(Encoder.sizeWarning(sized(4097), Target.token("t"))!, /4097 bytes.*at most 4096 to a device/)
    assert.isUndefined(Encoder.sizeWarning(sized(2048), Target.topic("t")))
    assert.match(Encoder.sizeWarning(sized(2049), Target.topic("t"))!, /at most 2048 to a topic/)
  })
})

describe("a target", () => {
  it.each([
    "'a' in topics",
    "'a' in topics && ('b' in topics || 'c' in topics)",
    "!('a' in topics)",
    "('a' in topics)",
    "'a' in topics&&'b' in topics"
  ])("may be the condition %s", (condition) => assert.isUndefined(Target.check(Target.condition(condition))))

  it.each([
    "",
    "'a'",
    "'a' in topics &&",
    "('a' in topics",
    "'a' in topics)",
    "'a' in topics 'b' in topics",
    "'a b' in topics",
    "a in topics",
    "'a' in topics & 'b' in topics",
    Array.from("abcdef", (name) => `'${name}' in topics`).join(" || ")
  ])(
    "is not the condition %j",
    (condition) => assert.strictEqual(Target.check(Target.condition(condition))?.field, "condition")
  )

  it.each(["a b", "", "/topics/a/b", "é", "a/b"])(
    "is not the topic %j",
    (topic) => assert.strictEqual(Target.check(Target.topic(topic))?.field, "topic")
  )

  it.each([null, undefined, 7, {}, { _tag: "Device" }])(
    "is not %j",
    (target) => assert.strictEqual(Target.check(target as never)?.field, "target")
  )

  it.each(["", "a b", "a\n", "é", 7, null, "a".repeat(4097)])(
    "is not the token %j",
    (token) => assert.strictEqual(Target.check(Target.token(token as string))?.field, "token")
  )
})

describe("the payload of a job", () => {
  const decode = Schema.decodeUnknownResult(FcmPayload)
  const encode = Schema.encodeUnknownResult(FcmPayload)

  it("is read and written in the documented form", () => {
    const forms = [
      { tokens: ["a", "b"], message: { data: { a: "1" } } },
      { fids: ["a"], project: "p-1", message: {} },
      { topic: "news", message: {} },
      { condition: "'a' in topics", message: {} }
    ]
    for (const form of forms) {
      const decoded = Result.getOrThrow(decode(form))
      assert.deepStrictEqual(Result.getOrThrow(encode(decoded)) as unknown, form)
    }
  })

  it("reads Google's names with underscores", () => {
    const decoded = Result.getOrThrow(
      decode({ tokens: ["a"], message: { android: { collapse_key: "k" }, data: { a_b: "c" } } })
    )
    assert.deepStrictEqual(decoded.message, { android: { collapseKey: "k" }, data: { a_b: "c" } })
  })

  it.each([
    [{ tokens: ["a"], topic: "news", message: {} }, /exactly one/],
    [{ message: {} }, /exactly one/],
    [{ tokens: [], message: {} }, /tokens/],
    [{ tokens: ["a"], message: { data: { a: 1 } } }, /data\.a must be a string/],
    [{ tokens: ["a"], message: { token: "b" } }, /token must not be in the message/],
    [{ tokens: ["a"] }, /message/]
  ])("is refused: %j", (payload, expected) => {
    const result = decode(payload)
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.match(result.failure.message, expected)
  })
})
