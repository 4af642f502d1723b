/** Payloads, Schemas and options are user code: if they throw, that job fails, and no other job does. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { Job, Publisher, Worker } from "../src/index.ts"
import { Inspector } from "../src/Inspector.ts"
import { perform, TestBroker } from "../src/testing/index.ts"
import * as Fuzz from "./support/fuzz.ts"
import * as Strange from "./support/strange.ts"

const refuse = (): never => {
  throw new Error("it can't be read")
}

/** A transformation as services write them: `toISOString` throws for an invalid date. */
const IsoDate = Schema.String.pipe(Schema.decodeTo(
  Schema.instanceOf(Date),
  SchemaTransformation.transform({ decode: (text: string) => new Date(text), encode: (date) => date.toISOString() })
))

const Slow = Schema.String.pipe(Schema.decodeTo(
  Schema.Date,
  SchemaTransformation.transformEffect({
    decode: (text: string) => Effect.promise(() => Promise.resolve(new Date(text))),
    encode: (date) =>
      date.getTime() === 0 ? Effect.promise(() => Promise.resolve("slowly")) : Effect.succeed(date.toISOString())
  })
))

const cyclic = () => {
  const payload: { self?: unknown } = {}
  payload.self = payload
  return payload
}

const jobOf = <A>(payload: Schema.ConstraintCodec<A, unknown>): Job.Job<any> =>
  Job.make("strange", { payload, queue: "q" })

const unknown = jobOf(Schema.Unknown)
const named = jobOf(Schema.Struct({ name: Schema.String }))

/** The fault, the job, a good payload and a bad payload. */
const cases: ReadonlyArray<readonly [what: string, job: Job.Job<any>, good: unknown, bad: () => unknown]> = [
  ["a transformation that throws", jobOf(IsoDate), new Date(0), () => new Date(Number.NaN)],
  ["a slow encoder", jobOf(Slow), new Date(1), () => new Date(0)],
  [
    "a getter that throws",
    named,
    { name: "a" },
    () => Object.defineProperty({}, "name", { get: refuse, enumerable: true })
  ],
  [
    "a getter in a value without a Schema",
    unknown,
    1,
    () => Object.defineProperty({}, "a", { get: refuse, enumerable: true })
  ],
  ["a proxy that answers nothing", unknown, 1, () => new Proxy({}, { get: refuse, ownKeys: refuse, has: refuse })],
  ["a revoked proxy", unknown, 1, () => Strange.failures.find(([what]) => what === "a revoked proxy")![1]],
  ["20,000 levels", unknown, 1, () => Strange.nested(20_000)],
  ["100,000 levels", jobOf(Schema.Json), 1, () => Strange.nested(100_000)],
  ["a circle", unknown, 1, cyclic],
  ["a big integer without a Schema", unknown, 1, () => ({ a: 1n })],
  ["a toJSON that throws", unknown, 1, () => ({ toJSON: refuse })],
  ["a function", unknown, 1, () => () => 1],
  ["a symbol", unknown, 1, () => Symbol("s")],
  ["undefined", unknown, 1, () => undefined],
  ["a long key of the wrong type", jobOf(Schema.Record(Schema.String, Schema.Finite)), {}, () => ({
    [`\u001b[2J${"k".repeat(1_000_000)}`]: "x"
  })],
  ["a foreign job whose encoder throws", { ...unknown, encode: refuse }, 1, () => 1],
  ["a foreign job whose encoder returns nothing", { ...unknown, encode: () => undefined as never }, 1, () => 1]
]

const reasonOf = (result: Result.Result<unknown, Publisher.PublishError>): string =>
  Result.match(result, { onSuccess: () => "accepted", onFailure: ({ reason }) => reason._tag })

const waiting = Effect.map(Inspector.use((inspector) => inspector.statsQueue("q")), ({ ready }) => ready)

describe("a payload with", () => {
  for (const [what, job, good, bad] of cases) {
    it.effect(`${what} fails as PayloadInvalid`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Publisher.publish(job, bad()))
        assert.strictEqual(error.reason._tag, "PayloadInvalid")
        Fuzz.checkWords(error.message)
        assert.isBelow(error.message.length, 5000)
        // the handler's test says the same
        const performed = yield* Effect.flip(perform(Worker.handler(job, () => Effect.void), bad()))
        assert.strictEqual(performed.reason._tag, "PayloadInvalid")
      }).pipe(Effect.provide(TestBroker.layer)))

    if (what.startsWith("a foreign job")) continue
    it.effect(`${what} is the 700th of 1,000, and the others are published`, () =>
      Effect.gen(function*() {
        const payloads = Array.from({ length: 1000 }, (_, index) => index === 699 ? bad() : good)
        const results = yield* Publisher.publishAll(job, payloads)
        assert.deepStrictEqual(
          results.map(reasonOf),
          payloads.map((_, index) => index === 699 ? "PayloadInvalid" : "accepted")
        )
        assert.strictEqual(yield* waiting, 999)
      }).pipe(Effect.provide(TestBroker.layer)))
  }
})

describe("publishAll", () => {
  const payloads = Array.from({ length: 1000 }, (_, index) => index)

  it.effect.each<readonly [string, (payload: number) => Publisher.PublishOptions]>([
    ["throws", (payload) => payload === 699 ? refuse() : {}],
    ["returns nothing", (payload) => (payload === 699 ? undefined : {}) as Publisher.PublishOptions],
    [
      "returns a value that throws",
      (payload) => payload === 699 ? Object.defineProperty({}, "delay", { get: refuse, enumerable: true }) : {}
    ],
    [
      "returns a queue that throws",
      (payload) => payload === 699 ? Object.defineProperty({}, "queue", { get: refuse }) : {}
    ]
  ])("a function of the options that %s fails for that one alone", ([, options]) =>
    Effect.gen(function*() {
      const results = yield* Publisher.publishAll(unknown, payloads, options)
      assert.deepStrictEqual(
        results.map(reasonOf),
        payloads.map((payload) => payload === 699 ? "PayloadInvalid" : "accepted")
      )
      assert.strictEqual(yield* waiting, 999)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect.each([-1, 0, 1, 255, 256, 511, 512, 700])(
    "an iterable that throws after %d payloads publishes the ones before",
    (count) =>
      Effect.gen(function*() {
        const strange: Iterable<number> = count < 0 ?
          Object.defineProperty({}, Symbol.iterator, { get: refuse }) as never :
          {
            *[Symbol.iterator]() {
              yield* payloads.slice(0, count)
              refuse()
            }
          }
        const results = yield* Publisher.publishAll(unknown, strange)
        const accepted = Math.max(count, 0)
        assert.deepStrictEqual(
          results.map(reasonOf),
          [...payloads.slice(0, accepted).map(() => "accepted"), "PayloadInvalid"]
        )
        assert.strictEqual(accepted === 0 ? 0 : yield* waiting, accepted)
      }).pipe(Effect.provide(TestBroker.layer))
  )

  it.effect("invalid options fail with a bounded message", () =>
    Effect.gen(function*() {
      for (
        const options of [
          { queue: "\u001b[2J".repeat(10_000) },
          { queue: Symbol("q") },
          { delay: "x".repeat(60_000) },
          { priority: Object.create(null) },
          { deadline: Symbol("d") },
          { ttr: Strange.chain(10) },
          { id: 7 },
          { id: Symbol("id") },
          { id: {} },
          { id: { toJSON: () => undefined } }
        ]
      ) {
        const error = yield* Effect.flip(Publisher.publish(unknown, 1, options as never))
        assert.include(["QueueNameInvalid", "OptionInvalid", "PayloadInvalid"], error.reason._tag)
        Fuzz.checkWords(error.message)
        assert.isBelow(error.message.length, 3000)
      }
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("meaningless options", () => {
  const times: ReadonlyArray<readonly [string, unknown]> = [
    ["NaN", Number.NaN],
    ["a date", new Date(0)],
    ["an invalid date", new Date(Number.NaN)],
    ["an object without a unit", {}],
    ["an object with a misspelt unit", { second: 5 }],
    ["an object without a number", { seconds: Number.NaN }],
    ["a pair without numbers", [Number.NaN, 0]],
    ["a function", () => 1]
  ]

  it.effect.each(times)(
    "a time that is %s is refused",
    ([what, time]) =>
      Effect.gen(function*() {
        for (const option of ["delay", "deadline", "ttr"]) {
          const error = yield* Effect.flip(Publisher.publish(unknown, 1, { [option]: time }))
          assert.include(error.reason, { _tag: "OptionInvalid", option }, what)
          assert.throws(() => Job.make("j", { payload: Schema.Unknown, [option]: time, timeout: time as never }))
          if (option !== "delay") {
            const result = yield* Publisher.publishAll({ ...unknown, [option]: time }, [1])
            assert.deepStrictEqual(result.map(reasonOf), ["OptionInvalid"])
          }
        }
        assert.throws(() => Job.retryAfter(time as never))
        for (const option of ["timeout", "grace", "idleTimeout"]) {
          const exit = yield* Effect.exit(
            Worker.run({ [option]: time, stop: Effect.void }, Worker.handler(unknown, () => Effect.void))
          )
          assert.include(String(exit), option, what)
        }
        assert.strictEqual((yield* Inspector.use((inspector) => inspector.queues)).length, 0)
      }).pipe(Effect.provide(TestBroker.layer))
  )

  it.effect.each<readonly [string, unknown]>([
    ["nothing", null],
    ["a getter of the queue that throws", Object.defineProperty({}, "queue", { get: refuse })],
    ["a proxy that answers nothing", new Proxy({}, { get: refuse, ownKeys: refuse, has: refuse })],
    ["an invalid id", { id: 7 }]
  ])("%s", ([, options]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Publisher.publish(unknown, 1, options as never))
      assert.include(["OptionInvalid", "PayloadInvalid"], error.reason._tag)
      Fuzz.checkWords(error.message)
      const results = yield* Publisher.publishAll(unknown, [1, 2], (payload) => payload === 1 ? options as never : {})
      assert.deepStrictEqual(results.map(reasonOf), [error.reason._tag, "accepted"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job with an invalid name or version is not published", () =>
    Effect.gen(function*() {
      for (const broken of [{ name: 7 }, { version: Number.NaN }, { version: Infinity }, { version: "1" }]) {
        const error = yield* Effect.flip(Publisher.publish({ ...unknown, ...broken } as never, 1))
        assert.strictEqual(error.reason._tag, "OptionInvalid")
      }
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a deadline beyond the last date means no deadline", () =>
    Effect.gen(function*() {
      yield* Publisher.publish(unknown, 1, { deadline: Duration.nanos(10n ** 400n) })
      const outcomes = yield* TestBroker.drain(Worker.handler(unknown, () => Effect.void))
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Done"])
    }).pipe(Effect.provide(TestBroker.layer)))
})
