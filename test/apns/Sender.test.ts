import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Apns from "../../src/apns/Apns.ts"
import * as ApnsError from "../../src/apns/ApnsError.ts"
import * as Notification from "../../src/apns/Notification.ts"
import * as Sender from "../../src/apns/Sender.ts"

const sender = (options: Partial<Sender.Sender>): Sender.Sender => ({
  environment: "production",
  topics: "any",
  defaultTopic: undefined,
  inFlight: 1,
  submit: () => () => {},
  exchange: () => Effect.fail(ApnsError.make(new ApnsError.NotSent({ detail: "not here" }))),
  ...options
})

const a = sender({ topics: ["com.example.a", "com.example.a.voip"], defaultTopic: "com.example.a" })
const b = sender({ topics: ["com.example.b"], defaultTopic: "com.example.b", environment: "sandbox" })
const any = sender({})

describe("routing", () => {
  it.each<[string, ReadonlyArray<Sender.Sender>, string | undefined, Sender.Sender, string]>([
    ["the one that names the topic", [a, b], "com.example.b", b, "com.example.b"],
    ["the one that names it before the one that takes any", [any, b], "com.example.b", b, "com.example.b"],
    ["the one that takes any", [a, any], "com.example.c", any, "com.example.c"],
    ["the first with a default", [any, a, b], undefined, a, "com.example.a"]
  ])("finds %s", (_, senders, topic, sender, found) => {
    const route = Result.getOrThrow(Sender.route(senders, topic))
    assert.strictEqual(route.sender, sender)
    assert.strictEqual(route.topic, found)
  })

  it.each<[string, ReadonlyArray<Sender.Sender>, string | undefined, RegExp]>([
    ["a topic that nobody covers", [a, b], "com.example.c", /com\.example\.c.*com\.example\.a.*com\.example\.b/],
    ["a part of a topic", [a], "com.example", /no credential covers/],
    ["no topic and no default", [any], undefined, /give the app's bundle id/]
  ])("refuses %s", (_, senders, topic, words) => {
    const failure = Result.getOrThrow(Result.flip(Sender.route(senders, topic)))
    assert.strictEqual(failure.reason._tag, "ConfigFault")
    assert.match(failure.message, words)
  })

  it.each<[string, Notification.Notification, string | undefined]>([
    ["with a suffix", Notification.voip({ topic: "com.example.a.voip" }), "com.example.a"],
    ["without it", Notification.voip({ topic: "com.example.a" }), "com.example.a"],
    ["of a type that has none", Notification.alert({ topic: "com.example.a.voip" }), "com.example.a.voip"],
    ["that is not there", Notification.alert({}), undefined]
  ])("knows the bundle id of a topic %s", (_, notification, bundleId) => {
    assert.strictEqual(Sender.bundleIdOf(notification), bundleId)
  })

  it.effect("tells the app and the environment of a topic", () =>
    Effect.gen(function*() {
      const apns = yield* Apns.make([a, b])
      assert.deepStrictEqual(yield* apns.app("com.example.b"), { topic: "com.example.b", environment: "sandbox" })
      assert.deepStrictEqual(yield* apns.app(), { topic: "com.example.a", environment: "production" })
      assert.strictEqual((yield* Effect.flip(apns.app("com.example.c"))).action, "FixConfiguration")
    }))
})
