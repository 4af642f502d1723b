/** The rules about leases: how they end, and the counts of a job. */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Consumer, type Lease, maxDelay } from "../../src/Broker.ts"
import {
  assertFails,
  assertInfo,
  assertRunning,
  bury,
  done,
  info,
  reasonOf,
  release,
  requeue,
  take,
  takeMany,
  type Test,
  text,
  touch
} from "./Harness.ts"

/** Every way to settle or keep a lease but deleting its job. */
const uses: ReadonlyArray<readonly [string, (consumer: Consumer, lease: Lease) => ReturnType<typeof touch>]> = [
  ["release", (consumer, lease) => release(consumer, lease)],
  ["bury", (consumer, lease) => bury(consumer, lease)],
  ["requeue", requeue],
  ["touch", touch]
]

const allUses = [...uses, ["delete", done] as const]

/** Registers the tests. */
export const leases = (test: Test): void => {
  test("delete: the job is gone", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      yield* done(consumer, yield* take(consumer))
      assert.isTrue(Option.isNone(yield* h.inspector.peek(id)))
      assert.include(yield* h.stats(), { ready: 0, delayed: 0, reserved: 0, buried: 0, total: 1 })
    }))

  test("release: without a delay the job is ready at once, before younger ones of its priority", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      yield* h.put("b")
      const lease = yield* take(consumer)
      yield* release(consumer, lease)
      const again = yield* take(consumer)
      assert.strictEqual(again.id, lease.id)
      assert.strictEqual(text(again), "a")
      yield* assertInfo(consumer, again, { attempt: 2, abandoned: 0 })
    }))

  test("release: with a delay the job is ready at its end, not before", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      const lease = yield* take(consumer)
      const began = yield* Clock.currentTimeMillis
      yield* release(consumer, lease, { delay: "2 seconds" })
      const stats = yield* h.inspector.statsJob(id)
      assert.strictEqual(stats.state, "delayed")
      assert.isAtMost(Duration.toMillis(stats.timeLeft), 2000)
      const fiber = yield* h.reserveWaiting(consumer, 1)
      const [again] = yield* h.endOf(fiber, began)
      assert.strictEqual(again.id, id)
      yield* assertInfo(consumer, again, { attempt: 2, abandoned: 0 })
    }))

  test("release: the job keeps its priority unless a new one is given", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a", { priority: 7 })
      yield* release(consumer, yield* take(consumer))
      assert.strictEqual((yield* h.inspector.statsJob(id)).priority, 7)
      yield* h.put("b", { priority: 8 })
      const lease = yield* take(consumer)
      assert.strictEqual(lease.id, id)
      assert.strictEqual((yield* info(consumer, lease)).priority, 7)
      yield* release(consumer, lease, { priority: 9 })
      assert.strictEqual((yield* h.inspector.statsJob(id)).priority, 9)
      assert.deepStrictEqual((yield* takeMany(consumer, 2)).map(text), ["b", "a"])
    }))

  test("release: a delay that is too long or negative is refused, and the lease stays", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      const lease = yield* take(consumer)
      for (const delay of [Duration.infinity, Duration.days(365 * 300), Duration.seconds(-1)]) {
        yield* assertFails(release(consumer, lease, { delay }), "OptionInvalid")
      }
      assert.strictEqual((yield* h.inspector.statsJob(id)).state, "reserved")
      yield* release(consumer, lease, { delay: maxDelay })
      assert.strictEqual((yield* h.inspector.statsJob(id)).state, "delayed")
    }))

  test("release: wakes a waiting consumer", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      const lease = yield* take(consumer)
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1)
      yield* release(consumer, lease)
      assert.strictEqual((yield* Fiber.join(fiber))[0].id, lease.id)
    }))

  test("bury: the job waits for a kick, with its reason if the broker keeps reasons", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      yield* bury(consumer, yield* take(consumer), "broken beyond repair")
      const stats = yield* h.inspector.statsJob(id)
      assert.strictEqual(stats.state, "buried")
      assert.strictEqual(stats.reason, h.broker.features.keepsReasons ? "broken beyond repair" : undefined)
      assert.include(yield* h.stats(), { ready: 0, reserved: 0, buried: 1 })
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* h.aWhile
      assertRunning(fiber)
      assert.strictEqual(yield* h.inspector.kick(h.queue, 10), 1)
      const [again] = yield* Fiber.join(fiber)
      assert.strictEqual(again.id, id)
      // The kick forgives the attempt that was spent.
      yield* assertInfo(consumer, again, { attempt: 1, abandoned: 0 })
    }))

  test("bury: the job keeps its priority unless a new one is given", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a", { priority: 7 })
      yield* bury(consumer, yield* take(consumer))
      assert.strictEqual((yield* h.inspector.statsJob(id)).priority, 7)
      yield* h.inspector.kickJob(id)
      const lease = yield* take(consumer)
      yield* consumer.settle([{ _tag: "Bury", lease, reason: "again", priority: 3 }])
      assert.strictEqual((yield* h.inspector.statsJob(id)).priority, 3)
    }))

  test("requeue: the job is ready at once, and counts neither an attempt nor an abandoned delivery", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a", { priority: 7 })
      for (let i = 0; i < 3; i++) {
        const lease = yield* take(consumer)
        yield* assertInfo(consumer, lease, { attempt: 1, abandoned: 0 })
        yield* requeue(consumer, lease)
        assert.include(yield* h.inspector.statsJob(id), { state: "ready", priority: 7 })
      }
      yield* release(consumer, yield* take(consumer))
      const second = yield* take(consumer)
      yield* assertInfo(consumer, second, { attempt: 2, abandoned: 0 })
      yield* requeue(consumer, second)
      yield* assertInfo(consumer, yield* take(consumer), { attempt: 2, abandoned: 0 })
    }))

  test("attempt: each release spends one", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      for (let attempt = 1; attempt <= 4; attempt++) {
        const lease = yield* take(consumer)
        yield* assertInfo(consumer, lease, { attempt, abandoned: 0 })
        yield* release(consumer, lease)
      }
    }))

  test("settle: the results are in the order of the settlements", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (const body of ["a", "b", "c", "d", "e"]) yield* h.put(body)
      const [a, b, c, d, e] = yield* takeMany(consumer, 5)
      yield* done(consumer, b!)
      yield* done(consumer, d!)
      const results = yield* consumer.settle([
        { _tag: "Bury", lease: a!, reason: "x" },
        { _tag: "Delete", lease: b! },
        { _tag: "Release", lease: c!, delay: Duration.zero },
        { _tag: "Requeue", lease: d! },
        { _tag: "Delete", lease: e! }
      ])
      assert.deepStrictEqual(
        results.map((result) => Result.isSuccess(result) ? "ok" : result.failure.reason._tag),
        ["ok", "LeaseLost", "ok", "LeaseLost", "ok"]
      )
      assert.include(yield* h.stats(), { ready: 1, reserved: 0, buried: 1 })
    }))

  test("settle: no settlements have no results", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      assert.deepStrictEqual(yield* consumer.settle([]), [])
      assert.deepStrictEqual(yield* consumer.touch([]), [])
      assert.deepStrictEqual(yield* consumer.inspect([]), [])
    }))

  for (const [first, settleFirst] of [["delete", done] as const, ...uses.filter(([name]) => name !== "touch")]) {
    test(`settle: a lease is settled once; after ${first} everything fails with LeaseLost`, (h) =>
      Effect.gen(function*() {
        const consumer = yield* h.consumer()
        const id = yield* h.put("a")
        const lease = yield* take(consumer)
        yield* settleFirst(consumer, lease)
        const before = yield* Effect.option(h.inspector.statsJob(id))
        for (const [, use] of uses) yield* assertFails(use(consumer, lease), "LeaseLost")
        yield* assertFails(done(consumer, lease), "LeaseLost")
        const after = yield* Effect.option(h.inspector.statsJob(id))
        assert.deepStrictEqual(Option.map(after, (job) => job.state), Option.map(before, (job) => job.state))
      }))
  }

  test("settle: only its holder can use a lease", (h) =>
    Effect.gen(function*() {
      const holder = yield* h.consumer()
      const other = yield* h.consumer()
      const id = yield* h.put("a")
      const lease = yield* take(holder)
      for (const [, use] of allUses) yield* assertFails(use(other, lease), "LeaseLost")
      assert.strictEqual((yield* h.inspector.statsJob(id)).state, "reserved")
      yield* done(holder, lease)
    }))

  test("settle: an earlier lease is lost, even to the consumer that has the job again", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      const earlier = yield* take(consumer)
      yield* release(consumer, earlier)
      const lease = yield* take(consumer)
      assert.strictEqual(lease.id, id)
      for (const [, use] of allUses) yield* assertFails(use(consumer, earlier), "LeaseLost")
      yield* done(consumer, lease)
    }))

  test("settle: LeaseLost names the job and the queue", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      const lease = yield* take(consumer)
      yield* done(consumer, lease)
      assert.deepInclude({ ...yield* reasonOf(done(consumer, lease)) }, { queue: h.queue, id: lease.id })
    }))

  test("ttr: at its end the job is served again, as abandoned once, and its old lease is lost", (h) =>
    Effect.gen(function*() {
      const slow = yield* h.consumer()
      const other = yield* h.consumer()
      yield* h.put("a", { ttr: "2 seconds" })
      const began = yield* Clock.currentTimeMillis
      const lease = yield* take(slow)
      yield* assertInfo(slow, lease, { attempt: 1, abandoned: 0 })
      const fiber = yield* h.reserveWaiting(other, 1)
      const [again] = yield* h.endOf(fiber, began)
      assert.strictEqual(again.id, lease.id)
      yield* assertInfo(other, again, { attempt: 2, abandoned: 1 })
      for (const [, use] of allUses) yield* assertFails(use(slow, lease), "LeaseLost")
      yield* done(other, again)
    }))

  for (const [name, use] of uses) {
    test(`ttr: after its end ${name} fails with LeaseLost, even if no consumer has the job yet`, (h) =>
      Effect.gen(function*() {
        const consumer = yield* h.consumer()
        const id = yield* h.put("a", { ttr: "1 second" })
        const lease = yield* take(consumer)
        yield* h.pass("1 second")
        yield* h.until(h.stats(), (stats) => stats.ready === 1)
        yield* assertFails(use(consumer, lease), "LeaseLost")
        assert.strictEqual((yield* h.inspector.statsJob(id)).state, "ready")
      }))
  }

  test("ttr: after its end delete still has a true result, if no consumer has the job yet", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a", { ttr: "1 second" })
      const lease = yield* take(consumer)
      yield* h.pass("1 second")
      yield* h.until(h.stats(), (stats) => stats.ready === 1)
      const result = yield* Effect.result(done(consumer, lease))
      if (Result.isFailure(result)) assert.strictEqual(result.failure.reason._tag, "LeaseLost")
      assert.strictEqual(Option.isNone(yield* h.inspector.peek(id)), Result.isSuccess(result))
    }))

  test("ttr: a waiting consumer gets its own expired job again", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a", { ttr: "1 second" })
      const lease = yield* take(consumer)
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* h.pass("1 second")
      const [again] = yield* Fiber.join(fiber)
      assert.strictEqual(again.id, lease.id)
      yield* assertInfo(consumer, again, { attempt: 2, abandoned: 1 })
      yield* done(consumer, again)
    }))

  test("ttr: abandoned deliveries add up", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a", { ttr: "1 second" })
      for (let abandoned = 0; abandoned < 3; abandoned++) {
        const lease = yield* take(consumer)
        yield* assertInfo(consumer, lease, { attempt: abandoned + 1, abandoned })
        yield* h.pass("1 second")
        yield* h.until(h.stats(), (stats) => stats.ready === 1)
      }
      const lease = yield* take(consumer)
      yield* release(consumer, lease)
      yield* assertInfo(consumer, yield* take(consumer), { attempt: 5, abandoned: 3 })
    }))

  test("ttr: each job of a batch has its own ttr", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("short", { ttr: "1 second" })
      yield* h.put("long", { ttr: "60 seconds" })
      const [short, long] = yield* takeMany(consumer, 2)
      assert.strictEqual(Duration.toSeconds((yield* info(consumer, short!)).ttr), 1)
      assert.strictEqual(Duration.toSeconds((yield* info(consumer, long!)).ttr), 60)
      yield* h.pass("1 second")
      yield* h.until(h.stats(), (stats) => stats.ready === 1)
      assert.include(yield* h.stats(), { ready: 1, reserved: 1 })
      yield* done(consumer, long!)
    }))

  test("touch: restarts the time to run", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a", { ttr: "2 seconds" })
      const lease = yield* take(consumer)
      for (let i = 0; i < 3; i++) {
        yield* h.pass("1200 millis")
        yield* touch(consumer, lease)
      }
      assert.strictEqual((yield* h.inspector.statsJob(id)).state, "reserved")
      yield* done(consumer, lease)
      assert.isTrue(Option.isNone(yield* h.inspector.peek(id)))
    }))

  test("touch: returns for each lease, in order, whether it is held", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (const body of ["a", "b", "c"]) yield* h.put(body)
      const held = yield* takeMany(consumer, 3)
      yield* done(consumer, held[1]!)
      const results = yield* consumer.touch(held)
      assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true])
    }))

  test("inspect: has a result for each lease, in order", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a", { priority: 1, ttr: "10 seconds" })
      yield* h.put("b", { priority: 2, ttr: "20 seconds" })
      const held = yield* takeMany(consumer, 2)
      const answers = (yield* consumer.inspect(held)).map(Result.getOrThrow)
      assert.deepStrictEqual(
        answers.map((answer) => ({ ...answer, ttr: Duration.toSeconds(answer.ttr) })),
        [{ attempt: 1, abandoned: 0, buries: 0, priority: 1, ttr: 10 }, {
          attempt: 1,
          abandoned: 0,
          buries: 0,
          priority: 2,
          ttr: 20
        }]
      )
    }))
}
