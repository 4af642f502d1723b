/**
 * The worker as a property: when any mix of jobs succeeds, fails, dies, hangs
 * or decides itself, and the worker stops any number of times meanwhile, every
 * accepted job ends as in a simple model.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { JobId } from "../../src/Broker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { allow, withManyCases } from "../support/limits.ts"
import { pass, start } from "./harness.ts"

allow(withManyCases)

/** The behaviour of a handler in one attempt. */
const Behaviour = Schema.Literals(["done", "slow", "fail", "die", "hang", "again", "bury", "discard"])
type Behaviour = typeof Behaviour.Type

/** One behaviour per attempt; after the last it is done. */
const Script = Schema.Array(Behaviour)

const retries = 2

const Scripted = Job.make("scripted", {
  payload: Script,
  timeout: "3 seconds",
  ttr: "2 seconds",
  retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: retries }))
})

const behaviour = (script: ReadonlyArray<Behaviour>, attempt: number): Behaviour => script[attempt - 1] ?? "done"

/** How a job ends, and in which attempt. */
const expected = (script: ReadonlyArray<Behaviour>): readonly ["deleted" | "buried", attempts: number] => {
  for (let attempt = 1;; attempt++) {
    switch (behaviour(script, attempt)) {
      case "done":
      case "slow":
      case "discard":
        return ["deleted", attempt]
      case "bury":
        return ["buried", attempt]
      case "fail":
      case "die":
      case "hang":
        if (attempt > retries) return ["buried", attempt]
    }
  }
}

const act = (what: Behaviour): Effect.Effect<void, string | Job.Directive> => {
  switch (what) {
    case "done":
      return Effect.void
    case "slow":
      return Effect.sleep("1500 millis")
    case "fail":
      return Effect.fail("failed")
    case "die":
      return Effect.die("died")
    case "hang":
      return Effect.never
    case "again":
      return Effect.fail(Job.retryAfter("500 millis"))
    case "bury":
      return Effect.fail(Job.bury("enough"))
    case "discard":
      return Effect.fail(Job.discard("not wanted"))
  }
}

/** Whether there is work left. */
const isUnfinished = Effect.map(
  Inspector.use((inspector) => inspector.stats),
  ({ delayed, ready, reserved }) => delayed + ready + reserved > 0
)

/** How it really ended. */
const ending = Effect.fnUntraced(function*(id: JobId) {
  const inspector = yield* Inspector
  return Option.match(yield* Effect.option(inspector.statsJob(id)), {
    onNone: () => "deleted",
    onSome: (stats) => stats.state
  })
})

describe("the worker as a model", () => {
  it.effect.prop("every accepted job ends as in the model", {
    scripts: Schema.Array(Script),
    concurrency: Schema.Literals([1, 2, 5]),
    prefetch: Schema.Literals([0, 3]),
    stops: Schema.Array(Schema.Literals([100, 500, 1700, 4000]))
  }, ({ concurrency, prefetch, scripts, stops }) =>
    Effect.gen(function*() {
      const last = new Map<string, number>()
      const handler = Worker.handler(Scripted, (script, delivery) =>
        Effect.gen(function*() {
          const attempt = yield* delivery.attempt
          last.set(delivery.jobId, attempt)
          yield* act(behaviour(script, attempt))
        }))
      const published = scripts.slice(0, 12).map((script) => script.slice(0, 6))
      const ids: Array<JobId> = []
      for (const script of published) ids.push(yield* Publisher.publish(Scripted, script))

      for (const millis of stops.slice(0, 4)) {
        const worker = yield* start({ concurrency, prefetch }, handler)
        yield* pass(millis)
        yield* Fiber.interrupt(worker.fiber)
      }
      yield* start({ concurrency, prefetch }, handler)
      // the longest script has six attempts of at most 3 s and 1 s of delay: that, for all of them one after the other
      for (let i = 0; i < 12 * 6 * 4 && (yield* isUnfinished); i++) yield* pass("1 second")

      const ends = yield* Effect.forEach(ids, ending)
      assert.deepStrictEqual(
        ids.map((id, index) => [ends[index], last.get(id)]),
        published.map((script) => [...expected(script)])
      )
    }).pipe(Effect.scoped, Effect.provide(TestBroker.layer)), { arbitrary: { runs: 60 } })
})
