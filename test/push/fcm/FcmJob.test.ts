/** The job on a broker in memory, with an Fcm that answers as a test says. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as Broker from "../../../src/Broker.ts"
import * as FcmError from "../../../src/push/fcm/answer/FcmError.ts"
import * as DeadTokenJob from "../../../src/push/fcm/DeadTokenJob.ts"
import * as FcmJob from "../../../src/push/fcm/FcmJob.ts"
import type { Message } from "../../../src/push/fcm/message/Message.ts"
import { fieldOf } from "../../../src/push/fcm/message/Target.ts"
import * as Target from "../../../src/push/fcm/message/Target.ts"
import * as TestFcm from "../../../src/push/fcm/TestFcm.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import * as Worker from "../../../src/Worker.ts"

const hello = { notification: { title: "Hello" } }

const answers = (byToken: Record<string, TestFcm.Answer>): TestFcm.Options => ({
  answer: ({ target }) => byToken[fieldOf(target).value] ?? TestFcm.accept
})

const world = (options: TestFcm.Options = {}) => Layer.merge(TestBroker.layer, TestFcm.layer(options))

const drain = TestBroker.drain(FcmJob.handler())

const sent = Effect.map(TestFcm.pushes, (pushes) => pushes.map(({ target }) => fieldOf(target).value))

const reported = Effect.gen(function*() {
  const dead: Array<DeadTokenJob.DeadToken> = []
  yield* TestBroker.drain(Worker.handler(DeadTokenJob.job, (one) => Effect.sync(() => void dead.push(one))))
  return dead
})

const captured = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.layer([Logger.make(({ logLevel, message }) => lines.push(`${logLevel}: ${String(message)}`))])
  }
}

describe("FcmJob", () => {
  it.effect("pushes a message to all of its targets", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish(hello, [
        "a",
        "b",
        "a",
        Target.fid("c"),
        Target.topic("news"),
        Target.condition("'x' in topics")
      ])
      const outcomes = yield* drain
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Done", "Done", "Done", "Done"])
      assert.deepStrictEqual(yield* sent, ["a", "b", "c", "news", "'x' in topics"])
    }).pipe(Effect.provide(world())))

  it.effect("reads what another language publishes", () =>
    Effect.gen(function*() {
      const payload = { tokens: ["a"], message: { android: { collapse_key: "k" } } }
      yield* Broker.Broker.use((broker) =>
        broker.put(
          "fcm",
          Result.getOrThrow(Broker.putRequest(Buffer.from(JSON.stringify({ backq: 1, id: "x", job: "fcm", payload }))))
        )
      )
      assert.strictEqual((yield* drain)[0]?._tag, "Done")
      const [push] = yield* TestFcm.pushes
      assert.deepStrictEqual(push?.message, { android: { collapseKey: "k" } })
    }).pipe(Effect.provide(world())))

  it.effect("hands over dead and wrong tokens, told apart, with the time of the push", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minute")
      yield* FcmJob.publish(hello, ["live", "dead", "foreign", "malformed"])
      yield* FcmJob.publish(hello, [Target.fid("gone")], { project: "test-project" })
      yield* drain
      const dead = yield* reported
      const common = { project: "test-project", sentAt: 60_000 }
      assert.deepStrictEqual(dead, [
        { token: "dead", kind: "Dead", errorCode: "UNREGISTERED", ...common },
        { token: "foreign", kind: "Wrong", errorCode: "SENDER_ID_MISMATCH", ...common },
        { token: "malformed", kind: "Wrong", errorCode: "INVALID_ARGUMENT", ...common },
        { fid: "gone", kind: "Dead", errorCode: "UNREGISTERED", ...common }
      ])
    }).pipe(Effect.provide(world(answers({
      dead: TestFcm.reject(404, "UNREGISTERED"),
      foreign: TestFcm.reject(403, "SENDER_ID_MISMATCH"),
      malformed: TestFcm.reject(400, "INVALID_ARGUMENT", { message: "The registration token is not valid" }),
      gone: TestFcm.reject(404, "UNREGISTERED")
    })))))

  it.effect("deletes no token for a 404 without an FcmError, and keeps the job", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish(hello, ["a"])
      const [outcome] = yield* drain
      assert.strictEqual(outcome?._tag, "Retried")
      assert.deepStrictEqual(yield* reported, [])
    }).pipe(Effect.provide(world(answers({ a: TestFcm.reject(404) })))))

  it.effect("buries a message that Google refuses, and deletes no token", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish(hello, ["a"])
      const [outcome] = yield* drain
      assert.strictEqual(outcome?._tag, "Buried")
      assert.deepStrictEqual(yield* reported, [])
    }).pipe(Effect.provide(world(answers({ a: TestFcm.reject(400, "INVALID_ARGUMENT", { message: "ttl" }) })))))

  it.effect("waits as long as a Retry-After asks", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish(hello, ["a"])
      const [outcome] = yield* drain
      assert.strictEqual(outcome?._tag === "Retried" ? Duration.toSeconds(outcome.delay) : 0, 90)
    }).pipe(
      Effect.provide(world(answers({ a: TestFcm.reject(429, "QUOTA_EXCEEDED", { retryAfter: Duration.seconds(90) }) })))
    ))

  it.effect("keeps the pushes to iOS while the project's APNs key is wrong, and Android goes on", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      yield* FcmJob.publish(hello, ["android", "ios"])
      yield* FcmJob.publish(hello, ["android-2", "ios-2"])
      yield* TestBroker.drain(FcmJob.handler()).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* sent, ["android", "ios", "android-2", "ios-2"])
      assert.lengthOf(lines.filter((line) => line.includes("APNs key")).filter((line) => line.startsWith("Error")), 1)
      assert.deepStrictEqual(yield* reported, [])
    }).pipe(Effect.provide(world(answers({
      ios: TestFcm.reject(401, "THIRD_PARTY_AUTH_ERROR"),
      "ios-2": TestFcm.reject(401, "THIRD_PARTY_AUTH_ERROR")
    })))))

  it.effect("does not send a message whose ttl has passed in the queue", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish({ ...hello, android: { ttl: "60s" } }, ["a"])
      yield* FcmJob.publish({ ...hello, android: { ttl: "0s" } }, ["b"])
      yield* TestClock.adjust("61 seconds")
      const outcomes = yield* drain
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Discarded", "Done"])
      assert.deepStrictEqual(yield* sent, ["b"])
    }).pipe(Effect.provide(world())))

  it.effect.each<readonly [what: string, message: Message, isSent: boolean]>([
    ["apns-expiration has passed", { apns: { headers: { "apns-expiration": "60" } } }, false],
    ["web push TTL has passed", { webpush: { headers: { TTL: "60" } } }, false],
    ["three have passed", {
      android: { ttl: "60s" },
      apns: { headers: { "Apns-Expiration": "60" } },
      webpush: { headers: { ttl: "60" } }
    }, false],
    ["latest has not passed", { android: { ttl: "60s" }, apns: { headers: { "apns-expiration": "70" } } }, true],
    ["web push TTL is 0", { android: { ttl: "60s" }, webpush: { headers: { TTL: "0" } } }, true],
    ["apns-expiration is 0", { apns: { headers: { "apns-expiration": "0" } } }, true],
    ["apns-expiration is no number", { apns: { headers: { "apns-expiration": "soon" } } }, true]
  ])("decides whether to send a message whose %s", ([, message, isSent]) =>
    Effect.gen(function*() {
      yield* FcmJob.publish({ ...hello, ...message }, ["a"])
      yield* TestClock.adjust("61 seconds")
      const outcomes = yield* drain
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), [isSent ? "Done" : "Discarded"])
      assert.lengthOf(yield* sent, isSent ? 1 : 0)
    }).pipe(Effect.provide(world())))

  it.effect("raises an alarm if nearly all tokens of a job are dead, and still reports them", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      const tokens = Array.from({ length: 20 }, (_, n) => `t${n}`)
      yield* FcmJob.publish(hello, tokens)
      yield* TestBroker.drain(FcmJob.handler()).pipe(Effect.provide(layer))
      assert.lengthOf(yield* reported, 20)
      assert.isTrue(lines.some((line) => line.startsWith("Error: 20 of 20 targets")))
    }).pipe(Effect.provide(world({ answer: () => TestFcm.reject(404, "UNREGISTERED") }))))

  it.effect("asks for the project if most tokens belong to another", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      yield* FcmJob.publish(hello, ["a", "b"])
      yield* TestBroker.drain(FcmJob.handler()).pipe(Effect.provide(layer))
      assert.isTrue(lines.some((line) => line.startsWith("Error") && line.includes("another project")))
    }).pipe(Effect.provide(world({ answer: () => TestFcm.reject(403, "SENDER_ID_MISMATCH") }))))

  it.effect("publishes the unfinished pushes again, and not the accepted ones", () =>
    Effect.gen(function*() {
      yield* FcmJob.publish(hello, ["a", "b"])
      const [first] = yield* drain
      assert.strictEqual(first?._tag, "Done")
      assert.deepStrictEqual(yield* sent, ["a", "b"])
    }).pipe(Effect.provide(world(answers({ b: TestFcm.fail(new FcmError.NotSent({ detail: "away" })) })))))
})
