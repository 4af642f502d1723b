/** Puts that wait for the commit before theirs, without a server. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { type JobId, type PutRequest, putRequest } from "../../../src/Broker.ts"
import { Puts } from "../../../src/brokers/postgres/puts.ts"
import { bytes, text } from "../../conformance/Harness.ts"

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body)))

/** Puts whose first commit takes until `open`. `commits` has the bodies of each. */
const slow = Effect.gen(function*() {
  const open = yield* Deferred.make<void>()
  const commits: Array<ReadonlyArray<string>> = []
  const put = (_: string, requests: ReadonlyArray<PutRequest>) =>
    Effect.suspend(() => {
      commits.push(requests.map((one) => text(one)))
      const ids = requests.map((one) => text(one) as JobId)
      return commits.length === 1 ? Effect.as(Deferred.await(open), ids) : Effect.succeed(ids)
    })
  const run = yield* Effect.context<never>()
  const puts = new Puts((effect) => void Effect.runForkWith(run)(effect), put)
  return { puts, commits, open: Deferred.succeed(open, undefined) }
})

describe("puts", () => {
  it.live("many that are interrupted while they wait take time linear in their number", () =>
    Effect.gen(function*() {
      const { commits, open, puts } = yield* slow
      const millis = Effect.fnUntraced(function*(count: number) {
        const waiting = yield* Effect.forEach(
          Array.from({ length: count }, (_, i) => request(`${i}`)),
          (one) => Effect.forkChild(puts.one("q", one), { startImmediately: true })
        )
        const before = process.threadCpuUsage()
        yield* Fiber.interruptAll(waiting)
        const { system, user } = process.threadCpuUsage(before)
        return (user + system) / 1000
      })
      yield* Effect.forkChild(puts.one("q", request("first")), { startImmediately: true })
      yield* millis(4000)
      const [few, many] = [yield* millis(4000), yield* millis(32_000)]
      assert.isBelow(many / few, 24)
      const last = yield* Effect.forkChild(puts.one("q", request("last")), { startImmediately: true })
      yield* open
      assert.strictEqual(yield* Fiber.join(last), "last")
      assert.deepStrictEqual(commits, [["first"], ["last"]])
    }))

  it.live("those that wait share a commit, in their order, up to what a statement takes", () =>
    Effect.gen(function*() {
      const { commits, open, puts } = yield* slow
      const fibers = yield* Effect.forEach(
        Array.from({ length: 1101 }, (_, i) => request(`${i}`)),
        (one) => Effect.forkChild(puts.one("q", one), { startImmediately: true })
      )
      const big = yield* Effect.forEach(
        ["a", "b", "c"],
        (letter) => Effect.forkChild(puts.one("big", request(letter.repeat(3 << 20))), { startImmediately: true })
      )
      yield* Fiber.interrupt(fibers[7]!)
      yield* open
      const ids = yield* Effect.forEach(fibers.filter((_, i) => i !== 7), Fiber.join)
      yield* Effect.forEach(big, Fiber.join)
      const numbers = Array.from({ length: 1101 }, (_, i) => `${i}`).filter((one) => one !== "7")
      assert.deepStrictEqual(ids as ReadonlyArray<string>, numbers)
      const small = commits.filter(([body]) => body!.length < 10)
      assert.deepStrictEqual(small.flat(), numbers)
      assert.deepStrictEqual(small.map(({ length }) => length), [1, 500, 500, 99])
      assert.deepStrictEqual(commits.filter(([body]) => body!.length > 10).map(({ length }) => length), [1, 1, 1])
    }))
})
