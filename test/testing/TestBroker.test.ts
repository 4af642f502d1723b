import { assert, describe, it, layer } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Broker, putRequest } from "../../src/Broker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"

const Mail = Job.make("mail", {
  payload: Schema.Struct({ to: Schema.String }),
  retry: Schedule.spaced("10 seconds").pipe(Schedule.upTo({ times: 1 }))
})
const Other = Job.make("other", { payload: Schema.Date, queue: "mail" })

const tags = (outcomes: ReadonlyArray<{ readonly _tag: string }>) => outcomes.map((outcome) => outcome._tag)

describe("TestBroker", () => {
  it.effect("shows the decoded jobs and their state", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(Mail, { to: "a" }, { id: "1", priority: 7, ttr: "5 seconds" })
      yield* Publisher.publishAll(Mail, [{ to: "b" }, { to: "c" }], (_, index) => ({ delay: `${index + 1} seconds` }))
      yield* Publisher.publish(Other, new Date(0))
      yield* Publisher.publish(Mail, { to: "elsewhere" }, { queue: "elsewhere" })

      const waiting = yield* TestBroker.enqueued(Mail)
      assert.deepStrictEqual(waiting.map((job) => job.payload.to), ["a", "b", "c"])
      assert.deepStrictEqual(waiting.map((job) => Duration.toMillis(job.delay)), [0, 1000, 2000])
      assert.include(waiting[0], { id: "1", queue: "mail", state: "ready", priority: 7, attempt: 0 })
      assert.strictEqual(Duration.toSeconds(waiting[0]!.ttr), 5)

      assert.deepStrictEqual((yield* TestBroker.enqueued(Mail, { state: "ready" })).map((job) => job.payload.to), ["a"])
      assert.strictEqual((yield* TestBroker.enqueued(Mail, { queue: "elsewhere" })).length, 1)
      assert.deepStrictEqual((yield* TestBroker.enqueued(Other)).map((job) => job.payload), [new Date(0)])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("ignores bodies without a known job", () =>
    Effect.gen(function*() {
      const broker = yield* Broker
      yield* broker.put("mail", Result.getOrThrow(putRequest(Buffer.from("garbage"))))
      assert.deepStrictEqual(yield* TestBroker.enqueued(Mail), [])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("drains the ready jobs and the jobs that they publish, in order", () =>
    Effect.gen(function*() {
      const done: Array<string> = []
      const handler = Worker.handler(Mail, ({ to }) =>
        Effect.gen(function*() {
          done.push(to)
          if (to === "a") yield* Publisher.publish(Mail, { to: "from a" })
        }))
      yield* Publisher.publishAll(Mail, [{ to: "a" }, { to: "b" }])
      yield* Publisher.publish(Mail, { to: "later" }, { delay: "1 minute" })
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), ["Done", "Done", "Done"])
      assert.deepStrictEqual(done, ["a", "b", "from a"])
      assert.deepStrictEqual((yield* TestBroker.enqueued(Mail)).map((job) => job.payload.to), ["later"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("drains nothing if no job is ready", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* TestBroker.drain(Worker.handler(Mail, () => Effect.void)), [])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("ignores a paused queue", () =>
    Effect.gen(function*() {
      const inspector = yield* Inspector
      const handler = Worker.handler(Mail, () => Effect.void)
      yield* Publisher.publish(Mail, { to: "a" })
      yield* inspector.pause("mail", Duration.minutes(1))
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), [])
      yield* TestBroker.advance("1 minute")
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), ["Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("runs retries after their delay, and shows the reason of a buried job", () =>
    Effect.gen(function*() {
      const handler = Worker.handler(Mail, () => Effect.fail("no route"))
      yield* Publisher.publish(Mail, { to: "a" })
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), ["Retried"])
      yield* TestBroker.advance("9999 millis")
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), [])
      yield* TestBroker.advance("1 millis")
      assert.deepStrictEqual(tags(yield* TestBroker.drain(handler)), ["Buried"])
      assert.deepStrictEqual(yield* TestBroker.enqueued(Mail), [])
      const [buried] = yield* TestBroker.enqueued(Mail, { state: "buried" })
      assert.include(buried, { reason: "attempt 2 was the last: no route", attempt: 2 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("waits for handlers that sleep on the TestClock", () =>
    Effect.gen(function*() {
      yield* Publisher.publishAll(Mail, [{ to: "a" }, { to: "b" }])
      const drain = yield* TestBroker.drainWith(
        { concurrency: 2 },
        Worker.handler(Mail, () => Effect.sleep("1 hour"))
      ).pipe(Effect.forkChild)
      yield* TestBroker.advance("1 hour")
      assert.deepStrictEqual((yield* Fiber.join(drain)).map(({ _tag, duration }) => [_tag, duration]), [
        ["Done", 3_600_000],
        ["Done", 3_600_000]
      ])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("serves several jobs and queues", () =>
    Effect.gen(function*() {
      const Third = Job.make("third", { payload: Schema.Int })
      yield* Publisher.publish(Mail, { to: "a" })
      yield* Publisher.publish(Other, new Date(0))
      yield* Publisher.publish(Third, 3)
      const outcomes = yield* TestBroker.drain(
        Worker.handler(Mail, () => Effect.succeed("mail")),
        Worker.handler(Other, (date) => Effect.succeed(date)),
        Worker.handler(Third, (n) => Effect.succeed(n))
      )
      assert.deepStrictEqual(outcomes.map((outcome) => "result" in outcome && outcome.result), [
        "mail",
        new Date(0),
        3
      ])
    }).pipe(Effect.provide(TestBroker.layer)))
})

layer(TestBroker.layer)("TestBroker for a block of tests", (it) => {
  it.effect("keeps the jobs of one test", () => Publisher.publish(Mail, { to: "a" }))

  it.effect("for the next test", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* TestBroker.enqueued(Mail)).length, 1)
    }))
})
