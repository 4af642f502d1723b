/** Handlers that succeed, and limits in time. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"
import { type Handler, Job, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, isGone, only, pass, publish, putRaw, rest, start, worked } from "./harness.ts"

type Delivery = Handler.Delivery

describe("success", () => {
  it.effect("deletes the job, and reports the result", () =>
    Effect.gen(function*() {
      const id = yield* Publisher.publish(Count, 4, { id: "key", priority: 7, ttr: "9 seconds", deadline: "1 minute" })
      const worker = yield* start({}, worked)
      assert.include(only(worker, "Done"), {
        queue: "q",
        jobId: id,
        job: "count",
        id: "key",
        attempt: 1,
        duration: 0,
        result: 40
      })
      assert.isTrue(yield* isGone(id))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the outcome has the duration of the handler", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("90 seconds")))
      yield* pass("90 seconds")
      assert.strictEqual(only(worker, "Done").duration, 90_000)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the handler can copy and wrap the delivery, and keep it", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const kept: Array<Delivery> = []
      const worker = yield* start(
        {},
        Worker.handler(Count, (_, delivery) =>
          Effect.gen(function*() {
            kept.push(delivery)
            const copies: ReadonlyArray<Delivery> = [
              { ...delivery },
              Object.assign({}, delivery),
              new Proxy(delivery, {}),
              Object.create(delivery)
            ]
            return yield* Effect.forEach(copies, (copy) => Effect.all([copy.attempt, copy.isLost, copy.info]))
          }))
      )
      const { result } = only(worker, "Done")
      assert.deepStrictEqual((result as Array<Array<unknown>>).map(([attempt, isLost]) => [attempt, isLost]), [
        [1, false],
        [1, false],
        [1, false],
        [1, false]
      ])
      const [delivery] = kept
      const [attempt, again] = yield* Effect.all([delivery!.attempt, delivery!.attempt], { concurrency: "unbounded" })
      assert.deepStrictEqual([attempt, again, yield* delivery!.isLost], [1, 1, false])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a log of the delivery says which job it is, without its body", () =>
    Effect.gen(function*() {
      const jobId = yield* Publisher.publish(Count, 4, { id: "key" })
      const worker = yield* start(
        {},
        Worker.handler(Count, (_, delivery) => Effect.succeed([JSON.stringify(delivery), inspect(delivery)]))
      )
      const [json, shown] = only(worker, "Done").result as [string, string]
      assert.deepStrictEqual(JSON.parse(json), { id: "key", jobId, queue: "q", publishedAt: 0 })
      assert.notInclude(shown, "body")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the handler sees the delivery", () =>
    Effect.gen(function*() {
      yield* pass("5 seconds")
      const id = yield* Publisher.publish(Count, 4, { id: "key", priority: 7, ttr: "9 seconds", deadline: "1 minute" })
      const worker = yield* start(
        {},
        Worker.handler(Count, (_, { attempt, info, isLost, lease, ...delivery }) =>
          Effect.map(Effect.all({ attempt, info, isLost }), (asked) => ({ ...delivery, ...asked, leaseId: lease.id })))
      )
      assert.deepStrictEqual(only(worker, "Done").result, {
        id: "key",
        jobId: id,
        leaseId: id,
        queue: "q",
        publishedAt: 5000,
        expiresAt: 65_000,
        attempt: 1,
        info: { attempt: 1, abandoned: 0, buries: 0, priority: 7, ttr: Duration.seconds(9) },
        isLost: false
      })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("limits in time", () => {
  it.effect("an attempt that takes too long is interrupted and counts as failed", () =>
    Effect.gen(function*() {
      let interrupted = false
      const Slow = Job.make("slow", { payload: Schema.Int, timeout: "10 seconds" })
      yield* Publisher.publish(Slow, 1)
      const worker = yield* start(
        { timeout: "1 hour" },
        Worker.handler(Slow, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted = true)))
      )
      yield* pass("9999 millis")
      assert.isFalse(interrupted)
      yield* pass("1 millis")
      assert.isTrue(interrupted)
      const outcome = only(worker, "Retried")
      assert.include(outcome, { reason: "the attempt took longer than 10s", duration: 10_000 })
      assert.instanceOf(outcome.failure, Worker.AttemptTimeout)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the worker's limit is for jobs without one", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({ timeout: "10 seconds" }, Worker.handler(Count, () => Effect.never))
      yield* pass("10 seconds")
      assert.instanceOf(only(worker, "Retried").failure, Worker.AttemptTimeout)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an attempt that ends in time is not interrupted", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({ timeout: "10 seconds" }, Worker.handler(Count, () => Effect.sleep("9 seconds")))
      yield* pass("9 seconds")
      only(worker, "Done")
      yield* pass("1 minute")
      only(worker, "Done")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the limit begins with the handler, not with the lease", () =>
    Effect.gen(function*() {
      yield* publish(2)
      const worker = yield* start(
        { timeout: "10 seconds", concurrency: 1, prefetch: 1 },
        Worker.handler(Count, () => Effect.sleep("9 seconds"))
      )
      yield* pass("9 seconds")
      yield* pass("9 seconds")
      assert.deepStrictEqual(worker.tags(), ["Done", "Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job past its deadline is not run, and deleted as expired", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1, { deadline: "10 seconds" })
      yield* pass("10 seconds")
      const worker = yield* start({}, Worker.handler(Count, () => Effect.die("must not run")))
      assert.include(only(worker, "Expired"), { expiresAt: 10_000, duration: 0, id: worker.outcomes[0]!.id })
      assert.isTrue(yield* isGone(id!))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a deadline that comes while the job runs interrupts it", () =>
    Effect.gen(function*() {
      let interrupted = false
      const [id] = yield* publish(1, { deadline: "10 seconds" })
      const worker = yield* start(
        { timeout: "11 seconds" },
        Worker.handler(Count, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted = true)))
      )
      yield* pass("9999 millis")
      assert.isFalse(interrupted)
      yield* pass("1 millis")
      assert.isTrue(interrupted)
      assert.include(only(worker, "Expired"), { duration: 10_000 })
      assert.isTrue(yield* isGone(id!))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job that expires while it waits for a handler is not run", () =>
    Effect.gen(function*() {
      const run: Array<number> = []
      yield* publish(1)
      yield* Publisher.publish(Count, 1, { deadline: "10 seconds" })
      const worker = yield* start(
        { concurrency: 1, prefetch: 1 },
        Worker.handler(Count, (n) =>
          Effect.gen(function*() {
            run.push(n)
            yield* Effect.sleep("12 seconds")
          }))
      )
      yield* pass("12 seconds")
      assert.deepStrictEqual(run, [0])
      assert.deepStrictEqual([...worker.tags()].sort(), ["Done", "Expired"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a deadline far in the past or in the future is safe", () =>
    Effect.gen(function*() {
      const envelope = { backq: 1, id: "a", job: "count", payload: 1 }
      yield* putRaw("q", { ...envelope, expiresAt: -1e300 })
      yield* putRaw("q", { ...envelope, expiresAt: 1e300 })
      const worker = yield* start({}, worked)
      assert.deepStrictEqual([...worker.tags()].sort(), ["Done", "Expired"])
      yield* publish(1)
      yield* rest
      assert.strictEqual(worker.outcomes.length, 3)
    }).pipe(Effect.provide(TestBroker.layer)))
})
