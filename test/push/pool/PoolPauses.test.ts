/** Pauses that the service asks for, and the slow start after them. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Http2Error from "../../../src/http2/Http2Error.ts"
import type { Options } from "../../../src/push/pool/Pool.ts"
import { FakeConnection } from "../apns/fakeConnection.ts"
import { pass, pausing, settle, setUp, times } from "./poolHarness.ts"

/** A random number that adds nothing to the pauses. */
const withoutJitter = Effect.provideService(Random.Random, {
  nextDoubleUnsafe: () => 0,
  nextIntUnsafe: () => 0
})

const paused = (dials: ReadonlyArray<FakeConnection | Http2Error.Http2Error>, options: Partial<Options> = {}) =>
  withoutJitter(setUp(dials, { provider: pausing, ...options }))

/** A pool whose first push got this answer. */
const refused = Effect.fnUntraced(function*(reason: string, options: Partial<Options> = {}) {
  const one = new FakeConnection()
  const made = yield* paused([one], options)
  made.submit(0)
  yield* settle
  one.answer(429, reason)
  return { one, ...made }
})

describe("a pause of all requests", () => {
  it.effect("fails waiting and new requests at once with the time that is left, and sends none", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      one.limit = 2
      const { ends, error, logged, submit, submitAll } = yield* paused([one])
      submitAll(0, 4)
      yield* settle
      one.answer(429, "Pause30")
      yield* settle
      assert.deepStrictEqual(ends(0, 4), ["429", "pending", ...times(3, "TooManyRequests")])
      yield* pass("10 seconds")
      submit(5, "com.example.other")
      yield* settle
      assert.deepStrictEqual(error(5)?.delay, Duration.seconds(20))
      assert.strictEqual(one.paths.length, 2)
      assert.deepStrictEqual(logged, ["APNs takes no pushes for now: none is sent for 30 s"])
    }))

  it.effect("without a time lasts a minute, and twice as long each time in a row", () =>
    Effect.gen(function*() {
      const { error, one, submit } = yield* refused("Pause")
      for (const [index, minutes] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
        submit(100 + index)
        yield* settle
        assert.deepStrictEqual(error(100 + index)?.delay, Duration.minutes(minutes))
        yield* pass(Duration.minutes(minutes))
        submit(200 + index)
        yield* settle
        one.answer(429, "Pause")
      }
    }))

  it.effect("of the service's time is not doubled, and the longest of requests that were sent together counts", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { error, submit, submitAll } = yield* paused([one])
      submitAll(0, 3)
      yield* settle
      for (const reason of ["Pause5", "Pause9", "Pause7", "Pause"]) one.answer(429, reason)
      submit(4)
      yield* settle
      assert.deepStrictEqual(error(4)?.delay, Duration.seconds(9))
    }))

  it.effect("opens no connection", () =>
    Effect.gen(function*() {
      const { dialed, one, submitAll } = yield* refused("Pause30")
      one.leave()
      yield* settle
      submitAll(1, 9)
      yield* pass("20 seconds")
      assert.strictEqual(dialed(), 1)
    }))
})

describe("a pause of a scope", () => {
  it.effect("fails the requests of its topic, and those of other topics go on", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      one.limit = 1
      const { ends, logged, submit } = yield* paused([one])
      submit(0, "com.example.busy")
      submit(1, "com.example.busy")
      submit(2)
      submit(3, "com.example.busy")
      yield* settle
      one.answer(429, "PauseTopic30")
      submit(4, "com.example.busy")
      yield* settle
      assert.deepStrictEqual(one.paths, ["/3/device/0", "/3/device/2"])
      one.answer(200)
      yield* settle
      assert.deepStrictEqual(ends(0, 4), ["429", "TooManyRequests", "200", "TooManyRequests", "TooManyRequests"])
      assert.deepStrictEqual(logged, ["APNs takes no pushes for com.example.busy for now: none is sent for 30 s"])
    }))
})

describe("the slow start after a pause", () => {
  it.effect("sends few requests at a time, and twice as many after every 6 seconds, until it ends", () =>
    Effect.gen(function*() {
      const { one, submitAll } = yield* refused("Pause5", { queueTimeout: Duration.minutes(30) })
      yield* pass("5 seconds")
      submitAll(1, 5000)
      yield* settle
      const seen: Array<number> = []
      for (let step = 0; step < 10; step++) {
        seen.push(one.sent.length)
        yield* pass("6 seconds")
        one.answer(200)
        yield* settle
      }
      assert.deepStrictEqual(seen, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000])
    }))

  it.effect("keeps every request in order and ends them all", () =>
    Effect.gen(function*() {
      const { ends, one, submitAll } = yield* refused("Pause5")
      yield* pass("5 seconds")
      submitAll(1, 40)
      yield* settle
      while (one.sent.length > 0) {
        one.answer(200)
        yield* settle
      }
      assert.deepStrictEqual(ends(1, 40), times(40, "200"))
      assert.deepStrictEqual(one.paths.slice(1), Array.from({ length: 40 }, (_, i) => `/3/device/${i + 1}`))
    }))

  it.effect("gives the room of a request that was cancelled, or lost its connection, to the next", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { cancel, ends, submit, submitAll } = yield* paused([one, two])
      submit(0)
      yield* settle
      one.answer(429, "Pause5")
      yield* pass("5 seconds")
      submitAll(1, 4)
      yield* settle
      cancel(1)
      yield* settle
      assert.deepStrictEqual(one.paths.slice(1), ["/3/device/1", "/3/device/2", "/3/device/3"])
      one.cut({})
      yield* pass("2 seconds")
      assert.deepStrictEqual(ends(1, 4), ["pending", "Unknown", "Unknown", "pending"])
      assert.deepStrictEqual(two.paths, ["/3/device/4"])
    }))

  it.effect("ends at the next refusal, which pauses twice as long and fails the requests that waited", () =>
    Effect.gen(function*() {
      const { ends, error, one, submitAll } = yield* refused("Pause")
      yield* pass("1 minute")
      submitAll(1, 4)
      yield* settle
      one.answer(429, "Pause")
      one.answer(429, "Pause")
      yield* settle
      assert.deepStrictEqual(ends(1, 4), ["429", "429", "TooManyRequests", "TooManyRequests"])
      assert.deepStrictEqual(error(4)?.delay, Duration.minutes(2))
    }))

  it.effect("lets a request time out that waits too long, and says why", () =>
    Effect.gen(function*() {
      const { failure, submitAll } = yield* refused("Pause5")
      yield* pass("5 seconds")
      submitAll(1, 3)
      for (let i = 0; i < 31; i++) yield* pass("1 second")
      assert.include(failure(3), "APNs asked for a pause, and pushes start slowly after it")
    }))
})

describe("a service that punishes PINGs and closes idle connections", () => {
  const strict: Partial<Options> = {
    doubtAfter: Duration.infinity,
    closesLast: true,
    idleTimeout: Duration.seconds(150)
  }

  it.effect("gets no PING before a request, however long the connection was idle", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { ends, submit } = yield* setUp([one], strict)
      for (const n of [0, 1]) {
        submit(n)
        yield* settle
        one.answer(200)
        yield* pass("2 minutes")
      }
      assert.deepStrictEqual([one.pings, ...ends(0, 1)], [0, "200", "200"])
    }))

  it.effect("has its last idle connection closed, and the next request opens another", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { dialed, ends, submit } = yield* setUp([one, two], strict)
      submit(0)
      yield* settle
      yield* pass("3 minutes")
      assert.isFalse(one.isRetired)
      one.answer(200)
      yield* pass("149 seconds")
      assert.isTrue(one.isRetired, "the time counts from the last request")
      assert.strictEqual(dialed(), 1)
      submit(1)
      yield* settle
      two.answer(200)
      assert.deepStrictEqual([dialed(), ...ends(0, 1)], [2, "200", "200"])
      yield* pass("149 seconds")
      assert.isFalse(two.isRetired)
      yield* pass("1 second")
      assert.isTrue(two.isRetired)
    }))
})
