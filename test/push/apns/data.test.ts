/** What a program puts into a notification: it replaces nothing that is made for it, keeps its digits, and throws nothing. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Broker, putRequest } from "../../../src/Broker.ts"
import * as Job from "../../../src/Job.ts"
import * as Publisher from "../../../src/Publisher.ts"
import type * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import { ApnsPayload } from "../../../src/push/apns/notification/ApnsPayload.ts"
import * as Encoder from "../../../src/push/apns/notification/Encoder.ts"
import { fit } from "../../../src/push/apns/notification/Fit.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import { TestBroker } from "../../../src/testing/index.ts"

const topic = "com.example.app"
const token = "a1".repeat(32)

const failed = (result: Result.Result<unknown, ApnsError.ApnsError>): ApnsError.InvalidNotification => {
  assert.isTrue(Result.isFailure(result))
  const { reason } = Result.getOrThrow(Result.flip(result))
  return reason._tag === "InvalidNotification" ? reason : assert.fail(reason._tag)
}

const text = ({ body }: Encoder.Encoded): string => new TextDecoder().decode(body)

/** Without the types that keep it from being written. */
const untyped = (data: unknown): any => data

const codec = Schema.toCodecJson(ApnsPayload)
const decode = Schema.decodeUnknownResult(codec)
const encodeJob = Schema.encodeUnknownResult(codec)

describe("data of the app", () => {
  const theirs = untyped({ aps: { alert: "theirs", event: "end" }, order: 42 })
  const time = { timestamp: 1 }

  const makers: ReadonlyArray<readonly [string, Notification.Notification]> = [
    ["alert", Notification.alert({ topic, body: "ours", data: theirs })],
    ["background", Notification.background({ topic, data: theirs })],
    ["voip", Notification.voip({ topic, data: theirs })],
    ["pushToTalk", Notification.pushToTalk({ topic, data: theirs })],
    ["complication", Notification.complication({ topic, data: theirs })],
    ["location", Notification.location({ topic, data: theirs })],
    ["widgets", Notification.widgets({ topic, data: theirs })],
    ["controls", Notification.controls({ topic, data: theirs })],
    ["liveActivityUpdate", Notification.liveActivityUpdate({ topic, ...time, contentState: {}, data: theirs })],
    ["liveActivityEnd", Notification.liveActivityEnd({ topic, ...time, data: theirs })],
    ["fileProvider", Notification.fileProvider({ topic, containerIdentifier: "ours", data: theirs })],
    ["data: { aps: undefined }", Notification.alert({ topic, body: "ours", data: untyped({ aps: undefined }) })]
  ]

  it.each(makers)("can't replace the aps of %s: every entry refuses it", (_, notification) => {
    assert.strictEqual(failed(Encoder.encode(notification)).field, "data.aps")
    assert.strictEqual(Encoder.check(notification)?.field, "data.aps")
    assert.notStrictEqual(notification.payload.aps?.["alert"], "theirs")
    assert.match(String(Result.getOrThrow(Result.flip(encodeJob({ tokens: [token], notification })))), /data\.aps/)
  })

  it.effect("is refused on sending, broadcasting and publishing", () =>
    Effect.gen(function*() {
      const notification = Notification.liveActivityUpdate({ topic, ...time, contentState: {}, data: theirs })
      assert.strictEqual(failed(yield* Effect.result(Apns.send(notification, token))).field, "data.aps")
      const apns = yield* Apns.Apns
      assert.strictEqual(failed(yield* Effect.result(apns.broadcast(notification, "YQ=="))).field, "data.aps")
      const [published] = yield* ApnsJob.publish(notification, [token])
      assert.match(Result.getOrThrow(Result.flip(published!)).message, /data\.aps/)
      assert.lengthOf(yield* TestApns.pushes, 0)
    }).pipe(Effect.provide([TestApns.layer(), TestBroker.layer])))

  it.each([
    ["a container", { "container-identifier": "theirs" }, "data.container-identifier"],
    ["a domain", { domain: "theirs" }, "data.domain"]
  ])("can't replace %s of a file provider", (_, data, field) => {
    const given = Notification.fileProvider({ topic, containerIdentifier: "ours", domain: "ours", data })
    assert.strictEqual(failed(Encoder.encode(given)).field, field)
    assert.deepInclude(given.payload, { "container-identifier": "ours", domain: "ours" })
  })

  it("is refused as the domain of a file provider, even if the constructor has none", () => {
    const given = Notification.fileProvider({ topic, containerIdentifier: "ours", data: { domain: "theirs" } })
    assert.strictEqual(failed(Encoder.encode(given)).field, "data.domain")
    assert.notProperty(given.payload, "domain")
    assert.deepStrictEqual(Notification.voip({ topic, data: { domain: "theirs" } }).payload["domain"], "theirs")
  })

  class Order {
    order = 42
  }

  it.each([
    ["a map", new Map([["order", 42]])],
    ["a set", new Set(["order"])],
    ["a list", [{ order: 42 }]],
    ["JSON", `{"order":42}`],
    ["a number", 42],
    ["a date", new Date(0)],
    ["a promise", Promise.resolve({ order: 42 })],
    ["parameters", new URLSearchParams("order=42")],
    ["what has its fields from elsewhere", Object.create({ order: 42 })],
    ["an instance of a class", new Order()]
  ])("must be an object: %s is refused, not lost", (_, value) => {
    for (
      const notification of [
        Notification.alert({ topic, body: "a", data: untyped(value) }),
        Notification.liveActivityEnd({ topic, timestamp: 1, data: untyped(value) })
      ]
    ) {
      assert.strictEqual(failed(Encoder.encode(notification)).field, "data")
      assert.match(
        String(Result.getOrThrow(Result.flip(encodeJob({ tokens: [token], notification })))),
        /data: .*plain/
      )
    }
  })

  it("may be absent", () => {
    for (const value of [undefined, null, {}]) {
      assert.notProperty(Notification.alert({ topic, body: "a", data: untyped(value) }), "data")
    }
  })

  it("goes beside the root keys of a file provider", () => {
    const notification = Notification.fileProvider({ topic, containerIdentifier: "ours", data: { order: 42 } })
    assert.strictEqual(
      text(Result.getOrThrow(Encoder.encode(notification))),
      `{"container-identifier":"ours","order":42}`
    )
  })

  it("is not part of a push to a managed device", () => {
    const notification = Notification.mdm(untyped({ topic, pushMagic: "m", data: { order: 42 } }))
    assert.strictEqual(failed(Encoder.encode(notification)).field, "payload.order")
    const replaced = Notification.mdm(untyped({ topic, pushMagic: "m", data: { mdm: "theirs" } }))
    assert.strictEqual(failed(Encoder.encode(replaced)).field, "data.mdm")
  })

  it("goes into the payload of a notification that is written by hand", () => {
    const notification = untyped({ pushType: "alert", topic, payload: { aps: { alert: "a" } }, data: { order: 42 } })
    assert.strictEqual(failed(Encoder.encode(notification)).field, "data")
  })

  it("is ignored beside the payload of a job, like all unknown keys", () => {
    const job = Result.getOrThrow(decode({ tokens: [token], payload: { aps: { alert: "a" } }, data: { aps: {} } }))
    assert.deepStrictEqual(job.notification, { pushType: "alert", payload: { aps: { alert: "a" } } })
  })

  it("may have the key __proto__", () => {
    const data = JSON.parse(`{"__proto__":{"aps":{"alert":"theirs"}},"a":{"__proto__":1}}`)
    const expected = `{"aps":{"alert":{"body":"a"}},"__proto__":{"aps":{"alert":"theirs"}},"a":{"__proto__":1}}`
    const notification = Notification.alert({ topic, body: "a", data })
    assert.strictEqual(text(Result.getOrThrow(Encoder.encode(notification))), expected)
    const wire = JSON.stringify(Result.getOrThrow(encodeJob({ tokens: [token], notification })))
    const job = Result.getOrThrow(decode(JSON.parse(wire)))
    assert.strictEqual(text(Result.getOrThrow(Encoder.encode(job.notification))), expected)
  })

  it("can't replace the tokens of a job", () => {
    const notification = untyped({
      ...Notification.alert({ topic, body: "a" }),
      tokens: ["ff"],
      backqOrigin: { id: "x", attempts: 1, publishedAt: 1 }
    })
    const wire = Result.getOrThrow(encodeJob({ tokens: [token], notification }))
    assert.deepStrictEqual((wire as any).tokens, [token])
    assert.notProperty(wire, "backqOrigin")
  })
})

/** Lists within lists. */
const nested = (levels: number): unknown => {
  let value: unknown = 1
  for (let i = 0; i < levels; i++) value = [value]
  return value
}

const holdsItself: Record<string, unknown> = { a: 1 }
holdsItself["b"] = { holdsItself }

const shared = () => {
  let value: unknown = [1]
  for (let i = 0; i < 60; i++) value = { a: value, b: value }
  return value
}

class Money {
  toJSON() {
    return { aps: { alert: "theirs" } }
  }
}

const throwing = (name: string) =>
  Object.defineProperty({}, name, {
    enumerable: true,
    get: () => {
      throw new Error("s3cret")
    }
  })

const closed = new Proxy({}, {
  ownKeys: () => {
    throw new TypeError("s3cret")
  }
})

/** What can be put into data, and what it is refused for. */
const unsendable: ReadonlyArray<readonly [string, unknown, RegExp]> = [
  ["500 levels and more", nested(500), /500 levels/],
  ["5,000 levels", nested(5000), /500 levels/],
  ["100,000 levels", nested(100_000), /500 levels/],
  ["what holds itself", holdsItself, /no cycle/],
  ["an exponentially shared value", shared(), /100000 values/],
  ["more values than any payload", Array.from({ length: 200_000 }, () => 0), /100000 values/],
  ["a big integer", { id: 1n }, /\.id: .*bigint.*string/],
  ["a number that is none", [0, { id: NaN }], /\[1\]\.id: /],
  ["nothing", { id: undefined }, /\.id: .*undefined/],
  ["a hole", Array(2), /\[0\]: .*undefined/],
  ["a function", { id: () => 1 }, /\.id: .*function/],
  ["a symbol", { id: Symbol("s3cret") }, /\.id: .*symbol/],
  ["a date", { at: new Date(0) }, /\.at: .*plain object/],
  ["a map", new Map([["a", 1]]), /plain object/],
  ["what answers for itself", { price: new Money() }, /\.price: .*plain object/],
  ["a function called toJSON", { toJSON: () => ({}) }, /plain object/],
  ["a list that answers for itself", Object.assign([1], { toJSON: () => ({}) }), /plain object/],
  ["a getter that throws", { a: throwing("b") }, /throws Error/],
  ["a proxy that throws", closed, /throws TypeError/],
  ["a number that no device has", { id: JSON.parse("1e999") }, /\.id: /]
]

describe("data that can't be sent", () => {
  it.each(unsendable)("is refused without an exception: %s", (_, value, words) => {
    const data = untyped({ good: 1, bad: value })
    const notification = Notification.alert({ topic, body: "a", data })
    const activity = Notification.liveActivityUpdate({ topic, timestamp: 1, contentState: untyped({ bad: value }) })
    for (
      const [field, result] of [
        ["payload.bad", Encoder.encode(notification)],
        ["payload.bad", fit(notification)],
        ["payload.aps.content-state", Encoder.encode(activity)],
        ["payload.aps.content-state", Encoder.encodeBroadcast(activity)]
      ] as const
    ) {
      const reason = failed(result)
      if (!/throws|values/.test(words.source)) assert.strictEqual(reason.field, field)
      if (field === "payload.bad") assert.match(reason.rule, words)
      assert.notInclude(reason.message, "s3cret")
      assert.isBelow(reason.message.length, 1000)
    }
    assert.isDefined(Encoder.check(notification))
  })

  it.effect("fails its own push, and the others of a stream go on", () =>
    Effect.gen(function*() {
      const good = Notification.alert({ topic, body: "a" })
      const bad = unsendable.map(([, value]) => Notification.alert({ topic, body: "a", data: untyped({ value }) }))
      const none: ReadonlyArray<any> = [undefined, null, "a", 1, throwing("topic"), throwing("pushType"), {}, closed]
      const all = [...bad, ...none].flatMap((one) => [good, one])
      const results = yield* Stream.fromIterable(all.map((notification) => ({ notification, token }))).pipe(
        Apns.sendAll,
        Stream.runCollect
      )
      assert.lengthOf(results, all.length)
      for (const { push, result } of results) {
        if (push.notification === good) assert.isTrue(Result.isSuccess(result))
        else assert.strictEqual(failed(result).action, "FixNotification")
      }
      assert.lengthOf(yield* TestApns.pushes, bad.length + none.length)
      for (const one of [...bad, ...none]) failed(yield* Effect.result(Apns.send(one, token)))
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("a token that is not a string fails its own push", () =>
    Effect.gen(function*() {
      const notification = Notification.alert({ topic, body: "a" })
      const results = yield* Stream.fromIterable([null, undefined, 7, token].map((one) => untyped(one))).pipe(
        Stream.map((token: string) => ({ notification, token })),
        Apns.sendAll,
        Stream.runCollect
      )
      assert.deepStrictEqual(
        results.map(({ result }) => Result.isSuccess(result) ? "sent" : result.failure.action),
        ["CheckToken", "CheckToken", "CheckToken", "sent"]
      )
    }).pipe(Effect.provide(TestApns.layer())))

  it("is refused in a job that another language published", () => {
    const deep = JSON.parse(
      `{"tokens":["00"],"payload":{"aps":{"alert":"a"},"bad":${"[".repeat(50_000)}${"]".repeat(50_000)}}}`
    )
    const error = Result.getOrThrow(Result.flip(decode(deep)))
    assert.match(error.message, /payload\.bad.*500 levels/s)
  })

  it("a key is shown clipped and escaped", () => {
    const key = `\u001b[31m${"k".repeat(5000)}`
    const { field, message } = failed(
      Encoder.encode(Notification.alert({ topic, body: "a", data: untyped({ [key]: 1n }) }))
    )
    for (const shown of [field, message]) {
      assert.notInclude(shown, "\u001b")
      assert.isBelow(shown.length, 500)
    }
  })

  it("the limit for a shorter body must be valid", () => {
    const notification = Notification.alert({ topic, body: "a" })
    for (const limit of [NaN, -1, 0, 0.5]) assert.strictEqual(failed(fit(notification, { limit })).field, "limit")
    assert.strictEqual(failed(fit(untyped({ ...notification, pushType: "nope" }))).field, "pushType")
  })
})

describe("numbers with more digits than JavaScript stores", () => {
  const payload = `{"aps":{"alert":{"loc-key":"K","loc-args":[12345678901234567890]},"new":0.1000000000000000055},` +
    `"id":1234567890123456789,"list":[{"id":-9007199254740993}]}`

  const put = (body: string) =>
    Effect.flatMap(
      Broker,
      (broker) => broker.put("apns", Result.getOrThrow(putRequest(new TextEncoder().encode(body))))
    )

  const envelope = (payload: string) =>
    `{"backq":1,"id":"1","job":"apns","payload":{"tokens":["${token}","${"b2".repeat(32)}"],"payload":${payload}}}`

  it.effect("reach the device as published, also when a part is published again", () =>
    Effect.gen(function*() {
      yield* put(envelope(payload))
      const [first] = yield* TestBroker.drain(ApnsJob.handler())
      assert.strictEqual(first!._tag, "Done")
      const [again] = yield* TestBroker.enqueued(ApnsJob.job, { state: "delayed" })
      assert.lengthOf(again!.payload.tokens, 1)
      assert.strictEqual(JSON.stringify(again!.payload.notification.payload), payload)
      const pushes = yield* TestApns.pushes
      assert.lengthOf(pushes, 2)
      for (const { encoded } of pushes) assert.strictEqual(text(encoded), payload)
    }).pipe(Effect.provide([
      TestApns.layer({ answer: ({ token }) => token.startsWith("b2") ? TestApns.reject(503) : TestApns.accept }),
      TestBroker.layer
    ])))

  it.effect("reach the device unchanged with a custom job, too", () =>
    Effect.gen(function*() {
      yield* put(envelope(payload))
      const job = Job.make("apns", { payload: ApnsPayload, priority: 1 })
      yield* TestBroker.drain(ApnsJob.handler({ job }))
      assert.strictEqual(text((yield* TestApns.pushes)[0]!.encoded), payload)
    }).pipe(Effect.provide([TestApns.layer(), TestBroker.layer])))

  it.effect.each<[string, string, RegExp]>([
    ["a badge", `{"aps":{"badge":1234567890123456789}}`, /"badge"/],
    ["infinite data", `{"aps":{"alert":"a"},"big":{"id":1e400}}`, /payload\.big.*\.id.*number that a device can read/],
    ["a time", `{"aps":{"alert":"a","timestamp":1e400}}`, /"timestamp"/],
    ["an argument", `{"aps":{"alert":{"loc-key":"K","loc-args":[true]}}}`, /Expected a number.*"loc-args"/]
  ])("are refused by key if no device can read them: %s", ([, payload, words]) =>
    Effect.gen(function*() {
      yield* put(envelope(payload))
      const [outcome] = yield* TestBroker.drain(ApnsJob.handler())
      assert.strictEqual(outcome!._tag, "Buried")
      assert.match(outcome!._tag === "Buried" ? outcome!.reason : "", words)
    }).pipe(Effect.provide([TestApns.layer(), TestBroker.layer])))

  it.effect("keep doubles with the 17 digits of another language", () =>
    Effect.gen(function*() {
      yield* put(
        envelope(`{"aps":{"sound":{"name":"a","volume":0.69999999999999996},"relevance-score":0.10000000000000001}}`)
      )
      yield* TestBroker.drain(ApnsJob.handler())
      assert.strictEqual(
        text((yield* TestApns.pushes)[0]!.encoded),
        `{"aps":{"sound":{"name":"a","volume":0.7},"relevance-score":0.1}}`
      )
    }).pipe(Effect.provide([TestApns.layer(), TestBroker.layer])))

  it.effect("can be sent by a program", () =>
    Effect.gen(function*() {
      const data = { id: (JSON as any).rawJSON("1234567890123456789") }
      yield* Publisher.publish(ApnsJob.job, {
        tokens: [token],
        notification: Notification.alert({ topic, body: "a", data })
      })
      yield* TestBroker.drain(ApnsJob.handler())
      assert.strictEqual(
        text((yield* TestApns.pushes)[0]!.encoded),
        `{"aps":{"alert":{"body":"a"}},"id":1234567890123456789}`
      )
    }).pipe(Effect.provide([TestApns.layer(), TestBroker.layer])))
})

describe("the id of a push", () => {
  const notification = Notification.alert({ topic, body: "a" })

  it.effect("is a UUID, sent in lower case", () =>
    Effect.gen(function*() {
      const id = "0193E2C8-6D1E-7C4A-9B57-2F0A8E6D41B3"
      const receipt = yield* Apns.send(notification, token, { apnsId: id })
      assert.strictEqual(receipt.apnsId, id.toLowerCase())
      assert.strictEqual((yield* TestApns.pushes)[0]!.apnsId, id.toLowerCase())
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("is refused if it is not a UUID, and the others go on", () =>
    Effect.gen(function*() {
      const ids = [
        "order-42",
        "",
        "0193e2c8-6d1e-7c4a-9b57-2f0a8e6d41b3\r\nx: y",
        "{0193e2c8-6d1e-7c4a-9b57-2f0a8e6d41b3}",
        "0193e2c86d1e7c4a9b572f0a8e6d41b3",
        untyped(42),
        untyped(null)
      ]
      const results = yield* Stream.fromIterable([...ids, undefined]).pipe(
        Stream.map((apnsId: string | undefined) => ({ notification, token, apnsId })),
        Apns.sendAll,
        Stream.runCollect
      )
      assert.lengthOf(results, ids.length + 1)
      for (const { push, result } of results) {
        if (push.apnsId === undefined) assert.isTrue(Result.isSuccess(result))
        else assert.deepInclude({ ...failed(result) }, { field: "apnsId", apple: "BadMessageId" })
      }
    }).pipe(Effect.provide(TestApns.layer())))
})
