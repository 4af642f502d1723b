/** What docs/moving.md and docs/jobs.md say beside what other tests show. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Job, Operator, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { shown } from "../support/shown.ts"
import { Charge, handler, limiter } from "./limited.ts"
import { nightly, Report } from "./nightly.ts"

const Mail = Job.make("mail", {
  payload: Schema.Struct({ to: Schema.String }),
  retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
})

const tags = Effect.map(
  TestBroker.drain(Worker.handler(Mail, () => Effect.fail("no"))),
  (outcomes) => outcomes.map(({ _tag }) => _tag)
)

describe("docs/moving.md", () => {
  it.each(["nightly", "limited"])("shows the program that is tested: %s", (name) => {
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "moving.md"), "utf8")
    assert.include(page, "```ts\n" + shown(`test/moving/${name}.ts`) + "```\n")
  })

  it.effect("a nightly job has an id that names the night", () =>
    Effect.gen(function*() {
      yield* TestBroker.advance("50 hours")
      const jobs = yield* TestBroker.enqueued(Report)
      assert.deepStrictEqual(jobs.map(({ id, payload }) => [id, payload.day]), [
        ["report-1970-01-01", "1970-01-01"],
        ["report-1970-01-02", "1970-01-02"]
      ])
    }).pipe(Effect.provide(Layer.provideMerge(nightly, TestBroker.layer))))

  it.effect("a rate limit that spends no attempts", () =>
    Effect.gen(function*() {
      yield* Publisher.publishAll(Charge, Array.from({ length: 250 }, (_, i) => ({ invoice: `${i}` })))
      const ended: Array<string> = []
      const count = Worker.handler(Charge, (payload, delivery) =>
        Effect.tap(handler.run(payload, delivery), () =>
          Effect.sync(() => ended.push(payload.invoice))))
      const worker = yield* Effect.forkChild(TestBroker.drainWith({ concurrency: 300 }, count))
      yield* TestBroker.advance("1 second")
      assert.isAtMost(ended.length, 102)
      yield* TestBroker.advance("10 minutes")
      const outcomes = yield* Fiber.join(worker)
      assert.deepStrictEqual(
        new Set(outcomes.map(({ _tag }) =>
          _tag
        )),
        new Set(["Done"])
      )
      assert.lengthOf(ended, 250)
    }).pipe(Effect.provide(Layer.merge(TestBroker.layer, limiter))))

  it.effect("Job.retryAfter retries without a limit, and counts as an attempt", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(Mail, { to: "you" })
      for (let i = 0; i < 5; i++) {
        const [outcome] = yield* TestBroker.drain(Worker.handler(Mail, () => Effect.fail(Job.retryAfter("1 second"))))
        assert.strictEqual(outcome?._tag, "Retried")
        yield* TestBroker.advance("1 second")
      }
      assert.deepStrictEqual(yield* tags, ["Buried"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("publishing twice with the same id creates two jobs, and both run", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(Mail, { to: "you" }, { id: "once" })
      yield* Publisher.publish(Mail, { to: "me" }, { id: "once" })
      const seen: Array<readonly [string, string]> = []
      yield* TestBroker.drain(
        Worker.handler(Mail, ({ to }, { id }) => Effect.sync(() => seen.push([id, to])))
      )
      assert.deepStrictEqual(seen, [["once", "you"], ["once", "me"]])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a kick allows one more attempt, or as many as the schedule still has", () =>
    Effect.gen(function*() {
      const kick = Operator.kick("mail", 10)
      yield* Publisher.publish(Mail, { to: "you" })
      for (const expected of ["Retried", "Retried", "Buried"]) {
        assert.deepStrictEqual(yield* tags, [expected])
        yield* TestBroker.advance("1 second")
      }
      yield* kick
      assert.deepStrictEqual(yield* tags, ["Buried"])
      const [buried] = yield* TestBroker.enqueued(Mail, { state: "buried" })
      yield* Operator.delete(buried!.jobId)

      yield* Publisher.publish(Mail, { to: "you" })
      yield* TestBroker.drain(Worker.handler(Mail, () => Effect.fail(Job.bury("unknown"))))
      yield* kick
      for (const expected of ["Retried", "Retried", "Buried"]) {
        assert.deepStrictEqual(yield* tags, [expected])
        yield* TestBroker.advance("1 second")
      }
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("many jobs go in one round trip, with a result for each", () =>
    Effect.gen(function*() {
      const results = yield* Publisher.publishAll(
        Mail,
        [{ to: "you" }, { to: "me" }],
        ({ to }) => ({ id: `mail-${to}` })
      )
      assert.isTrue(results.every(Result.isSuccess))
      assert.deepStrictEqual((yield* TestBroker.enqueued(Mail)).map(({ id }) => id), ["mail-you", "mail-me"])
    }).pipe(Effect.provide(TestBroker.layer)))
})
