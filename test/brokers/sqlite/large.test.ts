/** Large bodies are in a table of their own: a change of state does not write them again, and they go with their job. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { Broker } from "../../../src/Broker.ts"
import { maxInlineBytes } from "../../../src/brokers/sqlite/jobs.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { bury, done, release, take, text } from "../../conformance/Harness.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

const mebibyte = 1024 * 1024
const sizes = [0, 1, maxInlineBytes, maxInlineBytes + 1, 60_000]
const bodyOf = (size: number) => "x".repeat(size)

const largeIn = (path: string) => {
  const database = new DatabaseSync(path, { readOnly: true })
  const count = database.prepare("SELECT count(*) AS jobs FROM large").get()?.["jobs"]
  database.close()
  return count
}

const put = (broker: Broker["Service"], queue: string, count: number, size: number, delay: Duration.Input = 0) =>
  Effect.map(
    broker.putAll(queue, Array.from({ length: count }, () => request(bodyOf(size), { delay }))),
    (results) => assert.isTrue(results.every(Result.isSuccess))
  )

describe("large bodies", () => {
  it.live.each(sizes)(
    "of %i bytes stay the same in every state, and are deleted with their job",
    (size) =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker, inspector } = yield* SqliteBroker.make({ path, history: "1 hour" })
        const consumer = yield* broker.consume(["q"])
        const body = bodyOf(size)
        const isThere = Effect.map(take(consumer), (lease) => {
          assert.strictEqual(text(lease), body)
          return lease
        })
        const [result] = yield* broker.putAll("q", [request(body), request("other")])
        const id = Result.getOrThrow(result!)
        assert.strictEqual(text(Option.getOrThrow(yield* inspector.peek(id))), body)
        assert.strictEqual(text(Option.getOrThrow(yield* inspector.peekNext("q", "ready"))), body)
        yield* release(consumer, yield* isThere, { delay: "1 hour" })
        assert.deepStrictEqual((yield* inspector.list("q", { state: "delayed" })).jobs.map(text), [body])
        yield* inspector.kickJob(id)
        yield* bury(consumer, yield* isThere)
        const moved = yield* inspector.moveJob(id, "q")
        assert.strictEqual(largeIn(path), size > maxInlineBytes ? 1 : 0)
        assert.strictEqual(text(yield* take(consumer)), "other")
        yield* done(consumer, yield* isThere)
        const kept = (yield* inspector.list("q", { state: "done" })).jobs
        assert.deepStrictEqual(kept.map((job) => [job.id, text(job)]), [[moved, body]])
        yield* inspector.delete(yield* broker.put("q", request(body)))
        assert.strictEqual(largeIn(path), 0)
      })
  )

  it.live("end a page of a list early, and the next page goes on", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({
        path: yield* file,
        history: "1 hour",
        durability: "normal"
      })
      yield* put(broker, "q", 60, 60_000)
      const pages: Array<number> = []
      const listAll = Effect.fnUntraced(function*(state: "ready" | "done") {
        const ids: Array<string> = []
        let after: string | undefined
        do {
          const page = yield* inspector.list("q", { state, limit: 1000, after })
          pages.push(page.jobs.length)
          ids.push(...page.jobs.map(({ id }) => id))
          after = page.next
        } while (after !== undefined)
        return ids
      })
      assert.strictEqual(new Set(yield* listAll("ready")).size, 60)
      const consumer = yield* broker.consume(["q"])
      for (let left = 60; left > 0;) {
        const leases = yield* consumer.reserve(60)
        assert.isAtMost(leases.length, 32)
        yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
        left -= leases.length
      }
      assert.strictEqual(new Set(yield* listAll("done")).size, 60)
      assert.isTrue(pages.every((jobs) => jobs < 15))
    }))

  it.live.each(["full", "normal"] as const)(
    "in large numbers (%s) keep the log short",
    (durability) =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker } = yield* SqliteBroker.make({ path, durability })
        let longest = 0
        for (let i = 0; i < 40; i++) {
          yield* put(broker, "q", 50, 60_000)
          longest = Math.max(longest, statSync(`${path}-wal`).size)
        }
        assert.isBelow(longest, 24 * mebibyte)
        assert.isAbove(statSync(path).size, 80 * mebibyte)
      })
  )
})

describe("the event loop", () => {
  /** Milliseconds of the CPU's time of this thread: what others do on the machine does not count. */
  const millis = () => {
    const { system, user } = process.threadCpuUsage()
    return (system + user) / 1000
  }

  /** How long the loop was held. */
  const longestHold = Effect.fnUntraced(function*(work: Effect.Effect<unknown, unknown>) {
    let [last, longest, isOn] = [millis(), 0, true]
    const look = () => {
      const now = millis()
      longest = Math.max(longest, now - last)
      last = now
      if (isOn) setImmediate(look)
    }
    setImmediate(look)
    yield* work
    // the turn in which it ended is looked at, too
    yield* Effect.callback<void>((resume) => void setImmediate(() => setImmediate(() => resume(Effect.void))))
    isOn = false
    return longest
  })

  // They were 35 to 660 ms, on a quiet machine on which 6,000 small puts take 30.
  it.live("is not blocked by many or large jobs", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file })
      yield* put(broker, "warm", 2000, 100)
      const before = millis()
      yield* put(broker, "small", 6000, 100)
      const limit = millis() - before
      const consumer = yield* broker.consume(["big"])
      const work = Effect.gen(function*() {
        for (let left = 500; left > 0;) {
          const leases = yield* consumer.reserve(500)
          yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
          left -= leases.length
        }
      })
      const delayed = yield* broker.consume(["soon"])
      const loads: Record<string, Effect.Effect<unknown, unknown>> = {
        "putting 20,000": put(broker, "q", 20_000, 300),
        "putting 500 large ones": put(broker, "big", 500, 60_000),
        "working 500 large ones": work,
        "counting at once": Effect.all(Array.from({ length: 50 }, () => inspector.statsQueue("q")), {
          concurrency: "unbounded"
        }),
        "listing at once": Effect.all(
          Array.from({ length: 16 }, () => inspector.list("q", { state: "ready", limit: 500 })),
          {
            concurrency: "unbounded"
          }
        ),
        "putting 500 large ones aside": put(broker, "later", 500, 60_000, "1 hour"),
        "kicking 500 large ones": inspector.kick("later", 500),
        "delays that end at once": Effect.andThen(put(broker, "soon", 1000, 60_000, "3 seconds"), delayed.reserve(1))
      }
      const held: Record<string, number> = {}
      for (const [name, load] of Object.entries(loads)) held[name] = yield* longestHold(load)
      for (const [name, millis] of Object.entries(held)) {
        assert.isBelow(millis, limit, `${name}: ${JSON.stringify(held)}`)
      }
    }))

  it.live("very large bodies are delivered one by one, and small ones in batches again after them", () =>
    Effect.gen(function*() {
      const { broker } = yield* SqliteBroker.make({ path: yield* file, maxJobSize: 4 * mebibyte, durability: "normal" })
      yield* put(broker, "q", 3, 2 * mebibyte)
      yield* put(broker, "q", 20, 10)
      const consumer = yield* broker.consume(["q"])
      const counts: Array<number> = []
      for (let taken = 0; taken < 23;) {
        const leases = yield* consumer.reserve(32)
        taken += leases.length
        counts.push(leases.length)
      }
      assert.deepStrictEqual(counts.slice(0, 3), [1, 1, 1])
      assert.isAtMost(counts.length, 5)
    }))
})
