import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as Gateway from "../../../src/push/apns/Gateway.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import type { PushType } from "../../../src/push/apns/notification/PushType.ts"

const gateway = (options: Partial<Gateway.Gateway>): Gateway.Gateway => ({
  environment: "production",
  credential: undefined,
  topics: "any",
  defaultTopic: undefined,
  inFlight: 1,
  submit: () => () => {},
  exchange: () => Effect.fail(ApnsError.make(new ApnsError.NotSent({ detail: "not here" }))),
  ...options
})

const a = gateway({ topics: ["com.example.a", "com.example.a.voip"], defaultTopic: "com.example.a" })
const b = gateway({ topics: ["com.example.b"], defaultTopic: "com.example.b", environment: "sandbox" })
const any = gateway({})
const key = gateway({ credential: "Key" })
const app = gateway({ credential: "Certificate", topics: ["com.example.a"] })
const calls = gateway({ credential: "Certificate", topics: ["com.example.a.voip"] })

describe("routing", () => {
  it.each<[string, ReadonlyArray<Gateway.Gateway>, string | undefined, Gateway.Gateway, string]>([
    ["the app that names the topic", [a, b], "com.example.b", b, "com.example.b"],
    ["the app that names it, before an app for any topic", [any, b], "com.example.b", b, "com.example.b"],
    ["the app for any topic", [a, any], "com.example.c", any, "com.example.c"],
    ["the first with a default", [any, a, b], undefined, a, "com.example.a"]
  ])("finds %s", (_, gateways, topic, gateway, found) => {
    const route = Result.getOrThrow(Gateway.route(gateways, topic))
    assert.strictEqual(route.gateway, gateway)
    assert.strictEqual(route.topic, found)
  })

  it.each<[PushType, ReadonlyArray<Gateway.Gateway>, Gateway.Gateway]>([
    ["voip", [app, calls, key], calls],
    ["voip", [key, app], app],
    ["alert", [calls, app, key], app],
    ["alert", [calls, key], key],
    ["location", [app, key], key],
    ["mdm", [key, app], app]
  ])("finds the credential that Apple requires for %s", (pushType, gateways, gateway) => {
    assert.strictEqual(Result.getOrThrow(Gateway.route(gateways, "com.example.a", pushType)).gateway, gateway)
  })

  it.each<[PushType, ReadonlyArray<Gateway.Gateway>, RegExp]>([
    ["location", [app], /must not be location with a certificate, which covers com\.example\.a: configure a key/],
    ["mdm", [key], /must not be mdm with a key, which .*: configure an MDM certificate/]
  ])("refuses %s if only the other kind of credential covers it", (pushType, gateways, words) => {
    const failure = Result.getOrThrow(Result.flip(Gateway.route(gateways, "com.example.a", pushType)))
    assert.deepInclude(failure.reason, { _tag: "InvalidNotification", field: "pushType", apple: "TopicDisallowed" })
    assert.match(failure.message, words)
  })

  it.each<[string, ReadonlyArray<Gateway.Gateway>, string | undefined, RegExp]>([
    ["a topic that nobody covers", [a, b], "com.example.c", /com\.example\.c.*com\.example\.a.*com\.example\.b/],
    ["a part of a topic", [a], "com.example", /no credential covers/],
    ["no topic and no default", [any], undefined, /set the app's bundle id/]
  ])("refuses %s", (_, gateways, topic, words) => {
    const failure = Result.getOrThrow(Result.flip(Gateway.route(gateways, topic)))
    assert.strictEqual(failure.reason._tag, "ConfigFault")
    assert.match(failure.message, words)
  })

  it.each<[string, Notification.Notification, string | undefined]>([
    ["with a suffix", Notification.voip({ topic: "com.example.a.voip" }), "com.example.a"],
    ["without it", Notification.voip({ topic: "com.example.a" }), "com.example.a"],
    ["of a type that has none", Notification.alert({ topic: "com.example.a.voip" }), "com.example.a.voip"],
    ["that is not there", Notification.alert({}), undefined]
  ])("knows the bundle id of a topic %s", (_, notification, bundleId) => {
    assert.strictEqual(Gateway.bundleIdOf(notification), bundleId)
  })

  it.effect("finds the app and the environment of a topic", () =>
    Effect.gen(function*() {
      const apns = yield* Apns.make([a, b])
      assert.deepStrictEqual(yield* apns.app("com.example.b"), { topic: "com.example.b", environment: "sandbox" })
      assert.deepStrictEqual(yield* apns.app(), { topic: "com.example.a", environment: "production" })
      assert.strictEqual((yield* Effect.flip(apns.app("com.example.c"))).action, "FixConfiguration")
    }))
})
