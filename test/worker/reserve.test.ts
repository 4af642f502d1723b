/** How many jobs a worker takes, and from which queues. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, layerConsumer, numbers, pass, publish, rest, start, worked } from "./harness.ts"

describe("concurrency", () => {
  it.effect("is never exceeded, and always used", () =>
    Effect.gen(function*() {
      let running = 0
      let most = 0
      const handler = Worker.handler(Count, (n) =>
        Effect.gen(function*() {
          most = Math.max(most, ++running)
          yield* Effect.sleep(Duration.millis(100 + (n % 5) * 50))
          running--
        }))
      yield* publish(50)
      const worker = yield* start({ concurrency: 4 }, handler)
      for (let i = 0; i < 12; i++) {
        yield* pass("50 millis")
        assert.isAtMost(running, 4)
      }
      assert.strictEqual(most, 4)
      yield* Effect.repeat(pass("50 millis"), { times: 60 })
      assert.strictEqual(worker.outcomes.length, 50)
      assert.strictEqual(most, 4)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a worker takes a lease only for a free handler", () =>
    Effect.gen(function*() {
      yield* publish(10)
      yield* start({ concurrency: 3 }, Worker.handler(Count, () => Effect.sleep("1 second")))
      assert.deepStrictEqual(yield* numbers(), { ready: 7, delayed: 0, reserved: 3, buried: 0 })
      yield* pass("1 second")
      assert.deepStrictEqual(yield* numbers(), { ready: 4, delayed: 0, reserved: 3, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("unless prefetch allows more", () =>
    Effect.gen(function*() {
      const begun: Array<number> = []
      yield* publish(10)
      yield* start(
        { concurrency: 3, prefetch: 2 },
        Worker.handler(Count, (n) => Effect.andThen(Effect.sync(() => begun.push(n)), Effect.sleep("1 second")))
      )
      assert.deepStrictEqual(yield* numbers(), { ready: 5, delayed: 0, reserved: 5, buried: 0 })
      assert.deepStrictEqual(begun, [0, 1, 2])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect.each<readonly [when: string, end: Effect.Effect<void>]>([
    ["at once", Effect.void],
    ["later", Effect.yieldNow]
  ])(
    "a handler that ends %s is settled in the turn of the next reserve, so that both can leave in one write",
    ([, end]) => {
      let isTurnOfSettle = false
      const reserves: Array<boolean> = []
      const settling = Effect.sync(() => {
        isTurnOfSettle = true
        queueMicrotask(() => isTurnOfSettle = false)
      })
      return Effect.gen(function*() {
        yield* publish(4)
        yield* Worker.run({ concurrency: 1, maxJobs: 4 }, Worker.handler(Count, () => end))
        assert.deepStrictEqual(reserves, [false, true, true, true])
      }).pipe(Effect.provide(layerConsumer((consumer) => ({
        settle: (settlements) =>
          Effect.andThen(settling, Effect.andThen(Effect.yieldNow, consumer.settle(settlements))),
        reserve: (max) =>
          Effect.suspend(() => {
            reserves.push(isTurnOfSettle)
            return Effect.andThen(Effect.yieldNow, consumer.reserve(max))
          })
      }))))
    }
  )

  it.effect("a later job starts while others run", () =>
    Effect.gen(function*() {
      let begun = 0
      yield* publish(1)
      yield* start(
        { concurrency: 3 },
        Worker.handler(Count, () => Effect.andThen(Effect.sync(() => begun++), Effect.sleep("1 hour")))
      )
      yield* publish(1)
      yield* rest
      assert.strictEqual(begun, 2)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("any number of handlers that end at once does not overflow the stack", () =>
    Effect.gen(function*() {
      yield* publish(10_000)
      const outcomes = yield* TestBroker.drainWith({ concurrency: 1, prefetch: 10_000 }, worked)
      assert.strictEqual(outcomes.length, 10_000)
      assert.isTrue(outcomes.every((outcome) => outcome._tag === "Done"))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect.each<Worker.Options>([
    { concurrency: 0 },
    { concurrency: 1.5 },
    { concurrency: NaN },
    { prefetch: -1 },
    { maxJobs: -1 },
    { poisonLimit: 0 }
  ])(
    "refuses %j",
    (options) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Worker.run(options, worked))
        assert.strictEqual("option" in error.reason && error.reason.option, Object.keys(options)[0])
      }).pipe(Effect.provide(TestBroker.layer))
  )
})

describe("queues and handlers", () => {
  const A = Job.make("a", { payload: Schema.Int, queue: "one" })
  const B = Job.make("b", { payload: Schema.String, queue: "two" })
  const handlers = [
    Worker.handler(A, (n) => Effect.succeed(n)),
    Worker.handler(B, (text) => Effect.succeed(text))
  ] as const

  it.effect("a worker serves the queues of its handlers' jobs", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(A, 1)
      yield* Publisher.publish(B, "x")
      const worker = yield* start({}, ...handlers)
      assert.deepStrictEqual(worker.outcomes.map((outcome) => [outcome.queue, outcome.job]), [["one", "a"], [
        "two",
        "b"
      ]])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("or only the listed queues, and no others", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(A, 1, { queue: "three" })
      yield* Publisher.publish(B, "x", { queue: "three" })
      yield* Publisher.publish(B, "y", { queue: "default" })
      yield* Publisher.publish(A, 2)
      const worker = yield* start({ queue: ["three", "four"] }, ...handlers)
      yield* pass("1 hour")
      assert.deepStrictEqual(worker.outcomes.map((outcome) => [outcome.queue, outcome.job]), [
        ["three", "a"],
        ["three", "b"]
      ])
      assert.include(yield* numbers("one"), { ready: 1 })
      assert.include(yield* numbers("default"), { ready: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the most urgent job of all queues goes first", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(A, 1, { priority: 10 })
      yield* Publisher.publish(B, "urgent", { priority: 1 })
      const outcomes = yield* TestBroker.drain(...handlers)
      assert.deepStrictEqual(outcomes.map((outcome) => outcome.job), ["b", "a"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a worker without a queue is refused", () =>
    Effect.gen(function*() {
      const none = [] as unknown as readonly [string]
      const error = yield* Effect.flip(Worker.run({ queue: none }, ...handlers))
      assert.strictEqual(error.reason._tag, "OptionInvalid")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("two handlers for one job name are a defect", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Worker.run({}, handlers[0], handlers[0]))
      assert.match(String(exit), /only one for each job name/)
      assert.match(String(yield* Effect.exit(Worker.run({ queue: "q" }))), /at least one handler/)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an invalid queue name ends the worker with a typed error", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Worker.run({ queue: "a b" }, worked))
      assert.strictEqual(error.reason._tag, "QueueNameInvalid")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a handler that waits for another's job gets it", () =>
    Effect.gen(function*() {
      const answer = yield* Deferred.make<string>()
      yield* Publisher.publish(A, 1)
      yield* Publisher.publish(B, "x")
      const worker = yield* start(
        { concurrency: 2 },
        Worker.handler(A, () => Deferred.await(answer)),
        Worker.handler(B, (text) => Deferred.succeed(answer, text))
      )
      assert.deepStrictEqual([...worker.tags()], ["Done", "Done"])
    }).pipe(Effect.provide(TestBroker.layer)))
})
