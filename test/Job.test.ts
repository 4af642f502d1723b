import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Cron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Broker, putRequest } from "../src/Broker.ts"
import * as Job from "../src/Job.ts"
import { TestBroker } from "../src/testing/index.ts"
import * as Worker from "../src/Worker.ts"
import { allow, withMuchData } from "./support/limits.ts"

allow(withMuchData)

/** The delays after the attempts 1 to n, in milliseconds. */
const delays = (schedule: Schedule.Schedule<unknown, any, unknown>, n: number, failure: unknown = "no") =>
  Effect.forEach(
    Array.from({ length: n }, (_, index) => index + 1),
    (attempt) => Effect.map(Job.retryDelay(schedule, attempt, failure), (delay) => delay && Duration.toMillis(delay))
  )

describe("Job.make", () => {
  it("fills in the defaults", () => {
    const job = Job.make("resize", { payload: Schema.String })
    assert.include(job, { name: "resize", queue: "resize", version: 1 })
    assert.isUndefined(job.priority)
    assert.isUndefined(job.ttr)
    assert.isUndefined(job.timeout)
    assert.isUndefined(job.deadline)
    assert.strictEqual(job.retry, Job.defaultRetry)
  })

  it("carries everything that Schema can turn into JSON", () => {
    class User extends Schema.Class<User>("User")({ name: Schema.String }) {}
    const job = Job.make("all", {
      payload: Schema.Struct({
        user: User,
        at: Schema.Date,
        maybe: Schema.Option(Schema.BigInt),
        wait: Schema.Duration,
        price: Schema.BigDecimal,
        bytes: Schema.Uint8Array,
        map: Schema.ReadonlyMap(Schema.String, Schema.Int)
      })
    })
    const payload = {
      user: new User({ name: "Ada" }),
      at: new Date(7),
      maybe: Option.some(12345678901234567890n),
      wait: Duration.seconds(3),
      price: BigDecimal.fromStringUnsafe("1.10"),
      bytes: Uint8Array.of(0, 255),
      map: new Map([["a", 1]])
    }
    const json = JSON.parse(JSON.stringify(Result.getOrThrow(job.encode(payload))))
    const decoded = Result.getOrThrow(job.decode(json, 1))
    assert.deepStrictEqual({ ...decoded, price: BigDecimal.format(decoded.price) }, {
      ...payload,
      price: BigDecimal.format(payload.price)
    })
    assert.instanceOf(decoded.user, User)
  })

  it("upgrades older payloads, and only those", () => {
    const job = Job.make("mail", {
      payload: Schema.Struct({ to: Schema.Array(Schema.String) }),
      version: 3,
      upgrade: (payload, version) => version === 1 ? { to: [payload] } : { to: (payload as any).recipients }
    })
    assert.deepStrictEqual(Result.getOrThrow(job.decode("a", 1)), { to: ["a"] })
    assert.deepStrictEqual(Result.getOrThrow(job.decode({ recipients: ["b"] }, 2)), { to: ["b"] })
    assert.deepStrictEqual(Result.getOrThrow(job.decode({ to: ["c"] }, 3)), { to: ["c"] })
  })
})

describe("Job.retryDelay", () => {
  it.effect("is the schedule's delay at this attempt, and ends with it", () =>
    Effect.gen(function*() {
      const schedule = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 4 }))
      assert.deepStrictEqual(yield* delays(schedule, 6), [1000, 2000, 4000, 8000, undefined, undefined])
    }))

  it.effect("is by default 1 s, 2 s, 4 s ... and at most 5 minutes, ten times", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* delays(Job.defaultRetry, 11),
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map((seconds): number | undefined => seconds * 1000).concat(undefined)
      )
    }))

  it.effect("counts the schedule's own delays as elapsed time", () =>
    Effect.gen(function*() {
      const schedule = Schedule.spaced("10 seconds").pipe(Schedule.upTo({ duration: "25 seconds" }))
      assert.deepStrictEqual(yield* delays(schedule, 5), [10_000, 10_000, 10_000, undefined, undefined])
    }))

  it.effect("shows the schedule the failure", () =>
    Effect.gen(function*() {
      const schedule = Schedule.spaced("1 second").pipe(
        Schedule.setInputType<{ readonly again: boolean }>(),
        Schedule.while(({ input }) => input.again)
      )
      assert.deepStrictEqual(yield* delays(schedule, 2, { again: true }), [1000, 1000])
      assert.deepStrictEqual(yield* delays(schedule, 2, { again: false }), [undefined, undefined])
    }))

  it.effect("keeps no state between calls", () =>
    Effect.gen(function*() {
      const schedule = Schedule.concat(
        Schedule.recurs(2),
        Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 }))
      )
      assert.deepStrictEqual(yield* delays(schedule, 4), [0, 0, 60_000, undefined])
      assert.deepStrictEqual(yield* delays(schedule, 4), [0, 0, 60_000, undefined])
    }))

  it.effect("a schedule of the calendar goes by the time of the failure, in every attempt", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 0, 15, 1, 30))
      const hours = 3_600_000
      assert.deepStrictEqual(yield* delays(Schedule.cron(Cron.parseUnsafe("0 4 * * *", "UTC")), 3), [
        2.5 * hours,
        2.5 * hours,
        2.5 * hours
      ])
    }))

  it.effect.each<readonly [string, Schedule.Schedule<unknown, any, unknown>, Duration.Input | undefined]>([
    ["that never changes", Schedule.spaced("1 minute"), "1 minute"],
    ["by default", Job.defaultRetry, undefined],
    [
      "that grows to a limit",
      Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("5 minutes")]),
      "5 minutes"
    ],
    ["that grows without one", Schedule.exponential("1 second"), Infinity],
    ["without a pause", Schedule.forever, 0],
    ["of fixed times", Schedule.fixed("10 seconds"), "10 seconds"],
    ["of windows", Schedule.windowed("10 seconds"), "10 seconds"],
    ["of the calendar", Schedule.cron(Cron.parseUnsafe("0 4 * * *", "UTC")), "2.5 hours"],
    [
      "of the calendar, or a growing one",
      Schedule.min([Schedule.exponential("1 second"), Schedule.cron(Cron.parseUnsafe("0 4 * * *", "UTC"))]),
      "2.5 hours"
    ],
    ["of a number of attempts", Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 9000 })), undefined],
    ["of 90 days", Schedule.spaced("30 seconds").pipe(Schedule.upTo({ duration: "90 days" })), undefined],
    [
      "of more time than there was",
      Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "80000 days" })),
      "1 second"
    ],
    [
      "of one after the other",
      Schedule.concat(
        Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "1 day" })),
        Schedule.spaced("1 hour")
      ),
      "1 hour"
    ],
    [
      "with invalid delays",
      Schedule.modifyDelay(Schedule.forever, () => Effect.succeed(Duration.millis(Number.NaN))),
      0
    ]
  ])(
    "a schedule %s quickly answers for every attempt number",
    ([, schedule, expected]) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.UTC(2026, 0, 15, 1, 30))
        for (const attempt of [4_000_000_000, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE, Infinity]) {
          const started = process.threadCpuUsage()
          const delay = yield* Job.retryDelay(schedule, attempt, "no")
          assert.isBelow(process.threadCpuUsage(started).user / 1000, 2000)
          assert.strictEqual(delay && Duration.toMillis(delay), expected && Duration.toMillis(expected), `${attempt}`)
        }
      })
  )

  it.effect("an end by time comes on time, after any number of attempts", () =>
    Effect.gen(function*() {
      const schedule = Schedule.spaced("30 seconds").pipe(Schedule.upTo({ duration: "7 days" }))
      const last = 7 * 24 * 120 + 1
      for (const attempt of [1, 9999, 10_000, 10_001, last]) {
        const delay = yield* Job.retryDelay(schedule, attempt, "no")
        assert.strictEqual(delay && Duration.toSeconds(delay), 30, `${attempt}`)
      }
      assert.isUndefined(yield* Job.retryDelay(schedule, last + 1, "no"))
    }))

  it.effect.each([0, -1, Number.NaN, -Infinity])("an attempt %d is the first", (attempt) =>
    Effect.gen(function*() {
      const delay = yield* Job.retryDelay(Schedule.exponential("1 second"), attempt, "no")
      assert.strictEqual(delay && Duration.toSeconds(delay), 1)
    }))

  it.effect("has no retries", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* delays(Schedule.recurs(0), 1), [undefined])
    }))
})

describe("a handler's own decision", () => {
  it("has a message that is its reason", () => {
    assert.include(Job.retryAfter("30 seconds", "slow down"), { _tag: "RetryAfter", message: "slow down" })
    assert.include(Job.bury("never"), { _tag: "Bury", message: "never" })
    assert.include(Job.discard("moved away"), { _tag: "Discard", message: "moved away" })
    assert.strictEqual(Duration.toSeconds(Job.retryAfter("30 seconds").delay), 30)
  })

  it("a negative delay becomes zero", () => {
    assert.isTrue(Duration.isZero(Job.retryAfter(-300).delay))
  })

  it("differs from all other failures", () => {
    assert.isTrue([Job.retryAfter(1), Job.bury(""), Job.discard("")].every(Job.isDirective))
    assert.isFalse(
      [new Error("Bury"), { _tag: "Bury", reason: "by accident" }, "Bury", undefined].some(Job.isDirective)
    )
  })
})

describe("numbers that JavaScript would change", () => {
  const text = `{"id":1234567890123456789,"rate":0.69999999999999996,"none":1e400}`
  const body = new TextEncoder().encode(`{"backq":1,"id":"1","job":"a","payload":${text}}`)
  const work = (job: Job.Job<any>) =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      yield* Effect.flatMap(Broker, (broker) => broker.put("a", Result.getOrThrow(putRequest(body))))
      const outcomes = yield* TestBroker.drain(Worker.handler(job, (payload) => Effect.sync(() => seen.push(payload))))
      return { seen: seen[0], outcome: outcomes[0]! }
    }).pipe(Effect.provide(TestBroker.layer))

  it.effect("are rounded, as everywhere in JavaScript", () =>
    Effect.gen(function*() {
      const payload = Schema.Struct({ id: Schema.Finite, rate: Schema.Finite })
      const { seen } = yield* work(Job.make("a", { payload }))
      assert.deepStrictEqual(seen, { id: Number("1234567890123456789"), rate: 0.7 })
    }))

  it.effect.each([Schema.Json, Schema.Unknown])(
    "stay as they were published, if the job has this option",
    (payload) =>
      Effect.gen(function*() {
        const job = Job.make<unknown>("a", { payload, exactNumbers: true })
        const { seen } = yield* work(job)
        const json = JSON.stringify(Result.getOrThrow(job.encode(seen)))
        assert.strictEqual(json, `{"id":1234567890123456789,"rate":0.7,"none":1e400}`)
      })
  )

  it.effect("with this option fail in a Schema of numbers, and the job is buried", () =>
    Effect.gen(function*() {
      const { outcome } = yield* work(
        Job.make("a", { payload: Schema.Struct({ id: Schema.Finite }).annotate({ [Job.exactNumbers]: true }) })
      )
      assert.strictEqual(outcome._tag, "Buried")
      assert.match("reason" in outcome ? String(outcome.reason) : "", /Expected number.*id/)
    }))
})
