/** Connections that are open and of no use. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { FakeConnection } from "../apns/fakeConnection.ts"
import { pass, settle, setUp, times } from "./poolHarness.ts"

describe("a stuck connection", () => {
  const stuck = (limit: number) => {
    const one = new FakeConnection()
    one.limit = limit
    return one
  }

  it.effect("that allows no push is replaced after a while", () =>
    Effect.gen(function*() {
      const [one, two] = [stuck(0), new FakeConnection()]
      const { dialed, ends, logged, submit, submitAll } = yield* setUp([one, two])
      submitAll(0, 2)
      yield* pass("9 seconds")
      assert.strictEqual(dialed(), 1)
      for (let second = 0; second < 4; second++) yield* pass("1 second")
      assert.deepStrictEqual([dialed(), two.paths.length], [2, 3])
      for (let n = 0; n < 3; n++) two.answer(200)
      submit(3)
      yield* settle
      two.answer(200)
      assert.deepStrictEqual(ends(0, 3), times(4, "200"))
      assert.lengthOf(logged.filter((line) => line.includes("it allowed no push for 10 s")), 1)
    }))

  it.effect("that never answers its one push is replaced for the waiting pushes, and that push times out", () =>
    Effect.gen(function*() {
      const [one, two] = [stuck(1), new FakeConnection()]
      const { ends, logged, submitAll } = yield* setUp([one, two])
      submitAll(0, 3)
      for (let second = 0; second < 13; second++) yield* pass("1 second")
      assert.deepStrictEqual([one.paths.length, two.paths.length], [1, 3])
      for (let n = 0; n < 3; n++) two.answer(200)
      one.timeOut()
      assert.deepStrictEqual(ends(0, 3), ["Timeout", "200", "200", "200"])
      assert.lengthOf(logged.filter((line) => line.includes("it answered none of 1 pushes in 10 s")), 1)
    }))

  it.effect("that has room but answers nothing gets no more pushes", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { submit, submitAll } = yield* setUp([one, two])
      submitAll(0, 9)
      for (let second = 0; second < 11; second++) yield* pass("1 second")
      for (let n = 10; n < 20; n++) {
        submit(n)
        yield* pass("500 millis")
      }
      assert.deepStrictEqual([one.paths.length, two.paths.length], [10, 10])
    }))

  it.effect("that took only a part of a push has not processed it, so the push uses another connection", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { ends, submitAll } = yield* setUp([one, two])
      submitAll(0, 1)
      yield* settle
      one.timeOut(true)
      one.timeOut()
      yield* pass("2 seconds")
      assert.deepStrictEqual(two.paths, ["/3/device/0"])
      two.answer(200)
      assert.deepStrictEqual(ends(0, 1), ["200", "Timeout"])
    }))

  it.effect("that has worked but allows no more pushes is replaced after a pause", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { dialed, end, submit } = yield* setUp([one, two])
      submit(0)
      yield* settle
      one.answer(200)
      one.limit = 0
      submit(1)
      for (let second = 0; second < 13; second++) yield* pass("1 second")
      assert.strictEqual(dialed(), 2)
      two.answer(200)
      assert.strictEqual(end(1), "200")
    }))

  it.effect("that was busy and allows no push for a moment is kept", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { dialed, end, logged, submit } = yield* setUp([one], { maxConnections: 1 })
      submit(0)
      for (let n = 1; n < 30; n++) {
        submit(n)
        yield* pass("1 second")
        one.answer(200)
      }
      one.answer(200)
      one.limit = 0
      submit(30)
      yield* pass("1 second")
      one.limit = 1000
      yield* pass("1 second")
      one.answer(200)
      assert.strictEqual(end(30), "200")
      assert.deepStrictEqual([dialed(), logged.length], [1, 0])
    }))

  it.effect("that lowers its limit is replaced for the pushes that wait for its streams", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { dialed, submitAll } = yield* setUp([one, two])
      one.queued = 3
      submitAll(0, 2)
      for (let second = 0; second < 12; second++) yield* pass("1 second")
      assert.isTrue(one.isRetired)
      one.queued = 0
      one.leave()
      for (let second = 0; second < 2; second++) yield* pass("1 second")
      assert.deepStrictEqual([dialed(), two.paths.length], [2, 3])
    }))

  it.effect("that keeps refusing a push is replaced for that push", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { end, logged, submit } = yield* setUp([one, two])
      submit(0)
      for (let n = 0; n < 5; n++) {
        yield* settle
        one.fail("Refused")
      }
      yield* pass("2 seconds")
      assert.deepStrictEqual([one.paths.length, two.paths.length], [5, 1])
      two.answer(200)
      assert.strictEqual(end(0), "200")
      assert.lengthOf(logged.filter((line) => line.includes("it refused a push 5 times")), 1)
    }))

  it.effect("is replaced after its second unreadable answer in a row", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { ends, submitAll, submit } = yield* setUp([one, two])
      submitAll(0, 3)
      yield* settle
      one.fail("Unknown")
      one.answer(200)
      one.fail("Unknown")
      one.fail("Unknown")
      submit(4)
      yield* pass("2 seconds")
      two.answer(200)
      assert.deepStrictEqual(ends(0, 4), ["Unknown", "200", "Unknown", "Unknown", "200"])
    }))

  it.effect("names the reason to pushes that time out before it is replaced", () =>
    Effect.gen(function*() {
      const { failure, submit } = yield* setUp([stuck(0)], { queueTimeout: Duration.seconds(3) })
      submit(0)
      for (let second = 0; second < 4; second++) yield* pass("1 second")
      assert.include(failure(0), "allows no push because of its limit of streams or its window")
      assert.notInclude(failure(0), "push less at once")
    }))

  it.effect("times out pushes with the reason and makes new connections rare, if all are stuck", () =>
    Effect.gen(function*() {
      for (const [limit, what] of [[0, "it allowed no push"], [1, "it answered none"]] as const) {
        const connections = Array.from({ length: 50 }, () => stuck(limit))
        const { dialed, ends, logged, submitAll } = yield* setUp(connections, { maxConnections: 1 })
        submitAll(0, 9)
        for (let second = 0; second < 31; second++) yield* pass("1 second")
        assert.includeMembers(ends(limit * 3, 9), ["NotSent"])
        assert.isAtMost(dialed(), 4)
        assert.isTrue(logged.some((line) => line.includes(what)))
      }
    }))

  it.effect("is not a slow connection", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      one.limit = 2
      const { dialed, submitAll } = yield* setUp([one], { maxConnections: 1, queueTimeout: Duration.minutes(10) })
      submitAll(0, 19)
      for (let n = 0; n < 20; n++) {
        yield* pass("8 seconds")
        one.answer(200)
      }
      assert.strictEqual(dialed(), 1)
    }))

  it.effect("is not a connection after a long idle time", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { dialed, end, submit } = yield* setUp([one])
      for (let n = 0; n < 3; n++) {
        submit(n)
        yield* settle
        one.answer(200)
        yield* pass("1 hour")
        assert.strictEqual(end(n), "200")
      }
      assert.strictEqual(dialed(), 1)
    }))
})
