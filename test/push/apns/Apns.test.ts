import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"

const hello = Notification.alert({ body: "Hello" })
const token = (n: number) => n.toString(16).padStart(64, "0")
const tokens = (count: number) => Array.from({ length: count }, (_, n) => token(n))
const toAll = (count: number) => tokens(count).map((token) => ({ notification: hello, token }))

describe("Apns", () => {
  it.effect("sends with the default topic and returns the receipt", () =>
    Effect.gen(function*() {
      const receipt = yield* Apns.send(hello, token(1))
      const [push] = yield* TestApns.pushes
      assert.match(receipt.apnsId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.deepStrictEqual(receipt, { apnsId: push!.apnsId, apnsUniqueId: undefined, attempts: 1, duration: 0 })
      assert.deepInclude(push!.encoded.headers, ["apns-topic", "com.example.app"])
      assert.strictEqual(push!.token, token(1))
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("sends with the given id", () =>
    Effect.gen(function*() {
      const apnsId = "0193f1a0-0000-7000-8000-000000000001"
      assert.strictEqual((yield* Apns.send(hello, token(1), { apnsId })).apnsId, apnsId)
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("refuses invalid pushes before sending", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(2_000_000)
      const reasons = yield* Effect.forEach([
        Apns.send(Notification.alert({ body: "Hello", collapseId: "x".repeat(65) }), token(1)),
        Apns.send(hello, "not a token"),
        Apns.send(Notification.alert({ body: "Hello", topic: "com.example.other" }), token(1)),
        Apns.send(Notification.alert({ body: "Hello", expiration: 2000 }), token(1))
      ], (sent) => Effect.map(Effect.flip(sent), (error) => error.reason._tag))
      assert.deepStrictEqual(reasons, ["InvalidNotification", "WrongToken", "ConfigFault", "Expired"])
      assert.deepStrictEqual(yield* TestApns.pushes, [])
      yield* Apns.send(Notification.alert({ body: "Hello", expiration: 2001 }), token(1))
      yield* Apns.send(Notification.alert({ body: "Hello", expiration: 0 }), token(1))
      assert.lengthOf(yield* TestApns.pushes, 2)
    }).pipe(Effect.provide(TestApns.layer({ topics: ["com.example.app"] }))))

  it.effect("finds the app of a topic with the suffix of its push type", () =>
    Effect.gen(function*() {
      yield* Apns.send(Notification.voip({ topic: "com.example.app.voip" }), token(1))
      yield* Apns.send(Notification.voip({ topic: "com.example.app" }), token(1))
      const topics = (yield* TestApns.pushes).map(({ encoded }) => new Map(encoded.headers).get("apns-topic"))
      assert.deepStrictEqual(topics, ["com.example.app.voip", "com.example.app.voip"])
    }).pipe(Effect.provide(TestApns.layer({ topics: ["com.example.app"] }))))

  it.effect("encodes a notification once for all its tokens", () =>
    Effect.gen(function*() {
      yield* Stream.runDrain(Apns.sendAll(Stream.fromIterable(toAll(100))))
      const pushes = yield* TestApns.pushes
      assert.strictEqual(new Set(pushes.map(({ encoded }) => encoded)).size, 1)
      assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 100)
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("emits a result for every push of a stream, also for failures", () =>
    Effect.gen(function*() {
      const results = yield* Stream.runCollect(Apns.sendAll(Stream.fromIterable([
        ...toAll(1000),
        { notification: hello, token: "zz" }
      ])))
      const dead = results.filter(({ result }) =>
        Result.isFailure(result) && result.failure.reason._tag === "DeadToken"
      )
      const wrong = results.filter(({ result }) =>
        Result.isFailure(result) && result.failure.reason._tag === "WrongToken"
      )
      assert.lengthOf(results, 1001)
      assert.sameMembers(results.map(({ push }) => push.token), [...tokens(1000), "zz"])
      assert.deepStrictEqual(dead.map(({ push }) => push.token), tokens(1000).filter((_, n) => n % 10 === 0))
      assert.deepStrictEqual(wrong.map(({ push }) => push.token), ["zz"])
    }).pipe(Effect.provide(
      TestApns.layer({ answer: (_, n) => n % 10 === 0 ? TestApns.reject(410, "Unregistered", 1) : TestApns.accept })
    )))

  it.effect.each([0, Number.NaN, -1, 1.5])("dies of an inFlight of %j", (inFlight) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Stream.runDrain(Apns.sendAll(Stream.fromIterable(toAll(9)), { inFlight })))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "inFlight must be an integer of at least 1")
      assert.deepStrictEqual(yield* TestApns.pushes, [])
    }).pipe(Effect.provide(TestApns.layer())))

  it.effect("takes at most inFlight pushes from the stream", () =>
    Effect.gen(function*() {
      let pulled = 0
      const gate = yield* Deferred.make<void>()
      const pushes = Stream.rechunk(Stream.fromIterable(toAll(50)), 1).pipe(
        Stream.tap(() => Effect.sync(() => pulled++))
      )
      const fiber = yield* Effect.gen(function*() {
        const running = yield* Effect.forkChild(Stream.runCollect(Apns.sendAll(pushes, { inFlight: 7 })))
        yield* Effect.repeat(Effect.yieldNow, { times: 200 })
        assert.lengthOf(yield* TestApns.pushes, 7)
        assert.isAtMost(pulled, 8)
        yield* Deferred.succeed(gate, undefined)
        return running
      }).pipe(Effect.provide(TestApns.layer({ answer: () => Effect.as(Deferred.await(gate), {}) })))
      assert.lengthOf(yield* Fiber.join(fiber), 50)
    }))

  it.effect("finishes the taken pushes when the stream fails, and then fails with the same error", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const error = yield* Apns.sendAll(Stream.concat(Stream.fromIterable(toAll(3)), Stream.fail("the database"))).pipe(
        Stream.runForEach(({ push }) => Effect.sync(() => seen.push(push.token))),
        Effect.flip
      )
      assert.strictEqual(error, "the database")
      assert.sameMembers(seen, tokens(3))
    }).pipe(Effect.provide(TestApns.layer({ answer: () => Effect.as(Effect.yieldNow, {}) }))))

  it.effect("cancels the pushes in flight when it is interrupted", () =>
    Effect.gen(function*() {
      let ended = 0
      const answer = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => ended++))
      yield* Effect.gen(function*() {
        const one = yield* Effect.forkChild(Apns.send(hello, token(1)))
        const many = yield* Effect.forkChild(Stream.runDrain(Apns.sendAll(Stream.fromIterable(toAll(9)))))
        yield* Effect.repeat(Effect.yieldNow, { times: 50 })
        yield* Fiber.interruptAll([one, many])
        yield* Effect.repeat(Effect.yieldNow, { times: 50 })
      }).pipe(Effect.provide(TestApns.layer({ answer })))
      assert.strictEqual(ended, 10)
    }))

  it.effect("continues when a script dies", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Apns.send(hello, token(1)))
      assert.instanceOf(error, ApnsError.ApnsError)
      assert.strictEqual(error.reason._tag, "Unknown")
    }).pipe(Effect.provide(TestApns.layer({ answer: () => Effect.die("script") }))))

  it.effect("creates, lists, reads and deletes broadcast channels, and sends to them", () =>
    Effect.gen(function*() {
      const apns = yield* Apns.Apns
      const id = yield* apns.createChannel("MostRecent")
      const other = yield* apns.createChannel("None", { topic: "com.example.other" })
      assert.deepStrictEqual(yield* apns.listChannels(), [id])
      assert.deepStrictEqual(yield* apns.listChannels({ topic: "com.example.other" }), [other])
      assert.deepStrictEqual(yield* apns.readChannel(id), { id, storage: "MostRecent" })

      const update = Notification.liveActivityUpdate({ timestamp: 1, contentState: { score: 1 } })
      yield* apns.broadcast(update, id, { stored: true })
      yield* apns.broadcast({ ...update, topic: "com.example.other.push-type.liveactivity" }, other)
      assert.deepStrictEqual((yield* TestApns.broadcasts).map(({ path }) => path), [
        "/4/broadcasts/apps/com.example.app",
        "/4/broadcasts/apps/com.example.other"
      ])
      assert.strictEqual((yield* Effect.flip(apns.broadcast(hello, id))).reason._tag, "InvalidNotification")

      yield* apns.deleteChannel(id)
      assert.deepStrictEqual(yield* apns.listChannels(), [])
      assert.strictEqual((yield* Effect.flip(apns.readChannel(id))).action, "DropChannel")
    }).pipe(Effect.provide(TestApns.layer())))
})
