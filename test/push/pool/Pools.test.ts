/** Pools by key: their places, their order, and that one server holds up no other. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import type { Reply } from "../../../src/push/apns/answer/receipt.ts"
import { provider } from "../../../src/push/apns/provider.ts"
import { Pools } from "../../../src/push/pool/index.ts"
import { FakeConnection, push, word } from "../apns/fakeConnection.ts"
import { pass, settle } from "./poolHarness.ts"

/** Keyed pools whose connections are the test's; keys that begin with `away` have none. */
const setUp = Effect.fnUntraced(function*(capacity: number) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const connections = new Map<string, Array<FakeConnection>>()
  const dials: Array<string> = []
  const pools = yield* Pools.make({
    capacity,
    idleTimeout: Duration.seconds(150),
    queueTimeout: Duration.seconds(10),
    provider,
    poolOf: (key) => ({
      provider,
      options: {
        open: Effect.suspend(() => {
          dials.push(key)
          if (key.startsWith("away")) {
            return Effect.fail(Http2Error.make(new Http2Error.Unreachable({ server: key, detail: "refused" })))
          }
          const one = new FakeConnection()
          connections.set(key, [...connections.get(key) ?? [], one])
          return Effect.succeed(one.connection)
        }),
        authorizer: undefined,
        maxConnections: 2,
        queueTimeout: Duration.seconds(10),
        idleTimeout: Duration.seconds(150),
        closesLast: true,
        drainTimeout: Duration.seconds(1)
      }
    })
  }).pipe(Scope.provide(scope))
  const outcomes: Array<Reply> = []
  const cancels: Array<() => void> = []
  return {
    pools,
    dials,
    /** The newest connection of a key. */
    at: (key: string) => connections.get(key)!.at(-1)!,
    submit: (n: number, key: string) => {
      cancels[n] = pools.submit(key, push(n), (reply) => {
        assert.isUndefined(outcomes[n], `push ${n} ended twice`)
        outcomes[n] = reply
      })
    },
    cancel: (n: number) => cancels[n]!(),
    end: (n: number) => word(outcomes[n]),
    ends: (count: number) => Array.from({ length: count }, (_, n) => word(outcomes[n])),
    close: Scope.close(scope, Exit.void)
  }
})

describe("pools by key", () => {
  it.effect("requests of one key share a connection, and other keys have their own", () =>
    Effect.gen(function*() {
      const { at, dials, ends, pools, submit } = yield* setUp(4)
      submit(0, "a")
      submit(1, "b")
      submit(2, "a")
      yield* settle
      assert.deepStrictEqual([pools.size, dials], [2, ["a", "b"]])
      assert.deepStrictEqual(at("a").paths, ["/3/device/0", "/3/device/2"])
      at("a").answer(200)
      at("b").answer(410, "Unregistered")
      at("a").answer(200)
      assert.deepStrictEqual(ends(3), ["200", "410", "200"])
    }))

  it.effect("a server that is away fails its own requests", () =>
    Effect.gen(function*() {
      const { at, end, submit } = yield* setUp(4)
      submit(0, "away")
      submit(1, "b")
      yield* settle
      at("b").answer(200)
      assert.deepStrictEqual([end(0), end(1)], ["pending", "200"])
      yield* pass("11 seconds")
      assert.strictEqual(end(0), "NotSent")
    }))

  it.effect("a new key takes the place of the pool that was used least recently", () =>
    Effect.gen(function*() {
      const { at, dials, end, pools, submit } = yield* setUp(2)
      for (const [n, key] of ["a", "b", "a", "c"].entries()) {
        submit(n, key)
        yield* settle
        at(key).answer(200)
      }
      yield* settle
      assert.isTrue(at("b").isRetired)
      assert.isFalse(at("a").isRetired)
      submit(4, "a")
      yield* settle
      at("a").answer(200)
      assert.deepStrictEqual([pools.size, end(4), dials], [2, "200", ["a", "b", "c"]])
    }))

  it.effect("requests wait for a place in order while all pools have requests", () =>
    Effect.gen(function*() {
      const { at, dials, ends, pools, submit } = yield* setUp(2)
      for (const [n, key] of ["a", "b", "c", "d", "c"].entries()) submit(n, key)
      yield* settle
      assert.deepStrictEqual(dials, ["a", "b"])
      at("b").answer(200)
      yield* settle
      assert.deepStrictEqual(dials, ["a", "b", "c"])
      assert.deepStrictEqual(at("c").paths, ["/3/device/2"])
      at("a").answer(200)
      yield* settle
      at("c").answer(200)
      at("c").answer(200)
      at("d").answer(200)
      assert.deepStrictEqual([pools.size, ...ends(5)], [2, "200", "200", "200", "200", "200"])
    }))

  it.effect("a request that finds no place in time fails, and says why; a cancelled one does not end", () =>
    Effect.gen(function*() {
      const { at, cancel, ends, submit } = yield* setUp(1)
      submit(0, "a")
      submit(1, "b")
      submit(2, "c")
      cancel(2)
      yield* pass("9 seconds")
      assert.deepStrictEqual(ends(3), ["pending", "pending", "pending"])
      yield* pass("2 seconds")
      assert.deepStrictEqual(ends(3), ["pending", "Timeout", "pending"])
      at("a").answer(200)
      assert.deepStrictEqual(ends(3), ["200", "Timeout", "pending"])
    }))

  it.effect("10,000 hosts never have more than the capacity of pools, and a good one goes on", () =>
    Effect.gen(function*() {
      const { at, end, pools, submit } = yield* setUp(64)
      submit(0, "good")
      yield* settle
      for (let n = 1; n <= 10_000; n++) {
        submit(n, `away-${n}`)
        assert.isAtMost(pools.size, 64)
      }
      yield* pass("11 seconds")
      submit(10_001, "good")
      yield* settle
      at("good").answer(200)
      at("good").answer(200)
      assert.deepStrictEqual([end(0), end(10_000), end(10_001)], ["200", "Timeout", "200"])
      yield* pass("11 seconds")
      assert.isAtMost(pools.size, 64)
    }))

  it.effect("a pool without requests closes after the idle time, and opens again", () =>
    Effect.gen(function*() {
      const { at, dials, end, pools, submit } = yield* setUp(4)
      submit(0, "a")
      yield* pass("200 seconds")
      assert.strictEqual(pools.size, 1)
      at("a").answer(200)
      yield* pass("2 seconds")
      assert.strictEqual(pools.size, 0)
      submit(1, "a")
      yield* settle
      at("a").answer(200)
      assert.deepStrictEqual([end(1), dials], ["200", ["a", "a"]])
    }))

  it.effect("on close sent requests get their answers, and waiting ones fail", () =>
    Effect.gen(function*() {
      const { at, close, ends, submit } = yield* setUp(1)
      submit(0, "a")
      submit(1, "b")
      yield* settle
      yield* Effect.forkChild(close, { startImmediately: true })
      yield* settle
      submit(2, "a")
      yield* settle
      assert.deepStrictEqual(ends(3), ["pending", "NotSent", "NotSent"])
      at("a").answer(200)
      yield* settle
      assert.strictEqual(ends(1)[0], "200")
    }))
})
