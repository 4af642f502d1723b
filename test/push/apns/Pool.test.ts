/** The pool, with connections and a clock under the test's hand. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import { table } from "../../../src/push/apns/answer/Reason.ts"
import type { Reply } from "../../../src/push/apns/answer/receipt.ts"
import { provider } from "../../../src/push/apns/provider.ts"
import * as Pool from "../../../src/push/pool/Pool.ts"
import { FakeConnection, fakeToken, push, word } from "./fakeConnection.ts"

const untrusted = Http2Error.make(
  new Http2Error.TlsRejected({ server: "fake", kind: "Expired", detail: "its certificate is not valid now" })
)
const unreachable = Http2Error.make(new Http2Error.Unreachable({ server: "fake", detail: "refused" }))

/** Lets forked fibers and microtasks run. */
const settle = Effect.andThen(TestClock.adjust(0), Effect.promise(() => new Promise((done) => setImmediate(done))))
const pass = (time: Duration.Input) => Effect.andThen(TestClock.adjust(time), settle)

/** A pool whose n-th connection is the n-th of the list: one of the test's, or an error. */
const setUp = Effect.fnUntraced(function*(
  dials: ReadonlyArray<FakeConnection | Http2Error.Http2Error>,
  options: Partial<Pool.Options> = {}
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  let dialed = 0
  const open = Effect.suspend(() => {
    const next = dials[Math.min(dialed++, dials.length - 1)]!
    return next instanceof FakeConnection ? Effect.succeed(next.connection) : Effect.fail(next)
  })
  const logged: Array<string> = []
  const pool = yield* Pool.make(provider, {
    open,
    authorizer: undefined,
    maxConnections: 4,
    queueTimeout: Duration.seconds(30),
    idleTimeout: Duration.minutes(10),
    drainTimeout: Duration.zero,
    ...options
  }).pipe(
    Scope.provide(scope),
    Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(String(message)))]))
  )
  const outcomes: Array<Reply> = []
  const cancels: Array<() => void> = []
  const submit = (n: number, topic?: string) => {
    cancels[n] = pool.submit(push(n, topic), (outcome) => {
      assert.isUndefined(outcomes[n], `push ${n} ended twice`)
      outcomes[n] = outcome
    })
  }
  return {
    pool,
    logged,
    dialed: () => dialed,
    submit,
    cancel: (n: number) => cancels[n]!(),
    submitAll: (from: number, to: number) => {
      for (let n = from; n <= to; n++) submit(n)
    },
    ends: (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => word(outcomes[from + i])),
    end: (n: number) => word(outcomes[n]),
    failure: (n: number) => {
      const outcome = outcomes[n]
      return outcome !== undefined && Result.isFailure(outcome) ? outcome.failure.message : undefined
    },
    close: Scope.close(scope, Exit.void)
  }
})

const times = (count: number, what: string) => Array.from({ length: count }, () => what)

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

  it.effect("a server that closes before it answers causes a pause, one that has answered does not", () =>
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

describe("answers that make a connection useless", () => {
  it.effect.each(["TooManyProviderTokenUpdates", "IdleTimeout", "UnrelatedKeyIdInToken"])(
    "repeated %s causes only a few connections in half a minute",
    (reason) =>
      Effect.gen(function*() {
        const connections = Array.from({ length: 100 }, () => new FakeConnection())
        const { dialed, submit } = yield* setUp(connections)
        const status = reason === "TooManyProviderTokenUpdates" ? 429 : reason === "IdleTimeout" ? 400 : 403
        for (let n = 0; n < 120; n++) {
          submit(n)
          yield* pass("250 millis")
          for (const one of connections) while (one.sent.length > 0) one.answer(status, reason)
        }
        assert.isAtMost(dialed(), 8)
      })
  )

  it.effect("a request that fails on every connection ends with the answer", () =>
    Effect.gen(function*() {
      const connections = Array.from({ length: 10 }, () => new FakeConnection())
      const { dialed, end, submit } = yield* setUp(connections)
      submit(0)
      for (let second = 0; second < 20; second++) {
        yield* pass("1 second")
        for (const one of connections) if (one.sent.length > 0) one.answer(400, "IdleTimeout")
      }
      assert.deepStrictEqual([end(0), dialed()], ["400", 3])
    }))

  it.effect("after a request without an answer the next uses another connection", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { ends, submit } = yield* setUp([one, two])
      submit(0)
      submit(1)
      yield* settle
      one.answer(200)
      one.timeOut()
      submit(2)
      yield* settle
      two.answer(200)
      assert.deepStrictEqual(ends(0, 2), ["200", "Timeout", "200"])
    }))

  it.effect("a server that shuts down is replaced at once, a failing one after its second failure", () =>
    Effect.gen(function*() {
      const [one, two, three] = [new FakeConnection(), new FakeConnection(), new FakeConnection()]
      const { dialed, submit, submitAll } = yield* setUp([one, two, three])
      submitAll(0, 1)
      yield* settle
      one.answer(200)
      one.answer(503, "Shutdown")
      submitAll(2, 4)
      yield* settle
      assert.strictEqual(two.paths.length, 3)
      two.answer(500, "InternalServerError")
      two.answer(200)
      two.answer(500, "InternalServerError")
      submitAll(5, 5)
      yield* settle
      two.answer(500, "InternalServerError")
      submit(6)
      yield* settle
      assert.strictEqual(dialed(), 2)
      yield* pass("2 seconds")
      assert.deepStrictEqual(three.paths, ["/3/device/6"])
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

  it.effect("is not one that answers slowly", () =>
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

  it.effect("is not one that was idle for long", () =>
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

describe("the end of a connection", () => {
  const reason = (word: string) => JSON.stringify({ reason: word })
  const faults = Object.entries(table).filter(([, { action }]) => action === "FixConfiguration").map(([word]) => word)
  const rejection = Http2Error.make(
    new Http2Error.TlsRejected({ server: "fake", kind: "ClientCertificate", detail: "it refuses our certificate" })
  )

  const ends: ReadonlyArray<readonly [string, (one: FakeConnection, word: string) => void]> = [
    ["once", (one, word) => one.say({ debug: reason(word) })],
    ["and then something else", (one, word) => one.say({ debug: reason("Shutdown"), earlier: [reason(word)] })],
    ["and something else before", (one, word) => one.say({ debug: reason(word), earlier: ["bye"] })],
    ["after a silent one", (one, word) => {
      one.say({})
      one.say({ debug: reason(word) })
    }],
    ["and then its socket ends", (one, word) => {
      one.say({ debug: reason(word) })
      one.cut({ cause: new Error("ECONNRESET") })
    }],
    ["with what its TLS says after it", (one, word) => {
      one.say({ debug: reason(word) })
      one.cut({ rejection })
    }]
  ]

  it.effect.each(ends)("opens the circuit for a configuration fault: %s", ([, end]) =>
    Effect.gen(function*() {
      assert.isAbove(faults.length, 5)
      for (const word of faults) {
        const one = new FakeConnection()
        const { end: endOf, logged, submit } = yield* setUp([one])
        submit(0)
        yield* settle
        end(one, word)
        yield* settle
        submit(1)
        yield* settle
        assert.strictEqual(endOf(1), "ConfigFault")
        assert.lengthOf(logged.filter((line) => line.includes(word)), 1)
      }
    }))

  it.effect("opens the circuit for a rejected client certificate", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { ends, submit } = yield* setUp([one])
      submit(0)
      yield* settle
      one.cut({ rejection })
      yield* settle
      submit(1)
      yield* settle
      assert.deepStrictEqual(ends(0, 1), ["Unknown", "ConfigFault"])
    }))

  it.effect("opens no circuit without such a fault", () =>
    Effect.gen(function*() {
      for (const debug of ["", reason("Shutdown"), reason("NewInAnyYear"), "BadCertificate", "{"]) {
        const [one, two] = [new FakeConnection(), new FakeConnection()]
        const { end, submit } = yield* setUp([one, two])
        submit(0)
        yield* settle
        one.leave(debug)
        yield* pass("2 seconds")
        two.answer(200)
        assert.strictEqual(end(0), "200")
      }
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

describe("configuration faults", () => {
  it.effect("a refused key opens the circuit: pushes of all topics fail until it is fixed", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { ends, logged, submit, submitAll } = yield* setUp([one])
      submitAll(0, 4)
      yield* settle
      for (let n = 0; n < 5; n++) one.answer(403, "InvalidProviderToken")
      submit(5)
      submit(6, "com.example.other")
      yield* settle
      assert.deepStrictEqual(ends(0, 6), [...times(5, "403"), "ConfigFault", "ConfigFault"])
      assert.strictEqual(one.paths.length, 5)
      yield* pass("2 seconds")
      submitAll(7, 9)
      yield* settle
      assert.strictEqual(one.paths.length, 6)
      one.answer(403, "InvalidProviderToken")
      assert.deepStrictEqual(ends(7, 9), ["403", "ConfigFault", "ConfigFault"])
      yield* pass("2 seconds")
      submitAll(10, 12)
      yield* settle
      one.answer(200)
      yield* settle
      one.answer(410, "Unregistered")
      one.answer(200)
      assert.deepStrictEqual(ends(10, 12), ["200", "410", "200"])
      assert.lengthOf(logged.filter((line) => line.includes("InvalidProviderToken")), 1)
    }))

  it.effect("a refused topic fails its pushes, and those of other topics go on", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { end, ends, submit } = yield* setUp([one])
      submit(0, "com.example.wrong")
      yield* settle
      one.answer(400, "TopicDisallowed")
      submit(1, "com.example.wrong")
      submit(2)
      yield* settle
      one.answer(200)
      assert.deepStrictEqual(ends(0, 2), ["400", "ConfigFault", "200"])
      yield* pass("2 seconds")
      submit(3, "com.example.wrong")
      submit(4, "com.example.wrong")
      submit(5)
      yield* settle
      assert.deepStrictEqual(one.paths.slice(2), ["/3/device/3", "/3/device/5"])
      one.answer(200)
      yield* settle
      one.answer(200)
      one.answer(200)
      assert.deepStrictEqual([end(3), end(4), end(5)], ["200", "200", "200"])
    }))

  it.effect("a probe without an answer hands its role to the next push", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { cancel, ends, submit, submitAll } = yield* setUp([one, two])
      submit(0)
      yield* settle
      one.answer(403, "InvalidProviderToken")
      yield* pass("2 seconds")
      submitAll(1, 4)
      yield* settle
      assert.deepStrictEqual(one.paths.slice(1), ["/3/device/1"])
      cancel(1)
      yield* settle
      assert.deepStrictEqual(one.paths.slice(2), ["/3/device/2"])
      one.timeOut()
      yield* pass("2 seconds")
      assert.deepStrictEqual(two.paths, ["/3/device/3"])
      two.answer(200)
      yield* settle
      two.answer(200)
      assert.deepStrictEqual(ends(1, 4), ["pending", "Timeout", "200", "200"])
    }))

  it.effect("a push that waits for a probe times out", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { ends, submit } = yield* setUp([one], { queueTimeout: Duration.seconds(2) })
      submit(0)
      yield* settle
      one.answer(400, "TopicDisallowed")
      yield* pass("1100 millis")
      submit(1)
      submit(2)
      for (let i = 0; i < 10; i++) yield* pass("250 millis")
      assert.deepStrictEqual(ends(1, 2), ["pending", "Timeout"])
    }))

  it.effect("a GOAWAY with a fault opens the circuit", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      const { ends, submitAll } = yield* setUp([one])
      submitAll(0, 2)
      yield* settle
      one.leave(JSON.stringify({ reason: "BadCertificate" }))
      yield* settle
      assert.deepStrictEqual(ends(0, 2), times(3, "ConfigFault"))
    }))
})

describe("a provider token", () => {
  it.effect("that many answers call expired is renewed once, and each push is sent again once", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { ends, submitAll } = yield* setUp([one, two], { authorizer: fakeToken("KEY", { renews: true }) })
      submitAll(0, 9)
      yield* settle
      for (let n = 0; n < 10; n++) one.answer(403, "ExpiredProviderToken")
      yield* pass("2 seconds")
      assert.deepStrictEqual(new Set(two.sent.map(({ authorization }) => authorization)), new Set(["bearer KEY-2"]))
      for (let n = 0; n < 10; n++) two.answer(200)
      assert.deepStrictEqual(ends(0, 9), times(10, "200"))
    }))

  it.effect("that a GOAWAY calls expired is renewed once, and refused pushes are sent again", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { ends, submitAll } = yield* setUp([one, two], { authorizer: fakeToken("KEY", { renews: true }) })
      submitAll(0, 4)
      yield* settle
      one.leave(JSON.stringify({ reason: "ExpiredProviderToken" }))
      yield* pass("2 seconds")
      assert.deepStrictEqual(new Set(two.sent.map(({ authorization }) => authorization)), new Set(["bearer KEY-2"]))
      for (let n = 0; n < 5; n++) two.answer(200)
      assert.deepStrictEqual(ends(0, 4), times(5, "200"))
    }))

  it.effect("is kept if the GOAWAY of a connection with an older token calls it expired", () =>
    Effect.gen(function*() {
      const [one, two] = [new FakeConnection(), new FakeConnection()]
      const { end, submit, submitAll } = yield* setUp([one, two], { authorizer: fakeToken("KEY", { renews: true }) })
      submitAll(0, 1)
      yield* settle
      one.answer(403, "ExpiredProviderToken")
      yield* pass("2 seconds")
      one.say({ debug: JSON.stringify({ reason: "ExpiredProviderToken" }) })
      submit(2)
      yield* settle
      assert.deepStrictEqual(two.sent.map(({ authorization }) => authorization), times(2, "bearer KEY-2"))
      two.answer(200)
      two.answer(200)
      assert.deepStrictEqual([end(0), end(2)], ["200", "200"])
    }))

  it.effect("that can't be renewed yet opens the circuit", () =>
    Effect.gen(function*() {
      const connections = Array.from({ length: 50 }, () => new FakeConnection())
      const { dialed, ends, submit } = yield* setUp(connections, { authorizer: fakeToken("KEY") })
      for (let n = 0; n < 400; n++) {
        if (n < 50) submit(n)
        yield* pass("100 millis")
        for (const one of connections) while (one.sent.length > 0) one.answer(403, "ExpiredProviderToken")
        yield* settle
      }
      assert.deepStrictEqual(ends(0, 49), times(50, "Rejected"))
      assert.isAtMost(dialed(), 8)
    }))

  it.effect("that can't be made lets pushes time out", () =>
    Effect.gen(function*() {
      const broken = { current: Effect.die("no entropy"), expired: () => Effect.die("no entropy") }
      const { end, submit } = yield* setUp([new FakeConnection()], { authorizer: broken })
      submit(0)
      yield* pass("29 seconds")
      assert.strictEqual(end(0), "pending")
      yield* pass("2 seconds")
      assert.strictEqual(end(0), "Timeout")
    }))
})

describe("a new credential", () => {
  const old = () => ({ connection: new FakeConnection(), authorizer: fakeToken("OLD") })

  it.effect("sends waiting and refused pushes; other answers to the old one count", () =>
    Effect.gen(function*() {
      const { connection, authorizer } = old()
      const fresh = new FakeConnection()
      const { ends, logged, pool, submitAll } = yield* setUp([connection], { authorizer })
      submitAll(0, 4)
      yield* settle
      pool.replace({
        open: Effect.delay(Effect.succeed(fresh.connection), "1 second"),
        authorizer: fakeToken("NEW")
      })
      submitAll(5, 6)
      connection.answer(200)
      connection.answer(403, "InvalidProviderToken")
      connection.answer(403, "ExpiredProviderToken")
      connection.answer(400, "TopicDisallowed")
      connection.answer(410, "Unregistered")
      yield* pass("1 second")
      assert.deepStrictEqual(ends(0, 6), ["200", "pending", "pending", "pending", "410", "pending", "pending"])
      assert.sameMembers(fresh.paths, [1, 2, 3, 5, 6].map((n) => `/3/device/${n}`))
      assert.isTrue(fresh.sent.every(({ authorization }) => authorization === "bearer NEW"))
      for (let n = 0; n < 5; n++) fresh.answer(200)
      assert.isTrue(ends(0, 6).every((end) => end === "200" || end === "410"))
      assert.deepStrictEqual(logged, [])
    }))

  it.effect("ignores connections and signatures of the old one that arrive late", () =>
    Effect.gen(function*() {
      const fresh = new FakeConnection()
      const { dialed, end, pool, submit } = yield* setUp([untrusted], {
        authorizer: fakeToken("OLD", { after: "50 millis" })
      })
      submit(0)
      yield* pass("10 millis")
      pool.replace({ open: Effect.succeed(fresh.connection), authorizer: fakeToken("NEW") })
      yield* pass("1 second")
      assert.deepStrictEqual([dialed(), end(0)], [0, "pending"])
      assert.deepStrictEqual(fresh.sent.map(({ authorization }) => authorization), ["bearer NEW"])
    }))

  it.effect("closes the circuits at once", () =>
    Effect.gen(function*() {
      const { connection, authorizer } = old()
      const fresh = new FakeConnection()
      const { end, pool, submit } = yield* setUp([connection], { authorizer })
      submit(0)
      yield* settle
      connection.answer(403, "InvalidProviderToken")
      pool.replace({ open: Effect.succeed(fresh.connection), authorizer: fakeToken("NEW") })
      submit(1)
      yield* settle
      fresh.answer(200)
      assert.deepStrictEqual([end(0), end(1)], ["403", "200"])
    }))
})
