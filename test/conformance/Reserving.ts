/** The rules about consumers and how they are served. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { inspect } from "node:util"
import type { Consumer, Lease } from "../../src/Broker.ts"
import {
  assertFails,
  assertInfo,
  assertRunning,
  done,
  type Harness,
  take,
  takeMany,
  type Test,
  text,
  uniqueQueue
} from "./Harness.ts"

/** A consumer with a scope that can be closed. */
const closable = Effect.fnUntraced(function*(h: Harness, ...queues: ReadonlyArray<string>) {
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const consumer = yield* Scope.provide(h.consumer(...queues), scope)
  return { consumer, close: Scope.close(scope, Exit.void) }
})

/** Registers the tests. */
export const reserving = (test: Test): void => {
  test("reserve: waits for a put", (h) =>
    Effect.gen(function*() {
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 5)
      yield* h.aWhile
      assertRunning(fiber)
      yield* h.put("a")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(text), ["a"])
    }))

  test("reserve: returns batches of 1 to max, each job once", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (let i = 0; i < 30; i++) yield* h.put(String(i))
      const sizes: Array<number> = []
      const bodies: Array<string> = []
      while (bodies.length < 30) {
        const leases = yield* consumer.reserve(7)
        sizes.push(leases.length)
        bodies.push(...leases.map(text))
      }
      assert.isTrue(sizes.every((size) => size >= 1 && size <= 7), String(sizes))
      assert.isTrue(sizes.some((size) => size > 1), String(sizes))
      assert.deepStrictEqual(bodies.toSorted(), Array.from({ length: 30 }, (_, i) => String(i)).toSorted())
    }))

  test("reserve: refuses a limit below 1, and a fraction", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      for (const max of [0, -1, 1.5, NaN]) yield* assertFails(consumer.reserve(max), "OptionInvalid")
      assert.include(yield* h.stats(), { ready: 1, reserved: 0 })
    }))

  test("reserve: a consumer receives only from its queues", (h) =>
    Effect.gen(function*() {
      const other = uniqueQueue()
      const consumer = yield* h.consumer()
      yield* h.put("not mine", { queue: other, priority: 0 })
      const fiber = yield* h.reserveWaiting(consumer, 10)
      yield* h.put("not mine either", { queue: other, priority: 0 })
      yield* h.aWhile
      assertRunning(fiber)
      yield* h.put("mine")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(text), ["mine"])
      assert.include(yield* h.stats(other), { ready: 2, reserved: 0, idleWorkers: 0 })
    }))

  test("reserve: each lease names its queue, if the consumer has several", (h) =>
    Effect.gen(function*() {
      const [a, b] = [uniqueQueue(), uniqueQueue()]
      const consumer = yield* h.consumer(a, b)
      yield* h.put("a", { queue: a })
      yield* h.put("b", { queue: b })
      const leases = yield* takeMany(consumer, 2)
      assert.deepStrictEqual(leases.map((lease) => [lease.queue, text(lease)]), [[a, "a"], [b, "b"]])
      for (const queue of [a, b]) {
        const fiber = yield* Effect.forkChild(take(consumer))
        yield* h.untilWaiting(1, queue)
        yield* h.put("more", { queue })
        assert.strictEqual((yield* Fiber.join(fiber)).queue, queue)
      }
      assert.include(yield* h.stats(a), { reserved: 2, idleWorkers: 0 })
      assert.include(yield* h.stats(b), { reserved: 2, idleWorkers: 0 })
    }))

  test("reserve: a log of a lease shows the job, and nothing of its broker", (h) =>
    Effect.gen(function*() {
      yield* h.put("{}")
      const lease = yield* take(yield* h.consumer())
      const { id, queue } = JSON.parse(JSON.stringify(lease))
      assert.deepStrictEqual([id, queue], [lease.id, lease.queue])
      assert.isBelow(inspect(lease, { depth: 10 }).length, 2000)
    }))

  test("reserve: the most urgent job of all queues of a consumer comes first", (h) =>
    Effect.gen(function*() {
      const [a, b] = [uniqueQueue(), uniqueQueue()]
      yield* h.put("3", { queue: a, priority: 3 })
      yield* h.put("2", { queue: b, priority: 2 })
      yield* h.put("1", { queue: a, priority: 1 })
      const leases = yield* takeMany(yield* h.consumer(a, b), 3)
      assert.deepStrictEqual(leases.map(text), ["1", "2", "3"])
    }))

  test("reserve: the longest waiting consumer is served first", (h) =>
    Effect.gen(function*() {
      const first = yield* h.reserveWaiting(yield* h.consumer(), 1, 1)
      const second = yield* h.reserveWaiting(yield* h.consumer(), 1, 2)
      const third = yield* h.reserveWaiting(yield* h.consumer(), 1, 3)
      yield* h.put("a")
      assert.deepStrictEqual((yield* Fiber.join(first)).map(text), ["a"])
      assertRunning(second)
      yield* h.put("b")
      assert.deepStrictEqual((yield* Fiber.join(second)).map(text), ["b"])
      assertRunning(third)
      yield* h.put("c")
      assert.deepStrictEqual((yield* Fiber.join(third)).map(text), ["c"])
    }))

  test("reserve: a settlement does not wait for a waiting reserve", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("held")
      const lease = yield* take(consumer)
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* done(consumer, lease)
      assert.isTrue((yield* h.inspector.peek(id))._tag === "None")
      assertRunning(fiber)
      yield* h.put("next")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(text), ["next"])
    }))

  test("reserve: an interrupted call takes no job", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* Fiber.interrupt(fiber)
      yield* h.untilWaiting(0)
      yield* h.put("a")
      const other = yield* h.consumer()
      const lease = yield* take(other)
      yield* assertInfo(other, lease, { attempt: 1, abandoned: 0 })
      yield* done(other, lease)
      const again = yield* h.reserveWaiting(consumer, 1)
      yield* h.put("b")
      assert.deepStrictEqual((yield* Fiber.join(again)).map(text), ["b"])
    }))

  test("reserve: a job that meets an interruption is either delivered, or requeued at once", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const other = yield* h.consumer()
      for (let round = 0; round < 20; round++) {
        const received: Array<Lease> = []
        const fiber = yield* Effect.uninterruptibleMask((restore) =>
          Effect.map(restore(consumer.reserve(1)), (leases) => received.push(...leases))
        ).pipe(Effect.forkChild)
        yield* h.untilWaiting(1)
        const interrupt = Fiber.interrupt(fiber)
        const put = h.put(String(round))
        yield* Effect.all(round % 2 === 0 ? [interrupt, put] : [put, interrupt], { concurrency: 2 })
        if (received.length === 0) {
          const lease = yield* take(other)
          assert.strictEqual(text(lease), String(round))
          yield* assertInfo(other, lease, { attempt: 1, abandoned: 0 })
          yield* done(other, lease)
        } else {
          assert.deepStrictEqual(received.map(text), [String(round)])
          yield* done(consumer, received[0]!)
        }
      }
      assert.include(yield* h.stats(), { ready: 0, reserved: 0, total: 20 })
    }))

  test("consumer: closing it requeues its jobs at once, and spends no attempt", (h) =>
    Effect.gen(function*() {
      const { consumer, close } = yield* closable(h)
      for (const body of ["a", "b", "c"]) yield* h.put(body)
      yield* takeMany(consumer, 3)
      yield* close
      const other = yield* h.consumer()
      const leases = yield* takeMany(other, 3)
      assert.deepStrictEqual(leases.map(text), ["a", "b", "c"])
      for (const lease of leases) yield* assertInfo(other, lease, { attempt: 1, abandoned: 0 })
    }))

  test("consumer: the jobs of a closed consumer go to a waiting one", (h) =>
    Effect.gen(function*() {
      const { consumer, close } = yield* closable(h)
      yield* h.put("a")
      const lease = yield* take(consumer)
      const other = yield* h.consumer()
      const fiber = yield* h.reserveWaiting(other, 1)
      yield* close
      const [again] = yield* Fiber.join(fiber)
      assert.strictEqual(again.id, lease.id)
      yield* assertInfo(other, again, { attempt: 1, abandoned: 0 })
    }))

  test("consumer: a waiting consumer no longer counts once it is closed", (h) =>
    Effect.gen(function*() {
      const { consumer, close } = yield* closable(h)
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* close
      yield* h.untilWaiting(0)
      yield* Fiber.interrupt(fiber)
      yield* h.put("a")
      assert.strictEqual(text(yield* take(yield* h.consumer())), "a")
    }))

  test("consumer: settlements of a closed consumer fail", (h) =>
    Effect.gen(function*() {
      const { consumer, close } = yield* closable(h)
      const id = yield* h.put("a")
      const lease = yield* take(consumer)
      yield* close
      const results = yield* consumer.settle([{ _tag: "Delete", lease }])
      assert.strictEqual(results[0]?._tag, "Failure")
      assert.strictEqual((yield* h.inspector.peek(id))._tag, "Some")
    }))

  test("idleWorkers: counts waiting workers, not busy ones", (h) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* h.broker.idleWorkers(h.queue), 0)
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1, 1)
      const second = yield* h.reserveWaiting(yield* h.consumer(), 1, 2)
      assert.strictEqual((yield* h.stats()).idleWorkers, 2)
      yield* h.put("a")
      yield* Fiber.join(fiber)
      assert.strictEqual(yield* h.broker.idleWorkers(h.queue), 1)
      yield* Fiber.interrupt(second)
      yield* h.untilWaiting(0)
    }))

  test("load: 3 consumers get 5,000 jobs, each job once", (h) =>
    Effect.gen(function*() {
      const total = 5000
      const seen = new Map<string, number>()
      const work = (consumer: Consumer) =>
        Effect.gen(function*() {
          while (seen.size < total) {
            const leases = yield* consumer.reserve(64)
            for (const lease of leases) seen.set(text(lease), (seen.get(text(lease)) ?? 0) + 1)
            const results = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete" as const, lease })))
            assert.isTrue(results.every((result) => result._tag === "Success"))
          }
        })
      const consumers = yield* Effect.all([h.consumer(), h.consumer(), h.consumer()])
      const publish = Effect.forEach(Array.from({ length: total }, (_, i) => String(i)), (body) => h.put(body), {
        concurrency: 50,
        discard: true
      })
      // The fiber that takes the last job ends the other fibers, which wait.
      yield* Effect.all([publish, Effect.raceAll(consumers.map(work))], { concurrency: 2 })
      assert.strictEqual(seen.size, total)
      assert.isTrue(Array.from(seen.values()).every((times) => times === 1))
      assert.strictEqual((yield* h.stats()).total, total)
    }))
}
