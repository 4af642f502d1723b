/** The rules about an operator's actions and views. */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type JobId, maxDelay } from "../../src/Broker.ts"
import {
  assertFails,
  assertInfo,
  assertRunning,
  bury,
  done,
  type Harness,
  release,
  take,
  takeMany,
  type Test,
  text,
  uniqueQueue
} from "./Harness.ts"

/** One job in each state. */
const oneOfEach = Effect.fnUntraced(function*(h: Harness) {
  const consumer = yield* h.consumer()
  const buried = yield* h.put("buried")
  yield* bury(consumer, yield* take(consumer))
  const reserved = yield* h.put("reserved")
  const lease = yield* take(consumer)
  const delayed = yield* h.put("delayed", { delay: "100 seconds" })
  const ready = yield* h.put("ready")
  return { consumer, lease, ready, delayed, reserved, buried }
})

/** An id that the broker knew once. */
const formerId = Effect.fnUntraced(function*(h: Harness) {
  const id = yield* h.put("former")
  yield* h.inspector.delete(id)
  return id
})

const bodyOf = (job: Option.Option<{ readonly body: Uint8Array }>) => Option.getOrUndefined(Option.map(job, text))

const peeking = (test: Test) => {
  test("peek: shows a job in any state", (h) =>
    Effect.gen(function*() {
      const jobs = yield* oneOfEach(h)
      for (const state of ["ready", "delayed", "reserved", "buried"] as const) {
        const job = yield* h.inspector.peek(jobs[state])
        assert.strictEqual(bodyOf(job), state)
        assert.strictEqual(Option.getOrThrow(job).id, jobs[state])
      }
      assert.isTrue(Option.isNone(yield* h.inspector.peek(yield* formerId(h))))
    }))

  test("peekNext: shows the next job in a state, and changes nothing", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (const state of ["ready", "delayed", "buried"] as const) {
        assert.isTrue(Option.isNone(yield* h.inspector.peekNext(h.queue, state)))
      }
      for (const body of ["buried first", "buried second"]) yield* h.put(body)
      const [first, second] = yield* takeMany(consumer, 2)
      yield* bury(consumer, second!)
      yield* bury(consumer, first!)
      yield* h.put("later", { delay: "200 seconds" })
      yield* h.put("sooner", { delay: "100 seconds", priority: 5000 })
      yield* h.put("old", { priority: 10 })
      yield* h.put("urgent", { priority: 5 })
      for (let i = 0; i < 2; i++) {
        assert.strictEqual(bodyOf(yield* h.inspector.peekNext(h.queue, "ready")), "urgent")
        assert.strictEqual(bodyOf(yield* h.inspector.peekNext(h.queue, "delayed")), "sooner")
        assert.strictEqual(bodyOf(yield* h.inspector.peekNext(h.queue, "buried")), "buried second")
      }
      assert.include(yield* h.stats(), { ready: 2, delayed: 2, reserved: 0, buried: 2 })
    }))

  test("peekNext: shows nothing of a queue that does not exist", (h) =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(yield* h.inspector.peekNext(h.queue, "ready")))
    }))
}

const deleting = (test: Test) => {
  for (const state of ["ready", "delayed", "buried"] as const) {
    test(`delete by id: deletes a ${state} job once`, (h) =>
      Effect.gen(function*() {
        const { [state]: id } = yield* oneOfEach(h)
        yield* h.inspector.delete(id)
        assert.isTrue(Option.isNone(yield* h.inspector.peek(id)))
        assert.strictEqual((yield* h.stats())[state], 0)
        yield* assertFails(h.inspector.delete(id), "NotFound")
      }))
  }

  test("delete by id: refuses a reserved job", (h) =>
    Effect.gen(function*() {
      const { consumer, lease, reserved } = yield* oneOfEach(h)
      yield* assertFails(h.inspector.delete(reserved), "NotFound")
      yield* done(consumer, lease)
    }))

  test("delete by id: a deleted job is not served", (h) =>
    Effect.gen(function*() {
      const [a, b] = [yield* h.put("a"), yield* h.put("b")]
      yield* h.inspector.delete(a)
      assert.strictEqual((yield* take(yield* h.consumer())).id, b)
    }))
}

const kicking = (test: Test) => {
  test("kick: makes buried jobs ready, the oldest burial first, and delayed jobs only if no job is buried", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (const body of ["a", "b", "c"]) yield* h.put(body)
      const [a, b, c] = yield* takeMany(consumer, 3)
      for (const lease of [c, a, b]) yield* bury(consumer, lease!)
      yield* h.put("later", { delay: "200 seconds" })
      yield* h.put("sooner", { delay: "100 seconds" })
      assert.strictEqual(yield* h.inspector.kick(h.queue, 1), 1)
      assert.strictEqual(text(yield* take(consumer)), "c")
      assert.strictEqual(yield* h.inspector.kick(h.queue, 10), 2)
      assert.deepStrictEqual((yield* takeMany(consumer, 2)).map(text), ["a", "b"])
      assert.include(yield* h.stats(), { delayed: 2, buried: 0 })
      assert.strictEqual(yield* h.inspector.kick(h.queue, 1), 1)
      assert.strictEqual(text(yield* take(consumer)), "sooner")
      assert.strictEqual(yield* h.inspector.kick(h.queue, 10), 1)
      assert.strictEqual(text(yield* take(consumer)), "later")
      assert.strictEqual(yield* h.inspector.kick(h.queue, 10), 0)
    }))

  test("kick: leaves other queues alone", (h) =>
    Effect.gen(function*() {
      const other = uniqueQueue()
      yield* h.put("a", { queue: other, delay: "100 seconds" })
      assert.strictEqual(yield* h.inspector.kick(h.queue, 10), 0)
      assert.include(yield* h.stats(other), { ready: 0, delayed: 1 })
    }))

  test("kick: refuses a limit below 1, and a fraction", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("a", { delay: "100 seconds" })
      for (const max of [0, -1, 1.5, NaN]) yield* assertFails(h.inspector.kick(h.queue, max), "OptionInvalid")
      assert.strictEqual((yield* h.inspector.statsJob(id)).state, "delayed")
    }))

  test("kick: allows one more attempt", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      yield* release(consumer, yield* take(consumer))
      yield* release(consumer, yield* take(consumer))
      const third = yield* take(consumer)
      yield* assertInfo(consumer, third, { attempt: 3, abandoned: 0 })
      yield* bury(consumer, third)
      yield* h.inspector.kickJob(id)
      yield* assertInfo(consumer, yield* take(consumer), { attempt: 3, abandoned: 0 })
    }))

  test("kickJob: makes buried and delayed jobs ready, and no others", (h) =>
    Effect.gen(function*() {
      const { buried, delayed, ready, reserved } = yield* oneOfEach(h)
      for (const id of [ready, reserved, yield* formerId(h)]) yield* assertFails(h.inspector.kickJob(id), "NotFound")
      for (const id of [buried, delayed]) {
        yield* h.inspector.kickJob(id)
        assert.strictEqual((yield* h.inspector.statsJob(id)).state, "ready")
        yield* assertFails(h.inspector.kickJob(id), "NotFound")
      }
      assert.include(yield* h.stats(), { ready: 3, delayed: 0, reserved: 1, buried: 0 })
    }))

  test("kickJob: wakes a waiting consumer", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("a", { delay: "100 seconds" })
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1)
      yield* h.inspector.kickJob(id)
      assert.strictEqual((yield* Fiber.join(fiber))[0].id, id)
    }))
}

const pausing = (test: Test) => {
  test("pause: a paused queue serves no job until it is resumed", (h) =>
    Effect.gen(function*() {
      yield* h.put("a")
      yield* h.inspector.pause(h.queue, Duration.seconds(100))
      const stats = yield* h.stats()
      assert.include(stats, { ready: 1, reserved: 0 })
      assert.isAbove(Duration.toSeconds(stats.pausedFor), 98)
      assert.isAtMost(Duration.toSeconds(stats.pausedFor), 100)
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1)
      yield* h.put("b", { priority: 0 })
      yield* h.aWhile
      assertRunning(fiber)
      yield* h.inspector.resume(h.queue)
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(text), ["b"])
      assert.strictEqual(Duration.toMillis((yield* h.stats()).pausedFor), 0)
    }))

  test("pause: ends by itself after its duration, not before", (h) =>
    Effect.gen(function*() {
      yield* h.put("a")
      const began = yield* Clock.currentTimeMillis
      yield* h.inspector.pause(h.queue, Duration.seconds(2))
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1)
      assert.deepStrictEqual((yield* h.endOf(fiber, began)).map(text), ["a"])
    }))

  test("pause: a consumer is served from its other queues", (h) =>
    Effect.gen(function*() {
      const [paused, other] = [uniqueQueue(), uniqueQueue()]
      yield* h.put("paused", { queue: paused, priority: 0 })
      yield* h.put("other", { queue: other })
      yield* h.inspector.pause(paused, Duration.seconds(100))
      const consumer = yield* h.consumer(paused, other)
      assert.strictEqual(text(yield* take(consumer)), "other")
      yield* h.inspector.resume(paused)
      assert.strictEqual(text(yield* take(consumer)), "paused")
    }))

  test("pause: held jobs can be settled", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      yield* h.put("b")
      const [a, b] = yield* takeMany(consumer, 2)
      yield* h.inspector.pause(h.queue, Duration.seconds(100))
      yield* done(consumer, a!)
      yield* release(consumer, b!)
      assert.include(yield* h.stats(), { ready: 1, reserved: 0 })
    }))

  test("pause: refuses a duration that is too long or negative", (h) =>
    Effect.gen(function*() {
      yield* h.put("a")
      const longer = Duration.sum(maxDelay, Duration.seconds(1))
      for (const duration of [Duration.infinity, longer, Duration.days(365 * 300), Duration.seconds(-1)]) {
        yield* assertFails(h.inspector.pause(h.queue, duration), "OptionInvalid")
      }
      assert.include(yield* h.stats(), { ready: 1 })
      yield* h.inspector.pause(h.queue, maxDelay)
      assert.isAbove(Duration.toSeconds((yield* h.stats()).pausedFor), Duration.toSeconds(maxDelay) - 20)
      yield* h.inspector.resume(h.queue)
      assert.strictEqual(text(yield* take(yield* h.consumer())), "a")
    }))

  test("resume: a queue that is not paused stays as it is", (h) =>
    Effect.gen(function*() {
      yield* h.put("a")
      yield* h.inspector.resume(h.queue)
      assert.strictEqual(text(yield* take(yield* h.consumer())), "a")
    }))
}

const counting = (test: Test) => {
  test("statsQueue: counts jobs by state", (h) =>
    Effect.gen(function*() {
      yield* oneOfEach(h)
      const stats = yield* h.stats()
      assert.include(stats, {
        queue: h.queue,
        ready: 1,
        delayed: 1,
        reserved: 1,
        buried: 1,
        idleWorkers: 0,
        total: 4
      })
      assert.strictEqual(Duration.toMillis(stats.pausedFor), 0)
    }))

  test("statsQueue: a queue exists while it is in use", (h) =>
    Effect.gen(function*() {
      yield* assertFails(h.stats(), "NotFound")
      const id = yield* h.put("a")
      assert.strictEqual((yield* h.stats()).ready, 1)
      assert.include(yield* h.inspector.queues, h.queue)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* h.consumer()
        yield* h.inspector.delete(id)
        assert.include(yield* h.stats(), { ready: 0, total: 1 })
      }))
      const gone = Effect.map(h.inspector.queues, (queues) => !queues.includes(h.queue))
      yield* h.until(gone, (gone) => gone)
      yield* assertFails(h.stats(), "NotFound")
    }))

  test("statsJob: describes a job in each state", (h) =>
    Effect.gen(function*() {
      const jobs = yield* oneOfEach(h)
      for (const state of ["ready", "delayed", "reserved", "buried"] as const) {
        const stats = yield* h.inspector.statsJob(jobs[state])
        assert.include(stats, { id: jobs[state], queue: h.queue, state, priority: 1024, abandoned: 0 })
        assert.strictEqual(Duration.toSeconds(stats.ttr), 60)
        assert.isBelow(Duration.toSeconds(stats.age), 20)
        const timeLeft = Duration.toSeconds(stats.timeLeft)
        const longest = { ready: 0, delayed: 100, reserved: 60, buried: 0 }[state]
        assert.isAtMost(timeLeft, longest)
        assert.isAtLeast(timeLeft, Math.max(0, longest - 20))
      }
      yield* assertFails(h.inspector.statsJob(yield* formerId(h)), "NotFound")
      yield* assertFails(h.inspector.delete("not an id" as JobId), "NotFound")
    }))

  test("statsJob: the age of a job grows", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("a")
      yield* h.pass("2 seconds")
      assert.isAtLeast(Duration.toSeconds((yield* h.inspector.statsJob(id)).age), h.time === "virtual" ? 2 : 1)
    }))

  test("stats: has the sums over all queues, and the limit", (h) =>
    Effect.gen(function*() {
      yield* oneOfEach(h)
      const waiting = yield* h.consumer(uniqueQueue())
      const fiber = yield* Effect.forkChild(waiting.reserve(1))
      yield* h.until(h.inspector.stats, (stats) => stats.idleWorkers >= 1)
      const stats = yield* h.inspector.stats
      for (const state of ["ready", "delayed", "reserved", "buried"] as const) assert.isAtLeast(stats[state], 1)
      assert.isAtLeast(stats.maxJobSize, 1024)
      assert.isFalse(stats.draining)
      assert.isAtLeast(Duration.toMillis(stats.uptime), 0)
      assert.isAbove(stats.version.length, 0)
      yield* Fiber.interrupt(fiber)
    }))

  test("queues: lists every queue once", (h) =>
    Effect.gen(function*() {
      const names = [uniqueQueue(), uniqueQueue(), uniqueQueue()]
      for (const queue of names) yield* h.put("a", { queue })
      const queues = yield* h.inspector.queues
      for (const name of names) assert.strictEqual(queues.filter((queue) => queue === name).length, 1)
    }))

  test("ping: succeeds", (h) => h.broker.ping)
}

/** Registers the tests. */
export const operating = (test: Test): void => {
  peeking(test)
  deleting(test)
  kicking(test)
  pausing(test)
  counting(test)
}
