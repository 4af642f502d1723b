/** User code may throw, fail with or return anything: the worker decides and goes on. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { maxDelay } from "../../src/Broker.ts"
import { type Envelope, Job, type Outcome, Publisher, Worker } from "../../src/index.ts"
import { perform, TestBroker } from "../../src/testing/index.ts"
import * as Attempts from "../support/attempts.ts"
import * as Fuzz from "../support/fuzz.ts"
import { allow, withManyCases } from "../support/limits.ts"
import * as Strange from "../support/strange.ts"
import { Count, numbers, pass, publish, putRaw, start } from "./harness.ts"

allow(withManyCases)

const refuse = (): never => {
  throw new Error("can't read hunter2")
}

const reasonOf = (outcome: Outcome.Outcome | undefined): string =>
  outcome !== undefined && "reason" in outcome ? outcome.reason : `${outcome?._tag}`

describe("a worker decides, continues, and is idle in time", () => {
  for (const [what, failure] of [...Strange.failures, ...Strange.endless]) {
    it.effect(`when a handler ends with ${what}`, () => Attempts.check([[what, failure]]))
  }

  it.effect("also under a tracer that reads failures", () =>
    Attempts.check([...Strange.failures, ...Strange.endless], { traced: true }))

  it.effect("and reports the readable part", () =>
    Effect.gen(function*() {
      const reasons = (failure: unknown) =>
        Effect.map(perform(Worker.handler(Count, () => Effect.fail(failure)), 1), reasonOf)
      assert.strictEqual(
        yield* reasons(Object.defineProperty(new Error("x"), "message", { get: refuse })),
        "failed with an error that can't be read"
      )
      assert.strictEqual(yield* reasons(Object.create(null)), "failed with object")
      assert.strictEqual(yield* reasons(Object.assign(new Error("x"), { _tag: Symbol("mine") })), "Symbol(mine): x")
      assert.strictEqual(yield* reasons(Strange.chain(100_000)), "Error: after 99999")
      assert.strictEqual(yield* reasons(1n), "failed with bigint")
    }))
})

describe("a handler's own decision", () => {
  const outcomeOf = (verdict: () => Job.Directive) =>
    perform(Worker.handler(Count, () => Effect.suspend((): Effect.Effect<never, Job.Directive> => verdict())), 1)

  it.effect("holds with any reason and any cause", () =>
    Effect.gen(function*() {
      for (const [what, value] of Strange.failures) {
        const reason = value as string
        assert.strictEqual((yield* outcomeOf(() => Job.bury(reason, value)))._tag, "Buried", what)
        assert.strictEqual((yield* outcomeOf(() => Job.discard(reason, value)))._tag, "Discarded", what)
        const retried = yield* outcomeOf(() => Job.retryAfter("7 seconds", reason, value))
        assert.strictEqual(retried._tag === "Retried" && Duration.toMillis(retried.delay), 7000, what)
      }
      const buried = yield* outcomeOf(() => Job.bury("x".repeat(1_000_000)))
      assert.isBelow(reasonOf(buried).length, 2100)
    }))

  it.effect.each<readonly [string, Duration.Input, number]>([
    ["the past", -5000, 0],
    ["the infinite past", -Infinity, 0],
    ["never", Infinity, Duration.toMillis(maxDelay)],
    ["the schedule's time, if it is not a number", Number.NaN, 1000],
    ["the schedule's time, if it is not a duration", "soon" as Duration.Input, 1000]
  ])("asks for another attempt in %s", ([, delay, expected]) =>
    Effect.gen(function*() {
      const outcome = yield* outcomeOf(() => Job.retryAfter(delay))
      assert.strictEqual(outcome._tag === "Retried" && Duration.toMillis(outcome.delay), expected)
    }))

  it("differs from everything else", () => {
    for (const [what, value] of Strange.failures) assert.isFalse(Job.isDirective(value), what)
    assert.isTrue(Job.isDirective(Job.bury("x")))
  })
})

describe("a retry schedule", () => {
  const withRetry = (retry: Schedule.Schedule<unknown, unknown, unknown>) =>
    perform(
      Worker.handler(Job.make("j", { payload: Schema.Int, queue: "q", retry }), () => Effect.fail("no")),
      1
    )

  it.effect.each<readonly [string, Duration.Input, number]>([
    ["no number", Duration.millis(Number.NaN), 0],
    ["negative", -5, 0],
    ["infinite", Infinity, Duration.toMillis(maxDelay)]
  ])("whose delay is %s gives one that a broker takes", ([, delay, expected]) =>
    Effect.gen(function*() {
      const outcome = yield* withRetry(Schedule.modifyDelay(Schedule.forever, () => Effect.succeed(delay)))
      assert.strictEqual(outcome._tag === "Retried" && Duration.toMillis(outcome.delay), expected)
    }))

  it.effect.each<readonly [string, Schedule.Schedule<unknown, unknown, unknown>]>([
    ["throws", Schedule.tap(Schedule.forever, refuse)],
    ["dies", Schedule.tap(Schedule.forever, () => Effect.die(Strange.failures[0]![1]))],
    ["fails", Schedule.tap(Schedule.forever, () => Effect.fail(Strange.failures[0]![1]))],
    ["is not a schedule", {} as never],
    [
      "continues with a value that is not an Effect",
      Schedule.tap(Schedule.forever, () => Object.create(null) as never)
    ],
    [
      "returns a value that is not a delay",
      Schedule.modifyDelay(Schedule.forever, () => Effect.succeed(refuse as never))
    ]
  ])("that %s buries the job", ([, retry]) =>
    Effect.gen(function*() {
      assert.strictEqual(reasonOf(yield* withRetry(retry)), "no; then its retry schedule failed")
    }))
})

describe("an unreadable job is buried, and the next job is done:", () => {
  const Nested: Schema.Codec<unknown, unknown> = Schema.Array(Schema.suspend(() => Nested))
  const Slow = Schema.String.pipe(Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transformEffect({
      decode: (text: string) => Effect.promise(() => Promise.resolve(text)),
      encode: Effect.succeed
    })
  ))
  const Loud = Schema.Int.check(Schema.makeFilter(refuse))

  const job = (payload: Schema.ConstraintCodec<any, any>, change: Partial<Job.Job<any>> = {}): Job.Job<any> => ({
    ...Job.make("j", { payload, queue: "q" }),
    ...change
  })
  const body = (payload: unknown, envelope: object = {}) =>
    JSON.stringify({ backq: 1, id: "1", job: "j", payload, ...envelope })

  const expects = (why: string) => `the payload is not what job "j" expects: ${why}`
  const depth = 30_000
  const deep = `{"backq":1,"id":"1","job":"j","payload":${"[".repeat(depth)}${"]".repeat(depth)}}`

  const check = (
    job: Job.Job<any>,
    body: string,
    reason: string,
    foreign?: Envelope.ForeignDecoder
  ) =>
    Effect.gen(function*() {
      yield* putRaw("q", body)
      yield* putRaw("q", { backq: 1, id: "2", job: "count", payload: 1 })
      const [first, second, ...others] = yield* TestBroker.drainWith(
        { foreign, queue: "q" },
        Worker.handler(job, () => Effect.void),
        Worker.handler(Count, () => Effect.void)
      )
      assert.deepStrictEqual([first?._tag, second?._tag, others], ["Buried", "Done", []])
      assert.strictEqual(reasonOf(first), reason)
      Fuzz.checkWords(reasonOf(first))
    }).pipe(Effect.provide(TestBroker.layer))

  it.effect.each<readonly [string, Job.Job<any>, string, string]>([
    ["a decoder that throws", job(Schema.Int, { decode: refuse }), body(1), expects("its decoder threw Error")],
    [
      "a decoder that returns nothing",
      job(Schema.Int, { decode: () => undefined as never }),
      body(1),
      expects("its decoder must return a Result, and did not")
    ],
    ["a filter that throws", job(Loud), body(1), expects("its decoder threw Error")],
    ["an asynchronous decoder", job(Slow), body("x"), expects("its decoder threw AsyncFiberError")],
    [
      "an upgrade that throws",
      Job.make("j", { payload: Schema.Int, queue: "q", version: 2, upgrade: refuse }),
      body(1),
      expects("its decoder threw Error")
    ],
    [
      "an upgrade to nothing",
      Job.make("j", { payload: Schema.Int, queue: "q", version: 2, upgrade: () => undefined }),
      body(1),
      expects("Expected number")
    ],
    ["30,000 levels where the Schema goes down", job(Nested), deep, expects("its decoder threw RangeError")]
  ])("%s", ([, job, body, reason]) => check(job, body, reason))

  const foreign = (decoded: unknown): Envelope.ForeignDecoder => () => decoded as never
  const fields = { job: "j", payload: 1 }
  const decoder = "the decoder of foreign bodies"

  it.effect.each<readonly [string, Envelope.ForeignDecoder, string]>([
    ["throws", refuse, `${decoder} threw Error`],
    ["throws an unreadable value", () => {
      throw Strange.failures[0]![1]
    }, `${decoder} threw object`],
    ["returns nothing", foreign(undefined), `${decoder} threw TypeError`],
    ["returns a promise", foreign(Promise.resolve(1)), `${decoder} threw TypeError`],
    ["succeeds with nothing", foreign(Result.succeed(undefined)), `${decoder} threw TypeError`],
    ["gives an invalid name", foreign(Result.succeed({ ...fields, job: 7 })), "Expected string at [\"job\"]"],
    ["gives an invalid id", foreign(Result.succeed({ ...fields, id: 7 })), "Expected string at [\"id\"]"],
    [
      "gives an invalid end",
      foreign(Result.succeed({ ...fields, expiresAt: Number.NaN })),
      "Expected a finite number at [\"expiresAt\"]"
    ],
    [
      "gives an infinite end",
      foreign(Result.succeed({ ...fields, expiresAt: Infinity })),
      "Expected a finite number at [\"expiresAt\"]"
    ],
    [
      "gives an invalid version",
      foreign(Result.succeed({ ...fields, version: "2" })),
      "Expected number at [\"version\"]"
    ],
    [
      "fails without a message",
      foreign(Result.fail(Strange.failures[0]![1])),
      "failed with an error that can't be read"
    ]
  ])(
    "a decoder of foreign bodies that %s",
    ([, decode, reason]) => check(job(Schema.Int), "no envelope", reason, decode)
  )

  it.effect.each(["__proto__", "constructor", "toString", "hasOwnProperty", ""])(
    "a job of the name %j",
    (name) =>
      check(job(Schema.Int), body(1, { job: name }), `no handler for job "${name}": this worker handles j, count`)
  )
})

describe("log lines", () => {
  interface Line {
    readonly message: string
    readonly annotations: Record<string, unknown>
    readonly cause: string
  }

  /** The messages that a service's logger receives. */
  const logged = (lines: Array<Line>) =>
    Layer.merge(
      TestBroker.layer,
      Logger.layer([
        Logger.map(Logger.formatStructured, ({ annotations, cause = "", message }) =>
          void lines.push({ annotations, cause, message: String(message) }))
      ])
    )

  const hostile = `\u001b]0;title\u0007\r\nlevel=ERROR message="forged"\u202e\u009b31m`

  const isSafe = ({ annotations, cause, message }: Line): void => {
    for (const text of [message, ...Object.values(annotations).map(String), ...cause.split("\n")]) {
      assert.notMatch(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      assert.isBelow(text.length, 9000)
    }
    assert.notMatch(cause, /^level=/m)
  }

  it.effect("a text of a job, a handler or a decoder forges none, and is bounded", () => {
    const lines: Array<Line> = []
    const long = hostile + "\u0007".repeat(3000)
    return Effect.gen(function*() {
      yield* putRaw("q", { backq: 1, id: long, job: long, payload: 1 })
      yield* putRaw("q", { backq: 1, id: long, job: "count", payload: { [long]: 1 } })
      yield* putRaw("q", { backq: 1, id: "1", job: "count", payload: 1, traceparent: long, expiresAt: 1e300 })
      for (let n = 0; n < 5; n++) yield* publish(1)
      let n = 0
      yield* start(
        { foreign: () => Result.fail(long), concurrency: 1 },
        Worker.handler(Count, (): Effect.Effect<unknown, unknown> => {
          switch (n++ % 6) {
            case 0:
              return Effect.fail(long)
            case 1:
              return Effect.die(new Error(long))
            case 2:
              return Job.bury(long)
            case 3:
              return Job.discard(long)
            case 4:
              return Job.retryAfter("1 second", long)
            default:
              return Effect.die(Object.assign(new Error("x", { cause: new Error(hostile) }), { name: hostile }))
          }
        })
      )
      yield* putRaw("q", long)
      yield* pass(0)
      assert.isAbove(lines.length, 8)
      lines.forEach(isSafe)
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("a job name of 60 kB makes a line of 1 kB", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      yield* putRaw("q", { backq: 1, id: "1", job: "n".repeat(60_000), payload: 1 })
      yield* start({}, Worker.handler(Count, () => Effect.void))
      const line = lines.find(({ message }) => message.startsWith("buried"))
      assert.isDefined(line)
      assert.isBelow(JSON.stringify(line).length, 1000)
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect.each<readonly [string, string]>([["60 kB", "n".repeat(60_000)], [
    "characters that move a cursor",
    hostile.repeat(500)
  ]])(
    "a worker's own job may have a name of %s",
    ([, name]) => {
      const lines: Array<Line> = []
      const job = Job.make(name, { payload: Schema.Int, queue: "q" })
      return Effect.gen(function*() {
        yield* Publisher.publishAll(job, [0, 1])
        yield* putRaw("q", { backq: 1, id: "1", job: name, payload: "x" })
        yield* start(
          {},
          Worker.handler(
            job,
            (n) => n === 0 ? Effect.logInfo("hello") : Effect.andThen(Effect.logInfo("hello"), Effect.die("no"))
          )
        )
        for (const options of [{ requireWorkers: true, queue: "other" }, { deadline: -1 }, { queue: "no queue" }]) {
          yield* Effect.logError((yield* Effect.flip(Publisher.publish(job, 1, options))).message)
        }
        yield* Effect.logError((yield* Effect.flip(Publisher.publish(job, "x" as never))).message)
        assert.isAbove(lines.length, 8)
        lines.forEach(isSafe)
        for (const line of lines) assert.isBelow(JSON.stringify(line).length, 4000)
      }).pipe(Effect.provide(logged(lines)))
    }
  )

  it.effect("a harmless defect reaches the loggers unchanged", () => {
    const defect = Object.assign(new TypeError("x is undefined"), { code: "E1" })
    const seen: Array<unknown> = []
    return Effect.gen(function*() {
      yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Effect.die(defect)))
      assert.deepStrictEqual(seen, [defect])
    }).pipe(Effect.provide(Layer.merge(
      TestBroker.layer,
      Logger.layer([
        Logger.make(({ cause }) => void seen.push(...cause.reasons.filter(Cause.isDieReason).map((die) => die.defect)))
      ])
    )))
  })

  it.effect("a logger that throws loses only its lines", () =>
    Effect.gen(function*() {
      yield* publish(3)
      const worker = yield* start(
        { concurrency: 1, grace: "1 second" },
        Worker.handler(Count, (n) => n === 0 ? Effect.die(new Error("x")) : n === 1 ? Effect.void : Effect.never)
      )
      const stopping = yield* Effect.forkChild(Fiber.interrupt(worker.fiber))
      yield* pass("1 second")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(worker.tags(), ["Retried", "Done"])
      assert.deepStrictEqual(yield* numbers(), { ready: 2, delayed: 0, reserved: 0, buried: 0 })
    }).pipe(Effect.provide(Layer.merge(TestBroker.layer, Logger.layer([Logger.make(refuse)])))))
})

describe("a stop", () => {
  it.effect("that dies is reported after running jobs settle", () =>
    Effect.gen(function*() {
      yield* publish(2)
      const exit = yield* TestBroker.advance("2 seconds").pipe(
        Effect.andThen(Effect.void),
        Effect.forkChild,
        Effect.andThen(Effect.exit(Worker.run(
          { concurrency: 1, stop: Effect.andThen(Effect.sleep("1 second"), Effect.die(new Error("no stop"))) },
          Worker.handler(Count, (n) => n === 0 ? Effect.sleep("2 seconds") : Effect.void)
        )))
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("no stop"))
      assert.deepStrictEqual(yield* numbers(), { ready: 1, delayed: 0, reserved: 0, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))
})
