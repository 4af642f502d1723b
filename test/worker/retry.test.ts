/** Handlers that fail: their jobs are tried again, buried or deleted. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type Failure, maxDelay } from "../../src/Broker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, isGone, only, pass, publish, rest, start, statsOf, worked } from "./harness.ts"

class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {}) {
  override get message() {
    return "no route"
  }
}

describe("failure", () => {
  it.effect("is tried again by the schedule, replayed from the stored attempt, and buried at its end", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const at: Array<number> = []
      const handler = Worker.handler(Count, (_, { attempt }) =>
        Effect.gen(function*() {
          at.push(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
          return yield* Effect.fail(`no luck in attempt ${yield* attempt}`)
        }))
      const drain = TestBroker.drain(handler)
      const [first] = yield* drain
      assert.deepInclude(first, { _tag: "Retried", attempt: 1, failure: "no luck in attempt 1", cause: undefined })
      assert.deepInclude(yield* statsOf(id!), {
        state: "delayed",
        reason: "no luck in attempt 1",
        lastFailure: { tag: "Failure", message: "no luck in attempt 1", at: 0 }
      })
      yield* pass("999 millis")
      assert.deepStrictEqual(yield* drain, [])
      yield* pass("1 millis")
      const [second] = yield* drain
      assert.deepInclude(second, { _tag: "Retried", attempt: 2 })
      yield* pass("2 seconds")
      const [third] = yield* drain
      const reason = "attempt 3 was the last: no luck in attempt 3"
      assert.deepInclude(third, { _tag: "Buried", attempt: 3, reason })
      assert.deepInclude(yield* statsOf(id!), { state: "buried", reason })
      assert.deepStrictEqual(at, [0, 1000, 3000])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job that was buried and kicked runs again", () =>
    Effect.gen(function*() {
      const inspector = yield* Inspector
      let well = false
      yield* publish(1)
      const handler = Worker.handler(Count, () => well ? Effect.void : Effect.fail("no"))
      const worker = yield* start({}, handler)
      yield* pass("1 second")
      yield* pass("2 seconds")
      assert.deepStrictEqual(worker.tags(), ["Retried", "Retried", "Buried"])
      well = true
      assert.strictEqual(yield* inspector.kick("q", 10), 1)
      yield* rest
      assert.deepStrictEqual(worker.tags(), ["Retried", "Retried", "Buried", "Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("Job.retryAfter overrides the schedule", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Job.retryAfter("30 seconds", "slow down", "429")))
      const outcome = only(worker, "Retried")
      assert.deepStrictEqual([outcome.delay, outcome.reason, outcome.failure], [
        Duration.seconds(30),
        "slow down",
        "429"
      ])
      assert.deepInclude(yield* statsOf(id!), { state: "delayed", reason: "slow down" })
      for (let i = 0; i < 5; i++) yield* pass("30 seconds")
      assert.deepStrictEqual(worker.tags(), Array.from({ length: 6 }, () => "Retried"))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a delay that is too long for brokers becomes the longest delay", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Job.retryAfter(Duration.infinity)))
      assert.deepInclude(yield* statsOf(id!), { state: "delayed", timeLeft: maxDelay })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("Job.bury buries with the reason", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Job.bury("no such user")))
      assert.include(only(worker, "Buried"), { reason: "no such user" })
      assert.include(yield* statsOf(id!), { state: "buried", reason: "no such user" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("Job.discard deletes", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Job.discard("unsubscribed")))
      assert.include(only(worker, "Discarded"), { reason: "unsubscribed" })
      assert.isTrue(yield* isGone(id!))
    }).pipe(Effect.provide(TestBroker.layer)))

  const defects: ReadonlyArray<
    readonly [string, () => Effect.Effect<void, Unreachable>, string, Failure]
  > = [
    [
      "a defect",
      () => Effect.die(new TypeError("x is undefined")),
      "defect: TypeError: x is undefined",
      { tag: "TypeError", message: "x is undefined" }
    ],
    [
      "a handler that throws",
      () => {
        throw new RangeError("too far")
      },
      "defect: RangeError: too far",
      { tag: "RangeError", message: "too far" }
    ],
    [
      "a handler that does not return an Effect",
      () => undefined as any,
      "defect: Error: the handler must return an Effect, and did not",
      { tag: "Error", message: "the handler must return an Effect, and did not" }
    ],
    [
      "a failure",
      () => Effect.fail(new Unreachable()),
      "Unreachable: no route",
      { tag: "Unreachable", message: "no route" }
    ],
    [
      "an interruption by the handler itself",
      () => Effect.interrupt,
      "the handler interrupted itself",
      { tag: "Error", message: "All fibers interrupted without error" }
    ]
  ]

  it.effect.each(defects)("%s counts as a failure", ([, run, reason, failure]) =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, run))
      const outcome = only(worker, "Retried")
      assert.strictEqual(outcome.reason, reason)
      assert.strictEqual(outcome.cause !== undefined, reason.startsWith("defect"))
      assert.deepStrictEqual(outcome.delay, Duration.seconds(1))
      assert.deepStrictEqual((yield* statsOf(id!)).lastFailure, { ...failure, at: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a failing schedule buries the job, and the worker continues", () =>
    Effect.gen(function*() {
      const Odd = Job.make("odd", {
        payload: Schema.Int,
        retry: Schedule.forever.pipe(
          Schedule.while(() => {
            throw new Error("no sense")
          })
        )
      })
      const id = yield* Publisher.publish(Odd, 1)
      yield* publish(1)
      const worker = yield* start({ concurrency: 1 }, Worker.handler(Odd, () => Effect.fail("no")), worked)
      assert.deepStrictEqual([...worker.tags()].sort(), ["Buried", "Done"])
      assert.match((yield* statsOf(id)).reason!, /schedule/)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a failing job does not affect the others", () =>
    Effect.gen(function*() {
      yield* publish(20)
      const worker = yield* start(
        { concurrency: 20 },
        Worker.handler(Count, (n) => n % 2 === 0 ? Effect.fail("even") : Effect.sleep("1 second"))
      )
      yield* pass("1 second")
      assert.strictEqual(worker.tags().filter((tag) => tag === "Done").length, 10)
    }).pipe(Effect.provide(TestBroker.layer)))
})
