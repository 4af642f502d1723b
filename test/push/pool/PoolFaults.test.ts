/** Faults of the configuration, and credentials that are renewed or replaced. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import { FakeConnection, fakeToken } from "../apns/fakeConnection.ts"
import { pass, settle, setUp, times, untrusted } from "./poolHarness.ts"

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

  it.effect("ignores late connections and signatures of the old one", () =>
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

describe("an authorizer that asks a server", () => {
  it.effect("a failure fails the waiting pushes, and a later push asks again", () =>
    Effect.gen(function*() {
      const one = new FakeConnection()
      let asked = 0
      const noToken = ApnsError.make(new ApnsError.ConfigFault({ detail: "the token server refused the account" }))
      const signs = fakeToken("jwt")
      const current = Effect.suspend(() => ++asked === 1 ? Effect.fail(noToken) : signs.current)
      const { end, ends, logged, submit, submitAll } = yield* setUp([one], {
        authorizer: { ...signs, current }
      })
      submitAll(0, 2)
      yield* settle
      submit(3)
      yield* settle
      assert.deepStrictEqual(ends(0, 3), times(4, "ConfigFault"))
      assert.strictEqual(asked, 1)
      assert.lengthOf(logged.filter((line) => line.includes("the token server")), 1)
      yield* pass("2 seconds")
      submit(4)
      yield* settle
      one.answer(200)
      assert.strictEqual(end(4), "200")
      assert.strictEqual(asked, 2)
    }))
})
