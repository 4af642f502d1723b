/** How the pool grows, and when connections come and go. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import { FakeConnection } from "../apns/fakeConnection.ts"
import { pass, settle, setUp, times, untrusted } from "./poolHarness.ts"

const unreachable = Http2Error.make(new Http2Error.Unreachable({ server: "fake", detail: "refused" }))

describe("Pool", () => {
  it.effect("one request opens a connection, and requests of one tick leave together", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { dialed, ends, submitAll } = yield* setUp([one])
      submitAll(0, 4)
      assert.strictEqual(dialed(), 0)
      yield* settle
      assert.strictEqual(dialed(), 1)
      assert.deepStrictEqual(one.paths, [0, 1, 2, 3, 4].map((n) => `/3/device/${n}`))
      for (let n = 0; n < 5; n++) one.answer(200)
      assert.deepStrictEqual(ends(0, 4), times(5, "200"))
    }))

  it.effect("the pool grows by one connection at a time while all are full and have answered, up to its limit", () =>
    Effect.gen(function*() {
      const connections = Array.from({ length: 10 }, () => new FakeConnection())
      for (const one of connections) one.limit = 2
      const { dialed, submitAll } = yield* setUp(connections, { maxConnections: 3 })
      submitAll(0, 99)
      yield* pass("5 seconds")
      assert.strictEqual(dialed(), 1)
      connections[0]!.answer(200)
      yield* pass("5 seconds")
      assert.strictEqual(dialed(), 2)
      for (let i = 0; i < 20; i++) {
        for (const one of connections) if (one.sent.length > 0) one.answer(200)
        yield* pass("1 second")
      }
      assert.strictEqual(dialed(), 3)
    }))

  it.effect("on close sent requests get their answers, and waiting ones fail with NotSent", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      one.limit = 1
      const { close, ends, submitAll } = yield* setUp([one], { drainTimeout: Duration.seconds(1) })
      submitAll(0, 2)
      yield* settle
      yield* Effect.forkChild(close, { startImmediately: true })
      yield* settle
      assert.deepStrictEqual(ends(0, 2), ["pending", "NotSent", "NotSent"])
      one.answer(200)
      yield* settle
      assert.strictEqual(ends(0, 0)[0], "200")
    }))
})

describe("connections that do not open", () => {
  it.effect("each attempt waits longer, and pushes fail with the reason", () =>
    Effect.gen(function*() {
      const { dialed, end, submit } = yield* setUp([unreachable])
      submit(0)
      yield* settle
      assert.strictEqual(dialed(), 1)
      for (let second = 0; second < 29; second++) yield* pass("1 second")
      assert.strictEqual(end(0), "pending")
      assert.isAtMost(dialed(), 7)
      yield* pass("2 seconds")
      assert.strictEqual(end(0), "NotSent")
    }))

  it.effect("an untrusted server fails pushes at once, and later a single attempt tests whether it is fixed", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { dialed, end, ends, logged, submit, submitAll } = yield* setUp([untrusted, untrusted, one])
      submitAll(0, 9)
      yield* settle
      assert.deepStrictEqual(ends(0, 9), times(10, "ConfigFault"))
      submit(10)
      yield* settle
      assert.deepStrictEqual([end(10), dialed()], ["ConfigFault", 1])
      yield* pass("2 seconds")
      submit(11)
      yield* pass("2 seconds")
      assert.deepStrictEqual([end(11), dialed()], ["ConfigFault", 2])
      yield* pass("4 seconds")
      submit(12)
      submit(13)
      yield* pass("4 seconds")
      // one finds out, the other waits for it
      assert.deepStrictEqual(one.paths, ["/3/device/12"])
      one.answer(200)
      yield* settle
      one.answer(200)
      assert.deepStrictEqual(ends(12, 13), ["200", "200"])
      assert.lengthOf(logged.filter((line) => line.includes("certificate")), 1)
    }))

  it.effect("a failing second connection does not harm the first, and is tried less and less often", () =>
    Effect.gen(function*() {
      for (const failure of [untrusted, unreachable]) {
        const one = new FakeConnection()
        one.limit = 2
        const { dialed, ends, submit, submitAll } = yield* setUp([one, failure], { queueTimeout: Duration.minutes(5) })
        submit(0)
        yield* settle
        one.answer(200)
        submitAll(1, 100)
        yield* settle
        for (let n = 1; n <= 100; n++) {
          one.answer(200)
          yield* pass("100 millis")
        }
        assert.deepStrictEqual(ends(0, 100), times(101, "200"))
        assert.isAtMost(dialed(), 6)
        assert.isAtLeast(dialed(), 3)
      }
    }))

  it.effect("the pauses of a second connection do not delay the first", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      one.limit = 2
      const { dialed, submitAll } = yield* setUp([one, ...times(8, "").map(() => unreachable), two], {
        queueTimeout: Duration.minutes(30)
      })
      submitAll(0, 0)
      yield* settle
      one.answer(200)
      submitAll(1, 3000)
      yield* settle
      while (dialed() < 9) {
        one.answer(200)
        yield* pass("250 millis")
      }
      one.leave()
      yield* settle
      assert.strictEqual(dialed(), 10)
      assert.isAbove(two.paths.length, 0)
    }))

  it.effect("a server that closes before its first answer causes a pause, and a later close does not", () =>
    Effect.gen(function*() {
      const [one, two, three] = [new FakeConnection(), new FakeConnection(), new FakeConnection()]
      const { dialed, end, submit } = yield* setUp([one, two, three])
      submit(0)
      yield* settle
      one.answer(200)
      submit(1)
      yield* settle
      one.leave()
      yield* settle
      assert.deepStrictEqual([dialed(), two.paths], [2, ["/3/device/1"]])
      two.leave()
      yield* settle
      assert.strictEqual(dialed(), 2)
      yield* pass("2 seconds")
      assert.deepStrictEqual([dialed(), three.paths], [3, ["/3/device/1"]])
      three.answer(200)
      assert.strictEqual(end(1), "200")
    }))
})

describe("an idle connection", () => {
  it.effect("must answer a PING first; a silent one gets no request and is replaced", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { end, submit } = yield* setUp([one, two])
      submit(0)
      yield* settle
      one.answer(200)
      yield* pass("10 seconds")
      submit(1)
      yield* settle
      assert.deepStrictEqual([one.pings, one.paths.length], [1, 2])
      one.answer(200)
      one.answersPing = false
      yield* pass("10 seconds")
      submit(2)
      yield* pass("1 second")
      yield* pass("1 second")
      assert.deepStrictEqual([one.pings, one.paths.length], [2, 2])
      two.answer(200)
      assert.strictEqual(end(2), "200")
    }))
})

describe("a proxy that does not connect", () => {
  const refused = (status: number) =>
    Http2Error.make(
      new Http2Error.ProxyRefused({ proxy: "p", server: "fake", status, detail: `it answered ${status}` })
    )

  it.effect.each([0, 408, 421, 425, 429, 500, 502, 503, 504])(
    "with status %d is transient: pushes wait, and are sent later",
    (status) =>
      Effect.gen(function*() {
        const one = new FakeConnection()
        const { end, logged, submit } = yield* setUp([refused(status), refused(status), one])
        submit(0)
        for (let second = 0; second < 5; second++) yield* pass("1 second")
        one.answer(200)
        assert.strictEqual(end(0), "200")
        assert.isTrue(logged.every((line) => line.startsWith("can't connect to APNs")))
      })
  )

  it.effect.each([302, 400, 401, 403, 405, 407, 501, 511])(
    "with status %d is a configuration fault",
    (status) =>
      Effect.gen(function*() {
        const { end, submit } = yield* setUp([refused(status)])
        submit(0)
        yield* settle
        assert.strictEqual(end(0), "ConfigFault")
      })
  )

  it.effect("that never recovers from a transient status is no configuration fault: the push names it when it times out", () =>
    Effect.gen(function*() {
      const { end, submit } = yield* setUp([refused(0)])
      submit(0)
      for (let second = 0; second < 31; second++) yield* pass("1 second")
      assert.strictEqual(end(0), "NotSent")
    }))
})
