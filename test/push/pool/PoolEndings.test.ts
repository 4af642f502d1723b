/** Answers and ends of connections that make them useless. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import { table } from "../../../src/push/apns/answer/Reason.ts"
import { FakeConnection } from "../apns/fakeConnection.ts"
import { pass, settle, setUp } from "./poolHarness.ts"

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
