/** Versions of payloads, and jobs that can't run. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, numbers, only, pass, publish, putRaw, start, statsOf, worked } from "./harness.ts"

describe("versions", () => {
  const make = (version: number) =>
    Job.make("versioned", {
      payload: Schema.Struct({ to: Schema.String }),
      version,
      retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 })),
      upgrade: (payload, from) => ({ to: `${payload} of ${from}` })
    })

  it.effect("an older payload is upgraded", () =>
    Effect.gen(function*() {
      yield* putRaw("versioned", { backq: 1, id: "a", job: "versioned", version: 2, payload: "x" })
      yield* putRaw("versioned", { backq: 1, id: "b", job: "versioned", payload: "y" })
      const outcomes = yield* TestBroker.drain(Worker.handler(make(3), ({ to }) => Effect.succeed(to)))
      assert.deepStrictEqual(outcomes.map((outcome) => outcome._tag === "Done" && outcome.result), ["x of 2", "y of 1"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a newer payload waits for a newer worker, and is buried if none comes", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(make(4), { to: "x" })
      const drain = TestBroker.drain(Worker.handler(make(3), () => Effect.die("must not run")))
      const reason = "the payload has version 4, and this worker knows 3: update the worker"
      assert.deepInclude((yield* drain)[0], { _tag: "Retried", reason })
      yield* pass("1 minute")
      assert.deepInclude((yield* drain)[0], { _tag: "Buried", reason: `attempt 2 was the last: ${reason}` })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an upgrade that throws buries the job, and the worker continues", () =>
    Effect.gen(function*() {
      const Broken = Job.make("broken", {
        payload: Schema.String,
        version: 2,
        queue: "q",
        upgrade: (payload) => (payload as any).name.first
      })
      const id = yield* putRaw("q", { backq: 1, id: "a", job: "broken", payload: {} })
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Broken, () => Effect.void), worked)
      assert.deepStrictEqual([...worker.tags()].sort(), ["Buried", "Done"])
      assert.include(yield* statsOf(id), { state: "buried" })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("a job that can't run", () => {
  const unreadable: ReadonlyArray<readonly [string, unknown, RegExp, string]> = [
    ["garbage", Uint8Array.of(0, 255, 13, 10), /^the body is not JSON$/, "Unreadable"],
    ["nothing", "", /^the body is not JSON$/, "Unreadable"],
    ["JSON that is not an envelope", { command: ["true"] }, /^the body is not an envelope/, "Unreadable"],
    [
      "an unknown job",
      { backq: 1, id: "a", job: "unheard-of", payload: 1 },
      /^no handler for job "unheard-of": this worker handles count$/,
      "NoHandler"
    ],
    [
      "a wrong payload",
      { backq: 1, id: "a", job: "count", payload: "hunter2" },
      /^the payload is not what job "count" expects: (?!.*hunter2)/,
      "PayloadInvalid"
    ]
  ]

  it.effect.each(unreadable)(
    "%s is buried with the reason, and not deleted",
    ([, body, reason, tag]) =>
      Effect.gen(function*() {
        const id = yield* putRaw("q", body)
        const worker = yield* start({}, worked)
        assert.match(only(worker, "Buried").reason, reason)
        const stats = yield* statsOf(id)
        assert.strictEqual(stats.state, "buried")
        assert.match(stats.reason!, reason)
        assert.deepInclude(stats.lastFailure, { tag, message: stats.reason! })
      }).pipe(Effect.provide(TestBroker.layer))
  )

  it.effect("many of them do not stop the readable ones", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 1000; i++) yield* putRaw("q", "garbage")
      yield* publish(3)
      const outcomes = yield* TestBroker.drainWith({ concurrency: 2 }, worked)
      assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Done").length, 3)
      assert.deepStrictEqual(yield* numbers(), { ready: 0, delayed: 0, reserved: 0, buried: 1000 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a foreign decoder reads bodies that are not envelopes", () =>
    Effect.gen(function*() {
      const id = yield* putRaw("q", "count 7")
      yield* putRaw("q", "something else")
      yield* publish(1)
      const outcomes = yield* TestBroker.drainWith({
        foreign: (body, queue) => {
          const text = new TextDecoder().decode(body)
          return text.startsWith("count ")
            ? Result.succeed({ job: "count", payload: Number(text.slice(6)) })
            : Result.fail(`not for ${queue}`)
        }
      }, Worker.handler(Count, (n, { id }) => Effect.succeed([n, id])))
      assert.deepInclude(outcomes[0], { _tag: "Done", result: [7, id] })
      assert.deepInclude(outcomes[1], { _tag: "Buried", reason: "not for q" })
      assert.deepInclude(outcomes[2], { _tag: "Done" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a foreign decoder that throws buries the job, and the worker continues", () =>
    Effect.gen(function*() {
      const id = yield* putRaw("q", "garbage")
      yield* publish(1)
      const worker = yield* start({
        foreign: () => {
          throw new Error("no PHP here")
        }
      }, worked)
      assert.deepStrictEqual([...worker.tags()].sort(), ["Buried", "Done"])
      assert.match((yield* statsOf(id)).reason!, /the decoder of foreign bodies threw Error/)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an asynchronous Schema buries the job, and the worker continues", () =>
    Effect.gen(function*() {
      const Waiting = Job.make("waiting", {
        queue: "q",
        payload: Schema.String.pipe(
          Schema.middlewareDecoding((effect) => Effect.andThen(Effect.sleep(1), effect))
        )
      })
      const id = yield* putRaw("q", { backq: 1, id: "a", job: "waiting", payload: "x" })
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Waiting, () => Effect.void), worked)
      assert.deepStrictEqual([...worker.tags()].sort(), ["Buried", "Done"])
      assert.strictEqual((yield* statsOf(id)).state, "buried")
    }).pipe(Effect.provide(TestBroker.layer)))
})
