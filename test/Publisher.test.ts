import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { Broker, type JobId, type PutRequest } from "../src/Broker.ts"
import { type BrokerErrorReason, Draining, make as brokerError, OutOfMemory, Unavailable } from "../src/BrokerError.ts"
import * as MemoryBroker from "../src/brokers/memory/MemoryBroker.ts"
import * as Envelope from "../src/Envelope.ts"
import { Job, Publisher } from "../src/index.ts"
import { Inspector } from "../src/Inspector.ts"
import { TestBroker } from "../src/testing/index.ts"

const Mail = Job.make("mail", { payload: Schema.Struct({ to: Schema.String }), priority: 5, ttr: "7 seconds" })
const Short = Job.make("short", { payload: Schema.String.pipe(Schema.check(Schema.isMaxLength(3))) })

const memory = Layer.provideMerge(Layer.fresh(Publisher.layer), Layer.fresh(MemoryBroker.layer))

/** A publisher on a broker of which only some operations are there. */
const on = (double: Partial<Broker["Service"]>) =>
  Layer.provide(
    Layer.fresh(Publisher.layer),
    Layer.mock(Broker)({ features: MemoryBroker.features, name: "double:", ...double })
  )

const refusing = (reason: BrokerErrorReason) =>
  on({
    put: () => Effect.fail(brokerError(reason)),
    putAll: (_, requests) => Effect.succeed(requests.map(() => Result.fail(brokerError(reason)))),
    idleWorkers: () => Effect.fail(brokerError(reason)),
    ping: Effect.fail(brokerError(reason))
  })

/** A publisher that shows what it sends. */
const recording = (sent: Array<readonly [queue: string, request: PutRequest]>) =>
  on({
    put: (queue, request) => Effect.sync(() => String(sent.push([queue, request])) as JobId),
    putAll: (queue, requests) =>
      Effect.sync(() => requests.map((request) => Result.succeed(String(sent.push([queue, request])) as JobId)))
  })

const envelopeOf = ({ body }: { readonly body: Uint8Array }) => Result.getOrThrow(Envelope.decode(body))

const peeked = Effect.fnUntraced(function*(id: JobId) {
  const inspector = yield* Inspector
  return envelopeOf(Option.getOrThrow(yield* inspector.peek(id)))
})

describe("publish", () => {
  it.effect("sends exactly these bytes", () => {
    const sent: Array<readonly [string, PutRequest]> = []
    return Effect.gen(function*() {
      yield* TestClock.setTime(1764000000000)
      const job = Job.make("send-welcome", { payload: Schema.Struct({ at: Schema.Date }), version: 3, queue: "mail" })
      const id = yield* Publisher.publish(job, { at: new Date(0) }, { id: "key", deadline: "1 minute" })
      assert.strictEqual(id, "1")
      const [queue, { body, delay, priority, ttr }] = sent[0]!
      assert.strictEqual(queue, "mail")
      assert.strictEqual(
        new TextDecoder().decode(body),
        `{"backq":1,"id":"key","job":"send-welcome","version":3,"payload":{"at":"1970-01-01T00:00:00.000Z"},` +
          `"publishedAt":1764000000000,"expiresAt":1764000060000}`
      )
      assert.deepStrictEqual([delay, priority, ttr], [Duration.zero, 1024, Duration.seconds(60)])
    }).pipe(Effect.provide(recording(sent)))
  })

  it.effect("prefers the options to the job's settings", () => {
    const sent: Array<readonly [string, PutRequest]> = []
    return Effect.gen(function*() {
      yield* Publisher.publish(Mail, { to: "a" })
      yield* Publisher.publish(Mail, { to: "a" }, { queue: "q", priority: 0, ttr: "1 second", delay: "2 minutes" })
      assert.deepStrictEqual(
        sent.map(([queue, { delay, priority, ttr }]) => [queue, delay, priority, ttr].map(String)),
        [
          ["mail", Duration.zero, 5, Duration.seconds(7)].map(String),
          ["q", Duration.minutes(2), 0, Duration.seconds(1)].map(String)
        ]
      )
    }).pipe(Effect.provide(recording(sent)))
  })

  it.effect("gives every job a UUID v7 of its time", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1764000000000)
      const ids = yield* Effect.replicateEffect(
        Effect.flatMap(Publisher.publish(Mail, { to: "a" }), (id) => Effect.map(peeked(id), (envelope) => envelope.id)),
        2000
      )
      assert.strictEqual(new Set(ids).size, 2000)
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.strictEqual(parseInt(ids[0]!.replaceAll("-", "").slice(0, 12), 16), 1764000000000)
    }).pipe(Effect.provide(memory)))

  it.effect("a deadline is a duration, an instant, the job's, or absent", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1000)
      const expiring = Job.make("expiring", { payload: Schema.Null, deadline: "10 seconds" })
      const expiresAt = (options?: Publisher.PublishOptions, job = expiring) =>
        Effect.flatMap(Publisher.publish(job, null, options), peeked).pipe(Effect.map((envelope) => envelope.expiresAt))
      assert.strictEqual(yield* expiresAt(), 11_000)
      assert.strictEqual(yield* expiresAt({ deadline: "1 second" }), 2000)
      assert.strictEqual(yield* expiresAt({ deadline: DateTime.makeUnsafe(5) }), 5)
      assert.strictEqual(yield* expiresAt({ deadline: Duration.infinity }), undefined)
      assert.strictEqual(yield* expiresAt(undefined, Job.make("never", { payload: Schema.Null })), undefined)
    }).pipe(Effect.provide(memory)))

  it.effect("fails with PayloadInvalid when a Schema encodes to something other than JSON", () =>
    Effect.gen(function*() {
      const Anything = Job.make("anything", { payload: Schema.Any })
      for (const payload of [{ a: 1n }, () => 1, undefined]) {
        const error = yield* Effect.flip(Publisher.publish(Anything, payload))
        assert.strictEqual(error.reason._tag, "PayloadInvalid")
      }
      const results = yield* Publisher.publishAll(Anything, [1, { a: 1n }, 2])
      assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true])
    }).pipe(Effect.provide(memory)))

  it.effect("fails with PayloadInvalid, and does not quote the payload", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Publisher.publish(Short, "hunter2"))
      assert.deepInclude(error, { _tag: "PublishError", job: "short", queue: "short" })
      assert.strictEqual(error.reason._tag, "PayloadInvalid")
      assert.include(error.message, `job "short" was not published to queue "short"`)
      assert.notInclude(error.message, "hunter2")
      assert.notInclude(error.message, "\n")
    }).pipe(Effect.provide(memory)))

  const invalid: ReadonlyArray<readonly [string, Publisher.PublishOptions, string]> = [
    ["a negative delay", { delay: "-1 seconds" }, "OptionInvalid"],
    ["an unreadable delay", { delay: "soon" as any }, "OptionInvalid"],
    ["a time to run of 0", { ttr: 0 }, "OptionInvalid"],
    ["a priority of -1", { priority: -1 }, "OptionInvalid"],
    ["a priority of 2^32", { priority: 2 ** 32 }, "OptionInvalid"],
    ["a negative deadline", { deadline: "-1 seconds" }, "OptionInvalid"],
    ["an unreadable deadline", { deadline: "soon" as any }, "OptionInvalid"],
    ["a queue with a space", { queue: "a b" }, "QueueNameInvalid"],
    ["a queue without a name", { queue: "" }, "QueueNameInvalid"]
  ]

  it.effect.each(invalid)("refuses %s, and sends nothing", ([, options, tag]) => {
    const sent: Array<readonly [string, PutRequest]> = []
    return Effect.gen(function*() {
      const error = yield* Effect.flip(Publisher.publish(Mail, { to: "a" }, options))
      assert.strictEqual(error.reason._tag, tag)
      const [result] = yield* Publisher.publishAll(Mail, [{ to: "a" }], options)
      assert.strictEqual(Result.getOrThrow(Result.flip(result!)).reason._tag, tag)
      assert.deepStrictEqual(sent, [])
    }).pipe(Effect.provide(recording(sent)))
  })

  it.effect("the error has the largest body size", () =>
    Effect.gen(function*() {
      const fallback = yield* Publisher.publish(Mail, { to: "a".repeat(1000) }).pipe(
        Effect.catchReason("PublishError", "JobTooBig", ({ limit, size }) => Effect.succeed({ limit, size }))
      )
      assert.isObject(fallback)
      assert.include(fallback, { limit: 500 })
      assert.isAbove((fallback as { size: number }).size, 1000)
    }).pipe(Effect.provide(Layer.provide(Layer.fresh(Publisher.layer), MemoryBroker.layerWith({ maxJobSize: 500 })))))

  const reasons: ReadonlyArray<BrokerErrorReason> = [
    new Unavailable({ broker: "b", fate: "Unknown", detail: "closed" }),
    new Draining({ broker: "b" }),
    new OutOfMemory({ broker: "b" })
  ]

  it.effect.each(reasons)("passes on the broker's reason: %s", (reason) =>
    Effect.gen(function*() {
      const fallback = yield* Publisher.publish(Mail, { to: "a" }).pipe(
        Effect.catchReason("PublishError", reason._tag, (caught: BrokerErrorReason) => Effect.succeed(caught))
      )
      assert.strictEqual(fallback, reason)
      const [result] = yield* Publisher.publishAll(Mail, [{ to: "a" }])
      assert.strictEqual(Result.getOrThrow(Result.flip(result!)).reason, reason)
      assert.strictEqual((yield* Effect.flip(Publisher.ping)).reason, reason)
      assert.strictEqual((yield* Effect.flip(Publisher.idleWorkers(Mail))).reason, reason)
    }).pipe(Effect.provide(refusing(reason))))

  it.effect("needs no workers, unless they are required", () =>
    Effect.gen(function*() {
      const broker = yield* Broker
      const inspector = yield* Inspector
      assert.strictEqual(yield* Publisher.idleWorkers(Mail), 0)
      const publish = Publisher.publish(Mail, { to: "a" }, { requireWorkers: true })
      const fallback = yield* publish.pipe(
        Effect.catchReason("PublishError", "NoIdleWorkers", ({ queue }) => Effect.succeed(`nobody on ${queue}`))
      )
      assert.strictEqual(fallback, "nobody on mail")
      assert.deepStrictEqual(yield* inspector.queues, [])

      const consumer = yield* broker.consume(["mail"])
      yield* Effect.forkChild(consumer.reserve(1), { startImmediately: true })
      assert.strictEqual(yield* Publisher.idleWorkers("mail"), 1)
      assert.isString(yield* publish)
    }).pipe(Effect.scoped, Effect.provide(memory)))
})

describe("publishAll", () => {
  it.effect("returns a result for each item, in order", () =>
    Effect.gen(function*() {
      const results = yield* Publisher.publishAll(Short, ["a", "long", "b", "c", "d"], (_, index) => ({
        ...(index === 2 ? { delay: "-1 seconds" as const } : undefined),
        ...(index === 3 ? { queue: "not a queue" } : undefined),
        ...(index === 4 ? { queue: "other" } : undefined)
      }))
      assert.deepStrictEqual(
        results.map((result) => Result.isSuccess(result) ? "accepted" : result.failure.reason._tag),
        ["accepted", "PayloadInvalid", "OptionInvalid", "QueueNameInvalid", "accepted"]
      )
      assert.deepStrictEqual((yield* TestBroker.enqueued(Short)).map((job) => job.payload), ["a"])
      assert.deepStrictEqual((yield* TestBroker.enqueued(Short, { queue: "other" })).map((job) => job.payload), ["d"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("an empty list publishes nothing", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Publisher.publishAll(Short, []), [])
    }).pipe(Effect.provide(memory)))

  it.effect("keeps the order of many jobs, and marks those that the broker refused", () =>
    Effect.gen(function*() {
      const payloads = Array.from(
        { length: 1500 },
        (_, index) => ({ to: index % 7 === 3 ? "x".repeat(600) : `${index}` })
      )
      const results = yield* Publisher.publishAll(Mail, payloads)
      assert.strictEqual(results.length, payloads.length)
      for (const [index, result] of results.entries()) {
        if (index % 7 === 3) assert.strictEqual(Result.getOrThrow(Result.flip(result)).reason._tag, "JobTooBig")
        else assert.deepStrictEqual((yield* peeked(Result.getOrThrow(result))).payload, payloads[index])
      }
    }).pipe(Effect.provide(
      Layer.provideMerge(Layer.fresh(Publisher.layer), MemoryBroker.layerWith({ maxJobSize: 500 }))
    )))

  it.effect("takes any iterable, once", () =>
    Effect.gen(function*() {
      let taken = 0
      function* letters() {
        for (const letter of ["a", "b"]) {
          taken++
          yield letter
        }
      }
      assert.strictEqual((yield* Publisher.publishAll(Short, letters())).length, 2)
      assert.strictEqual(taken, 2)
    }).pipe(Effect.provide(memory)))

  it.effect("requires workers only for items with that option", () =>
    Effect.gen(function*() {
      const results = yield* Publisher.publishAll(
        Short,
        ["a", "b", "c"],
        (_, index) => ({ requireWorkers: index === 1 })
      )
      assert.deepStrictEqual(
        results.map((result) => Result.isSuccess(result) ? "accepted" : result.failure.reason._tag),
        ["accepted", "NoIdleWorkers", "accepted"]
      )
    }).pipe(Effect.provide(memory)))

  it.effect("every item fails when the broker is away", () => {
    const reason = new Unavailable({ broker: "b", fate: "NotSent", detail: "refused" })
    return Effect.gen(function*() {
      const results = yield* Publisher.publishAll(Short, ["a", "b"], { requireWorkers: true })
      assert.deepStrictEqual(results.map((result) => Result.getOrThrow(Result.flip(result)).reason), [reason, reason])
    }).pipe(Effect.provide(refusing(reason)))
  })
})

describe("tracing", () => {
  /** A tracer that keeps its spans. */
  const keeping = (spans: Array<Tracer.Span>) =>
    Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })

  it.effect("the envelope names the publisher's span", () => {
    const spans: Array<Tracer.Span> = []
    return Effect.gen(function*() {
      const id = yield* Publisher.publish(Mail, { to: "a" }).pipe(Effect.withSpan("request"))
      const span = spans.find((span) => span.name === "Publisher.publish")!
      assert.strictEqual((yield* peeked(id)).traceparent, `00-${span.traceId}-${span.spanId}-01`)
      assert.strictEqual(span.kind, "producer")
      assert.deepStrictEqual(Object.fromEntries(span.attributes), { "backq.job": "mail", "backq.queue": "mail" })

      const [all] = yield* Publisher.publishAll(Mail, [{ to: "a" }])
      const batch = spans.find((span) => span.name === "Publisher.publishAll")!
      assert.strictEqual(
        (yield* peeked(Result.getOrThrow(all!))).traceparent,
        `00-${batch.traceId}-${batch.spanId}-01`
      )
    }).pipe(Effect.provide(memory), Effect.provideService(Tracer.Tracer, keeping(spans)))
  })

  it.effect("costs nothing without a tracer", () =>
    Effect.gen(function*() {
      const id = yield* Publisher.publish(Mail, { to: "a" }).pipe(Effect.withSpan("request"))
      assert.isUndefined((yield* peeked(id)).traceparent)
    }).pipe(Effect.provide(memory)))
})
