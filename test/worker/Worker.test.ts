/** What a worker makes of jobs: reserve, decode, dispatch, run, settle. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { maxDelay } from "../../src/Broker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, isGone, numbers, only, pass, publish, putRaw, rest, start, statsOf } from "./harness.ts"

const worked = Worker.handler(Count, (n) => Effect.succeed(n * 10))

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

  it.effect("no lease is taken that no handler is free for", () =>
    Effect.gen(function*() {
      yield* publish(10)
      yield* start({ concurrency: 3 }, Worker.handler(Count, () => Effect.sleep("1 second")))
      assert.deepStrictEqual(yield* numbers(), { ready: 7, delayed: 0, reserved: 3, buried: 0 })
      yield* pass("1 second")
      assert.deepStrictEqual(yield* numbers(), { ready: 4, delayed: 0, reserved: 3, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("unless prefetch says so", () =>
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

  it.effect("a job that comes later starts beside those that run", () =>
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

  it.effect("handlers that end at once do not overflow the stack, however many wait", () =>
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

describe("success", () => {
  it.effect("deletes the job, and tells the result", () =>
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

  it.effect("says how long the handler ran", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("90 seconds")))
      yield* pass("90 seconds")
      assert.strictEqual(only(worker, "Done").duration, 90_000)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the handler is told of the delivery", () =>
    Effect.gen(function*() {
      yield* pass("5 seconds")
      const id = yield* Publisher.publish(Count, 4, { id: "key", priority: 7, ttr: "9 seconds", deadline: "1 minute" })
      const worker = yield* start(
        {},
        Worker.handler(Count, (_, { attempt, info, isLost, ...delivery }) =>
          Effect.map(Effect.all({ attempt, info, isLost }), (asked) => ({ ...delivery, ...asked })))
      )
      assert.deepStrictEqual(only(worker, "Done").result, {
        id: "key",
        jobId: id,
        queue: "q",
        publishedAt: 5000,
        expiresAt: 65_000,
        attempt: 1,
        info: { attempt: 1, abandoned: 0, buries: 0, priority: 7, ttr: Duration.seconds(9) },
        isLost: false
      })
    }).pipe(Effect.provide(TestBroker.layer)))
})

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

  it.effect("Job.retryAfter goes before the schedule", () =>
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

  it.effect("a delay that no broker can keep is the longest there is", () =>
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

  const defects: ReadonlyArray<readonly [string, () => Effect.Effect<void, Unreachable>, string, string]> = [
    ["a defect", () => Effect.die(new TypeError("x is undefined")), "defect: TypeError: x is undefined", "TypeError"],
    [
      "a handler that throws",
      () => {
        throw new RangeError("too far")
      },
      "defect: RangeError: too far",
      "RangeError"
    ],
    ["a handler that returns no Effect", () => undefined as any, "defect: ", ""],
    ["a failure", () => Effect.fail(new Unreachable()), "Unreachable: no route", "Unreachable"],
    ["an interruption by the handler itself", () => Effect.interrupt, "the handler interrupted itself", ""]
  ]

  it.effect.each(defects)("%s counts as a failure", ([, run, reason, tag]) =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, run))
      const outcome = only(worker, "Retried")
      assert.include(outcome.reason, reason)
      assert.strictEqual(outcome.cause !== undefined, reason.startsWith("defect"))
      assert.deepStrictEqual(outcome.delay, Duration.seconds(1))
      const { lastFailure } = yield* statsOf(id!)
      assert.include(lastFailure!.tag, tag)
      assert.isTrue(reason.endsWith(lastFailure!.message) || tag === "")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a schedule that fails itself buries the job, and the worker goes on", () =>
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

  it.effect("one that fails takes none of the others with it", () =>
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

  it.effect("an attempt that is in time is left alone", () =>
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

  it.effect("a deadline far in the past or in the future harms nobody", () =>
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

  it.effect("a newer payload waits for a newer worker, and is buried when none comes", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(make(4), { to: "x" })
      const drain = TestBroker.drain(Worker.handler(make(3), () => Effect.die("must not run")))
      const reason = "the payload has version 4, and this worker knows 3: update the worker"
      assert.deepInclude((yield* drain)[0], { _tag: "Retried", reason })
      yield* pass("1 minute")
      assert.deepInclude((yield* drain)[0], { _tag: "Buried", reason: `attempt 2 was the last: ${reason}` })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an upgrade that throws buries the job, and the worker goes on", () =>
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

describe("what can't be run", () => {
  const unreadable: ReadonlyArray<readonly [string, unknown, RegExp, string]> = [
    ["garbage", Uint8Array.of(0, 255, 13, 10), /^the body is not JSON$/, "Unreadable"],
    ["nothing", "", /^the body is not JSON$/, "Unreadable"],
    ["JSON that is no envelope", { command: ["true"] }, /^the body is not an envelope/, "Unreadable"],
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

  it.effect("many of them do not stop those that can", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 1000; i++) yield* putRaw("q", "garbage")
      yield* publish(3)
      const outcomes = yield* TestBroker.drainWith({ concurrency: 2 }, worked)
      assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Done").length, 3)
      assert.deepStrictEqual(yield* numbers(), { ready: 0, delayed: 0, reserved: 0, buried: 1000 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a foreign decoder reads bodies that are no envelopes", () =>
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

  it.effect("a foreign decoder that throws buries the job, and the worker goes on", () =>
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

  it.effect("a Schema that needs to wait buries the job, and the worker goes on", () =>
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

  it.effect("or those that it is told, and touches no others", () =>
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

  it.effect("the most urgent goes first, over all queues", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(A, 1, { priority: 10 })
      yield* Publisher.publish(B, "urgent", { priority: 1 })
      const outcomes = yield* TestBroker.drain(...handlers)
      assert.deepStrictEqual(outcomes.map((outcome) => outcome.job), ["b", "a"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a worker of no queue is refused", () =>
    Effect.gen(function*() {
      const none = [] as unknown as readonly [string]
      const error = yield* Effect.flip(Worker.run({ queue: none }, ...handlers))
      assert.strictEqual(error.reason._tag, "OptionInvalid")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("two handlers for jobs of one name are a mistake of the program", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Worker.run({}, handlers[0], handlers[0]))
      assert.match(String(exit), /only one for each job name/)
      assert.match(String(yield* Effect.exit(Worker.run({ queue: "q" }))), /at least one handler/)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a queue name that is none ends the worker with a typed error", () =>
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
