/** The rules about a broker's features: a listed feature works, any other is refused. */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { assertFails, bury, done, release, type SuiteOptions, take, type Test, text, uniqueQueue } from "./Harness.ts"

/** Registers the tests. */
export const featureTests = (test: Test, { features }: SuiteOptions): void => {
  test("features: both services have the expected value", (h) =>
    Effect.sync(() => {
      assert.deepStrictEqual(h.broker.features, features)
      assert.deepStrictEqual(h.inspector.features, features)
      assert.strictEqual(h.inspector.name, h.broker.name)
    }))

  test(`features: times are rounded up to a ${features.resolution}`, (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("a", { ttr: "1500 millis" })
      const { ttr } = yield* h.inspector.statsJob(id)
      assert.strictEqual(Duration.toMillis(ttr), features.resolution === "second" ? 2000 : 1500)
    }))

  test(`features: ${features.canList ? "lists" : "refuses to list"} the jobs of a queue`, (h) =>
    Effect.gen(function*() {
      yield* h.put("a")
      const list = h.inspector.list(h.queue, { state: "ready" })
      if (features.canList) assert.deepStrictEqual((yield* list).jobs.map(text), ["a"])
      else yield* assertFails(list, "Unsupported")
    }))

  test(`features: ${features.canBury ? "buries" : "refuses to bury"} a job that no worker holds`, (h) =>
    Effect.gen(function*() {
      const bury = h.inspector.buryJob(yield* h.put("a"), "not now")
      yield* features.canBury ? bury : assertFails(bury, "Unsupported")
      assert.include(yield* h.stats(), features.canBury ? { ready: 0, buried: 1 } : { ready: 1, buried: 0 })
    }))

  test(`features: ${features.canMove ? "moves" : "refuses to move"} a job to another queue`, (h) =>
    Effect.gen(function*() {
      const other = uniqueQueue()
      const move = h.inspector.moveJob(yield* h.put("a"), other)
      yield* features.canMove ? Effect.asVoid(move) : assertFails(move, "Unsupported")
      assert.include(yield* h.stats(features.canMove ? other : h.queue), { ready: 1 })
    }))

  test(`features: ${features.keepsReasons ? "keeps" : "does not keep"} why a job was released or buried`, (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      const failure = { tag: "Timeout", message: "too slow" }
      const known = Effect.map(
        h.inspector.statsJob(id),
        ({ lastFailure, reason }) => ({ reason, tag: lastFailure?.tag, message: lastFailure?.message })
      )
      const expected = (reason: string) =>
        features.keepsReasons ? { reason, ...failure } : { reason: undefined, tag: undefined, message: undefined }
      yield* release(consumer, yield* take(consumer), { reason: "not yet", failure })
      assert.deepStrictEqual(yield* known, expected("not yet"))
      yield* bury(consumer, yield* take(consumer), "no good", failure)
      assert.deepStrictEqual(yield* known, expected("no good"))
    }))

  if (!features.canList) return
  test(`features: ${features.keepsDone ? "keeps" : "does not keep"} finished jobs`, (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a")
      yield* done(consumer, yield* take(consumer))
      const { jobs } = yield* h.inspector.list(h.queue, { state: "done" })
      assert.deepStrictEqual(jobs.map(text), features.keepsDone ? ["a"] : [])
    }))
}
