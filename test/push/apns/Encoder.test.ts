import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Reason } from "../../../src/push/apns/answer/Reason.ts"
import * as DeviceToken from "../../../src/push/apns/notification/DeviceToken.ts"
import { check, encode, encodeBroadcast, isExpired } from "../../../src/push/apns/notification/Encoder.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as PushType from "../../../src/push/apns/notification/PushType.ts"

type Anything = Record<string, unknown>

/** A notification as a program without types would write it. */
const untyped = (notification: Anything): Notification.Notification => notification as never

const topic = "com.example.app"

const alert = (aps: Anything, others?: Anything) => untyped({ pushType: "alert", payload: { aps }, ...others })

const activity = (aps: Anything) =>
  untyped({
    pushType: "liveactivity",
    payload: { aps: { timestamp: 1, event: "update", "content-state": {}, ...aps } }
  })

const start = (aps: Anything) =>
  activity({ event: "start", "attributes-type": "A", attributes: {}, alert: { title: "a" }, ...aps })

/** Whether a parsed JSON text can be written in UTF-8. */
const isUtf8 = (json: string): boolean => {
  const wellFormed = (value: unknown): boolean =>
    typeof value === "string"
      ? !/\p{Cs}/u.test(value)
      : typeof value !== "object" || value === null || Object.entries(value).flat().every(wellFormed)
  return wellFormed(JSON.parse(json))
}

const { location, liveActivityUpdate: update } = Notification

const refused: ReadonlyArray<readonly [string, Notification.Notification, string, Reason | undefined]> = [
  ["no topic", alert({ alert: "a" }), "topic", "MissingTopic"],
  ["an empty topic", alert({ alert: "a" }, { topic: "" }), "topic", "BadTopic"],
  ["a topic with a space", alert({ alert: "a" }, { topic: "com. example" }), "topic", "BadTopic"],
  ["a topic with a line break", alert({ alert: "a" }, { topic: "com\r\nx: y" }), "topic", "BadTopic"],
  ["a topic with two dots", alert({ alert: "a" }, { topic: ".com..x" }), "topic", "BadTopic"],
  ["the topic of another kind", alert({ alert: "a" }, { topic: `${topic}.push-type.widgets` }), "topic", "BadTopic"],
  ["an unknown push type", alert({ alert: "a" }, { pushType: "Alert" }), "pushType", "InvalidPushType"],
  ["no push type", untyped({ payload: { aps: { alert: "a" } } }), "pushType", "InvalidPushType"],
  ["an unknown priority", alert({ alert: "a" }, { priority: 7 }), "priority", "BadPriority"],
  ["background at 10", Notification.background({ priority: 10 }), "priority", "BadPriority"],
  ["background at 1", Notification.background({ priority: 1 }), "priority", "BadPriority"],
  ["location at 1", location({ priority: 1 }), "priority", "BadPriority"],
  ["liveactivity at 1", update({ timestamp: 1, contentState: {}, priority: 1 }), "priority", "BadPriority"],
  ["expiration in milliseconds", location({ expiration: 1732000000000 }), "expiration", "BadExpirationDate"],
  ["a negative expiration", location({ expiration: -1 }), "expiration", "BadExpirationDate"],
  ["expiration after the year 2286", location({ expiration: 20_000_000_000 }), "expiration", "BadExpirationDate"],
  ["half a second", location({ expiration: 0.5 }), "expiration", "BadExpirationDate"],
  ["expiration NaN", location({ expiration: NaN }), "expiration", "BadExpirationDate"],
  ["an empty collapse id", location({ collapseId: "" }), "collapseId", "BadCollapseId"],
  ["a collapse id of 65 bytes", location({ collapseId: "a".repeat(65) }), "collapseId", "BadCollapseId"],
  ["a collapse id of 66 bytes", location({ collapseId: "é".repeat(33) }), "collapseId", "BadCollapseId"],
  ["a line break in the collapse id", location({ collapseId: "a\nb" }), "collapseId", "BadCollapseId"],
  ["a space after the collapse id", location({ collapseId: "a " }), "collapseId", "BadCollapseId"],
  ["half a character in the collapse id", location({ collapseId: "\ud800" }), "collapseId", "BadCollapseId"],
  ["no payload", untyped({ pushType: "alert" }), "payload", undefined],
  ["an empty payload", untyped({ pushType: "alert", payload: {} }), "payload", "PayloadEmpty"],
  ["aps of another type", untyped({ pushType: "alert", payload: { aps: "a" } }), "payload.aps", undefined],
  ["a badge in words", alert({ badge: "1" }), "payload.aps.badge", undefined],
  ["a negative badge", alert({ badge: -1 }), "payload.aps.badge", undefined],
  ["half a badge", alert({ badge: 0.5 }), "payload.aps.badge", undefined],
  [
    "content-available: 2",
    alert({ badge: 1, "content-available": 2 }),
    "payload.aps.content-available",
    undefined
  ],
  [
    "a level that is unknown",
    alert({ alert: "a", "interruption-level": "loud" }),
    "payload.aps.interruption-level",
    undefined
  ],
  ["another spelling in aps", alert({ alert: "a", threadId: "a" }), "payload.aps.threadId", undefined],
  ["another spelling in alert", alert({ alert: { title: "a", loc_key: "a" } }), "payload.aps.alert.loc_key", undefined],
  ["NaN", untyped({ pushType: "voip", payload: { a: [NaN] } }), "payload.a", undefined],
  ["undefined", untyped({ pushType: "voip", payload: { a: undefined } }), "payload.a", undefined],
  ["a Date", untyped({ pushType: "voip", payload: { a: { b: new Date(0) } } }), "payload.a", undefined],
  ["a big integer", untyped({ pushType: "voip", payload: { a: 1n } }), "payload.a", undefined],
  ["half a character", alert({ alert: "\\\\\ud83d" }), "payload", undefined],
  ["an alert that shows nothing", alert({ category: "a" }), "payload.aps", undefined],
  ["an alert without aps", untyped({ pushType: "alert", payload: { a: 1 } }), "payload.aps", undefined],
  ["a relevance over 1", alert({ alert: "a", "relevance-score": 2 }), "payload.aps.relevance-score", undefined],
  ["mutable without an alert", alert({ badge: 1, "mutable-content": 1 }), "payload.aps.mutable-content", undefined],
  ["an object as title", alert({ alert: { title: { "loc-key": "a" } } }), "payload.aps.alert.title", undefined],
  ["an object as body", alert({ alert: { body: { "loc-key": "a" } } }), "payload.aps.alert.body", undefined],
  ["the sound within the alert", alert({ alert: { body: "a", sound: "a" } }), "payload.aps.alert.sound", undefined],
  ["content-state in an alert", alert({ alert: "a", "content-state": {} }), "payload.aps.content-state", undefined],
  [
    "content-changed in an alert",
    alert({ alert: "a", "content-changed": true }),
    "payload.aps.content-changed",
    undefined
  ],
  [
    "background with a sound",
    alert({ "content-available": 1, sound: "" }, { pushType: "background" }),
    "payload.aps.sound",
    undefined
  ],
  [
    "background that says no to it",
    alert({ "content-available": 0 }, { pushType: "background" }),
    "payload.aps.content-available",
    undefined
  ],
  ["background without it", alert({}, { pushType: "background" }), "payload.aps.content-available", undefined],
  ["widgets without it", alert({}, { pushType: "widgets" }), "payload.aps.content-changed", undefined],
  [
    "controls with false",
    alert({ "content-changed": false }, { pushType: "controls" }),
    "payload.aps.content-changed",
    undefined
  ],
  ["mdm without PushMagic", alert({}, { pushType: "mdm" }), "payload.mdm", undefined],
  ["mdm with aps", untyped({ pushType: "mdm", payload: { mdm: "a", aps: {} } }), "payload.aps", undefined],
  ["no container", alert({}, { pushType: "fileprovider" }), "payload.container-identifier", undefined],
  [
    "a domain that is a number",
    untyped({ pushType: "fileprovider", payload: { "container-identifier": "a", domain: 1 } }),
    "payload.domain",
    undefined
  ],
  ["no event", alert({ timestamp: 1 }, { pushType: "liveactivity" }), "payload.aps.event", undefined],
  ["an unknown event", activity({ event: "stop" }), "payload.aps.event", undefined],
  [
    "no timestamp",
    alert({ event: "update", "content-state": {} }, { pushType: "liveactivity" }),
    "payload.aps.timestamp",
    undefined
  ],
  [
    "no state",
    alert({ event: "update", timestamp: 1 }, { pushType: "liveactivity" }),
    "payload.aps.content-state",
    undefined
  ],
  ["a start without its type", activity({ event: "start" }), "payload.aps.attributes-type", undefined],
  [
    "a start without attributes",
    activity({ event: "start", "attributes-type": "A" }),
    "payload.aps.attributes",
    undefined
  ],
  [
    "a start without an alert",
    activity({ event: "start", "attributes-type": "A", attributes: {} }),
    "payload.aps.alert",
    undefined
  ],
  ["a state that is a list", activity({ "content-state": [] }), "payload.aps.content-state", undefined],
  ["a timestamp in milliseconds", activity({ timestamp: 1732000000000 }), "payload.aps.timestamp", undefined],
  ["stale-date in milliseconds", activity({ "stale-date": 1732000000000 }), "payload.aps.stale-date", undefined],
  ["dismissal in milliseconds", activity({ "dismissal-date": 1732000000000 }), "payload.aps.dismissal-date", undefined],
  ["a token for an update", activity({ "input-push-token": 1 }), "payload.aps.input-push-token", undefined],
  ["a channel for an update", activity({ "input-push-channel": "YQ==" }), "payload.aps.input-push-channel", undefined],
  ["a channel in clear", start({ "input-push-channel": "a b" }), "payload.aps.input-push-channel", undefined],
  ["an empty channel", start({ "input-push-channel": "" }), "payload.aps.input-push-channel", undefined],
  [
    "channel and token",
    start({ "input-push-channel": "YQ==", "input-push-token": 1 }),
    "payload.aps.input-push-channel",
    undefined
  ]
]

const accepted: ReadonlyArray<readonly [string, Notification.Notification]> = [
  ["a key of aps that is not known yet", alert({ alert: "a", "new-in-any-year": { a: 1 } })],
  ["a key of an alert that is not known yet", alert({ alert: { "summary-arg": "a", "summary-arg-count": 1 } })],
  [
    "keys of the app under names of aps",
    alert({ badge: 0 }, { payload: { aps: { badge: 0 }, threadId: 1, event: 1 } })
  ],
  ["a text with a written escape", alert({ alert: "\\ud83d" })],
  ["an alert at 1", alert({ alert: "a" }, { priority: 1 })],
  ["a sound alone", alert({ sound: "default" })],
  ["a collapse id of 64 bytes", alert({ badge: 1 }, { collapseId: "é".repeat(32) })],
  ["an app whose bundle id ends like a push type", alert({ badge: 1 }, { topic: "com.example.voip" })],
  ["a website", alert({ alert: { title: "a", body: "a", action: "a" }, "url-args": [] }, { topic: "web.com.example" })],
  ["a relevance over 1 of a Live Activity", activity({ "relevance-score": 100 })],
  ["a start on a channel", start({ "input-push-channel": "YWI=" })],
  ["fileprovider without a domain", untyped({ pushType: "fileprovider", payload: { "container-identifier": "a" } })]
]

const failure = (notification: Notification.Notification, defaults?: { readonly topic: string }) => {
  const result = encode(notification, defaults)
  assert.isTrue(Result.isFailure(result))
  return Result.getOrThrow(Result.flip(result))
}

describe("encode", () => {
  it.each(refused)("refuses %s", (_, notification, field, apple) => {
    const error = failure(notification, field === "topic" ? undefined : { topic })
    assert.strictEqual(error.action, "FixNotification")
    assert.deepInclude({ ...error.reason }, { _tag: "InvalidNotification", field, apple })
    assert.include(error.message, field)
    if (apple !== undefined) assert.include(error.message, `(APNs would answer ${apple})`)
  })

  it("has a test for every reason that a notification can cause", () => {
    const tested = new Set(refused.map(([, , , apple]) => apple))
    for (
      const reason of [
        "BadCollapseId",
        "BadExpirationDate",
        "BadPriority",
        "BadTopic",
        "InvalidPushType",
        "MissingTopic",
        "PayloadEmpty"
      ] as const
    ) assert.isTrue(tested.has(reason), reason)
  })

  it.each(accepted)("accepts %s and sends it unchanged", (_, notification) => {
    const { body } = Result.getOrThrow(encode(notification, { topic }))
    assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(body)), notification.payload)
    assert.isUndefined(check(notification))
  })

  it.each(PushType.PushType.literals)("adds the suffix of %s once", (pushType) => {
    const { suffix } = PushType.table[pushType]
    assert.strictEqual(PushType.topic(pushType, topic), topic + suffix)
    assert.strictEqual(PushType.topic(pushType, topic + suffix), topic + suffix)
  })

  it.each<Anything>([
    { alert: "a", "content-available": 0 },
    { alert: "a", "content-available": true, "mutable-content": false },
    { alert: "a", "mutable-content": 0 },
    { badge: 1, "mutable-content": 0 },
    { "content-available": 1 },
    { alert: { "loc-key": "k", "loc-args": [1, "a", 0.5], "title-loc-args": [1] } }
  ])("sends flags as other languages write them: %j", (aps) => {
    const { body } = Result.getOrThrow(encode(alert(aps), { topic }))
    assert.strictEqual(new TextDecoder().decode(body), JSON.stringify({ aps }))
  })

  it("accepts true as content-available of a background push", () => {
    assert.isTrue(Result.isSuccess(encode(alert({ "content-available": true }, { pushType: "background" }), { topic })))
  })

  it("prefers the notification's topic", () => {
    const of = (notification: Notification.Notification) =>
      Result.getOrThrow(encode(notification, { topic })).headers.find(([name]) => name === "apns-topic")?.[1]
    assert.strictEqual(of(Notification.voip()), "com.example.app.voip")
    assert.strictEqual(of(Notification.voip({ topic: "com.example.b" })), "com.example.b.voip")
  })

  it.each<Anything>([
    { priority: "s3cret" },
    { topic: "s3cret s3cret" },
    { collapseId: "s3cret".repeat(11) },
    { payload: { aps: { badge: "s3cret" } } },
    { payload: { aps: { alert: ["s3cret"] } } },
    { payload: { aps: { badge: 0 }, a: ["s3cret", undefined] } },
    { payload: { aps: { alert: "s3cret\ud800" } } },
    { payload: { aps: { alert: "s3cret".repeat(1000) } } }
  ])("shows no value in its message: %j", (part) => {
    assert.notInclude(failure(alert({ alert: "a" }, { topic, ...part })).message, "s3cret")
  })

  /** A payload of an exact number of bytes; the text has two bytes for each character, except perhaps the last. */
  const sized = (pushType: PushType.PushType, size: number): Notification.Notification => {
    const empty = { pushType, payload: { ...minimal[pushType], a: "" } }
    const room = size - JSON.stringify(empty.payload).length
    return { ...empty, payload: { ...empty.payload, a: "é".repeat(room >> 1) + "a".repeat(room & 1) } }
  }

  const minimal: Record<PushType.PushType, Notification.Notification["payload"]> = {
    alert: { aps: { badge: 0 } },
    background: { aps: { "content-available": 1 } },
    voip: {},
    complication: {},
    fileprovider: { "container-identifier": "a" },
    mdm: { mdm: "a" },
    location: {},
    liveactivity: { aps: { event: "end", timestamp: 1 } },
    pushtotalk: {},
    widgets: { aps: { "content-changed": true } },
    controls: { aps: { "content-changed": true } }
  }

  const limits = PushType.PushType.literals.map((pushType) => [pushType, pushType === "voip" ? 5120 : 4096] as const)

  it.each(limits.filter(([pushType]) => pushType !== "mdm"))(
    "accepts a payload of %s up to %d bytes",
    (pushType, limit) => {
      const largest = Result.getOrThrow(encode(sized(pushType, limit), { topic }))
      assert.strictEqual(largest.body.byteLength, limit)
      assert.deepInclude({ ...failure(sized(pushType, limit + 1), { topic }).reason }, {
        field: "payload",
        apple: "PayloadTooLarge"
      })
    }
  )

  it("accepts mdm up to 4096 bytes", () => {
    const of = (size: number) => Notification.mdm({ topic, pushMagic: "a".repeat(size - `{"mdm":""}`.length) })
    assert.isTrue(Result.isSuccess(encode(of(4096))))
    assert.deepInclude({ ...failure(of(4097)).reason }, { apple: "PayloadTooLarge" })
  })

  it.prop(
    "sends any JSON beside aps unchanged or refuses it",
    [Schema.Record(Schema.String, Schema.Json)],
    ([data]) => {
      const notification = Notification.alert({ topic, badge: 0, data })
      const json = JSON.stringify(notification.payload)
      const result = encode(notification)
      assert.strictEqual(Result.isSuccess(result), !("aps" in data) && isUtf8(json) && Buffer.byteLength(json) <= 4096)
      if (Result.isSuccess(result)) assert.strictEqual(new TextDecoder().decode(result.success.body), json)
    }
  )
})

describe("encodeBroadcast", () => {
  const broadcast = update({ topic, timestamp: 1, contentState: {} })

  it("always has priority and expiration, and no topic", () => {
    const { body, headers } = Result.getOrThrow(encodeBroadcast(broadcast))
    assert.deepStrictEqual(headers, [
      ["apns-push-type", "liveactivity"],
      ["apns-priority", "10"],
      ["apns-expiration", "0"]
    ])
    assert.strictEqual(new TextDecoder().decode(body), `{"aps":{"timestamp":1,"event":"update","content-state":{}}}`)
    const rare = Result.getOrThrow(encodeBroadcast({ ...broadcast, priority: 1, expiration: 7 }, { stored: true }))
    assert.deepStrictEqual(rare.headers.slice(1), [["apns-priority", "1"], ["apns-expiration", "7"]])
  })

  it.each<readonly [string, Notification.Notification, { readonly stored?: boolean }, string, Reason | undefined]>([
    ["another push type", Notification.alert({ body: "a" }), {}, "pushType", "InvalidPushType"],
    ["a start", start({}), {}, "payload.aps.event", undefined],
    ["a collapse id", { ...broadcast, collapseId: "a" }, {}, "collapseId", undefined],
    ["an unknown priority", untyped({ ...broadcast, priority: 2 }), {}, "priority", "BadPriority"],
    [
      "a later expiration where nothing is stored",
      { ...broadcast, expiration: 7 },
      { stored: false },
      "expiration",
      "BadExpirationDate"
    ]
  ])("refuses %s", (_, notification, options, field, apple) => {
    const error = Result.getOrThrow(Result.flip(encodeBroadcast(notification, options)))
    assert.deepInclude({ ...error.reason }, { _tag: "InvalidNotification", field, apple })
  })

  it("accepts a payload of up to 5120 bytes", () => {
    const of = (length: number) => update({ timestamp: 1, contentState: { a: "a".repeat(length) } })
    const room = 5120 - JSON.stringify(of(0).payload).length
    assert.strictEqual(Result.getOrThrow(encodeBroadcast(of(room))).body.byteLength, 5120)
    assert.isTrue(Result.isFailure(encodeBroadcast(of(room + 1))))
  })
})

describe("isExpired", () => {
  it.each<readonly [number | undefined, number, boolean]>([
    [undefined, 1e15, false],
    [0, 1e15, false],
    [10, 9_999, false],
    [10, 10_000, true]
  ])("%s at %d ms: %s", (expiration, now, expired) => assert.strictEqual(isExpired(expiration, now), expired))
})

describe("DeviceToken", () => {
  it.each(["00ff", "0A".repeat(32), "ab".repeat(80)])("takes %s", (token) => {
    assert.isUndefined(DeviceToken.check(token))
    assert.strictEqual(DeviceToken.path(token), `/3/device/${token}`)
  })

  it.each<readonly [string, Reason]>([
    ["", "MissingDeviceToken"],
    ["abc", "BadDeviceToken"],
    ["<00ff>", "BadDeviceToken"],
    ["00 ff", "BadDeviceToken"],
    ["00ff\n", "BadDeviceToken"],
    ["../../1/apps", "BadDeviceToken"]
  ])("refuses %j", (token, reason) => {
    const wrong = DeviceToken.check(token)
    assert.strictEqual(wrong?.action, "CheckToken")
    assert.strictEqual(wrong?.reason, reason)
  })
})
