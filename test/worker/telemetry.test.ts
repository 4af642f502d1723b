/** The telemetry of a worker: log lines, spans, metrics. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, pass, publish, putRaw, start } from "./harness.ts"

interface Line {
  readonly level: string
  readonly message: unknown
  readonly cause: string | undefined
  readonly annotations: Record<string, unknown>
}

/** A broker, and a logger that keeps its messages. */
const logged = (lines: Array<Line>) =>
  Layer.merge(TestBroker.layer, Logger.layer([Logger.map(Logger.formatStructured, (line) => void lines.push(line))]))

const notInfo = (lines: ReadonlyArray<Line>) => lines.filter((line) => line.level !== "INFO")

describe("log", () => {
  it.effect("one line per failure, with job id, queue, attempt and reason, and never the payload", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      const [id] = yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Effect.fail("no route")))
      assert.deepStrictEqual(
        notInfo(lines).map(({ annotations, level, message }) => ({ annotations, level, message })),
        [{
          level: "WARN",
          message: "failed, next attempt in 1s: no route",
          annotations: { queue: "q", jobId: id, job: "count", attempt: 1 }
        }]
      )
      yield* pass("1 second")
      yield* pass("2 seconds")
      assert.strictEqual(notInfo(lines).length, 3)
      assert.deepInclude(notInfo(lines)[2], {
        level: "ERROR",
        message: "buried: attempt 3 was the last: no route",
        annotations: { queue: "q", jobId: id, job: "count", attempt: 3 }
      })
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("an unreadable job is logged without its body", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      const id = yield* putRaw("q", "hunter2")
      yield* putRaw("q", { backq: 1, id: "a", job: "count", payload: { password: "hunter2" } })
      yield* putRaw("q", { backq: 1, id: "a", job: "count", payload: "hunter2" })
      yield* putRaw("q", { backq: 1, id: "a", job: "unknown", payload: "hunter2" })
      yield* start({
        foreign: () => {
          throw new Error("can't read hunter2")
        }
      }, Worker.handler(Count, () => Effect.void))
      assert.deepStrictEqual(notInfo(lines).map((line) => line.level), ["ERROR", "ERROR", "ERROR", "ERROR"])
      assert.deepStrictEqual(notInfo(lines)[0]!.annotations, { queue: "q", jobId: id, attempt: 1 })
      assert.notInclude(JSON.stringify(lines), "hunter2")
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("a defect is logged with its cause", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Effect.die(new TypeError("x is undefined"))))
      assert.strictEqual(notInfo(lines).length, 1)
      assert.include(JSON.stringify(notInfo(lines)), "telemetry.test.ts")
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("discarded, expired and lost jobs are logged too; done jobs are not", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      yield* publish(1, { deadline: 0 })
      yield* publish(1)
      yield* publish(1, { ttr: "1 second", priority: 2000 })
      yield* start(
        { touch: false, concurrency: 1 },
        Worker.handler(Count, (_, { jobId }) =>
          jobId === "2"
            ? Job.discard("unsubscribed")
            : jobId === "3"
            ? Effect.sleep("2 seconds")
            : Effect.void)
      )
      yield* pass("2 seconds")
      yield* publish(1, { priority: 1 })
      const told = lines.map((line) => `${line.level} ${line.message}`)
      assert.include(told, "WARN expired at 1970-01-01T00:00:00.000Z, deleted")
      assert.include(told, "INFO discarded: unsubscribed")
      assert.isTrue(told.some((line) => line.startsWith("WARN done, but it will run again: the lease on job 3")))
      assert.isFalse(told.some((line) => line.includes("done in")))
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("done jobs are logged at the debug level", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Effect.sleep("5 millis")))
      yield* pass("5 millis")
      assert.isTrue(lines.some((line) => line.level === "DEBUG" && line.message === "done in 5 ms"))
    }).pipe(
      Effect.provide(logged(lines)),
      Effect.provideService(References.MinimumLogLevel, "Debug")
    )
  })

  it.effect("a handler's own lines name their job", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      const [id] = yield* publish(1)
      yield* start({}, Worker.handler(Count, () => Effect.logInfo("hello"))).pipe(
        Effect.annotateLogs({ service: "mail" })
      )
      assert.deepStrictEqual(
        lines.find((line) => line.message === "hello")!.annotations,
        { service: "mail", job: "count", jobId: id, queue: "q" }
      )
    }).pipe(Effect.provide(logged(lines)))
  })
})

describe("spans", () => {
  const recording = (spans: Array<Tracer.Span>) =>
    Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })

  it.effect("each job has one, linked to its publisher's", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = recording(spans)
    return Effect.gen(function*() {
      const id = yield* Publisher.publish(Count, 1).pipe(Effect.withSpan("request"))
      yield* start({}, Worker.handler(Count, () => Effect.withSpan(Effect.fail("no"), "inside")))
      const named = (name: string) => spans.filter((span) => span.name === name)
      const [published] = named("Publisher.publish")
      const [span, ...others] = named("backq.count")
      assert.deepStrictEqual(others, [])
      assert.include(span, { kind: "consumer" })
      assert.isTrue(Option.isNone(span!.parent))
      assert.deepStrictEqual(span!.links.map(({ span: { spanId, traceId } }) => [traceId, spanId]), [
        [published!.traceId, published!.spanId]
      ])
      assert.deepStrictEqual(Object.fromEntries(span!.attributes), { "backq.queue": "q", "backq.job.id": id })
      assert.strictEqual(Option.getOrThrow(named("inside")[0]!.parent).spanId, span!.spanId)
      assert.strictEqual(span!.status._tag, "Ended")
    }).pipe(Effect.provide(TestBroker.layer), Effect.provideService(Tracer.Tracer, tracer))
  })

  it.effect("a traceparent without a span is ignored", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = recording(spans)
    return Effect.gen(function*() {
      yield* putRaw("q", { backq: 1, id: "a", job: "count", payload: 1, traceparent: "nonsense" })
      const worker = yield* start({}, Worker.handler(Count, () => Effect.void))
      assert.deepStrictEqual(worker.tags(), ["Done"])
      assert.deepStrictEqual(spans.find((span) => span.name === "backq.count")!.links, [])
    }).pipe(Effect.provide(TestBroker.layer), Effect.provideService(Tracer.Tracer, tracer))
  })
})

describe("metrics", () => {
  it.effect("count the deliveries by queue and outcome, and measure the handlers", () =>
    Effect.gen(function*() {
      yield* publish(5, { queue: "measured" })
      yield* putRaw("measured", "garbage")
      yield* start(
        { queue: "measured" },
        Worker.handler(Count, (n) => n === 0 ? Effect.fail("no") : Effect.sleep(n * 10))
      )
      yield* pass("100 millis")
      const snapshots = Metric.snapshotUnsafe(yield* Effect.context<never>())
        .filter((metric) => metric.attributes?.["queue"] === "measured")
      const counts = snapshots.flatMap((metric) =>
        metric.type === "Counter" && metric.state.count > 0
          ? [[metric.id, metric.attributes!["outcome"], Number(metric.state.count)] as const]
          : []
      )
      assert.deepStrictEqual(counts.toSorted((a, b) => `${a[1]}` < `${b[1]}` ? -1 : 1), [
        ["backq_jobs", "Buried", 1],
        ["backq_jobs", "Done", 4],
        ["backq_jobs", "Retried", 1]
      ])
      const durations = snapshots.find((metric) => metric.type === "Histogram")!
      assert.strictEqual(durations.id, "backq_job_duration_milliseconds")
      assert.deepInclude(durations.state, { count: 4, min: 10, max: 40, sum: 100 })
    }).pipe(Effect.provide(TestBroker.layer), Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("go to the registry of the worker's context", () =>
    Effect.gen(function*() {
      yield* publish(1, { queue: "elsewhere" })
      const registry: Metric.MetricRegistry = new Map()
      yield* start({ queue: "elsewhere" }, Worker.handler(Count, () => Effect.void)).pipe(
        Effect.provideService(Metric.MetricRegistry, registry)
      )
      const snapshots = Metric.snapshotUnsafe(Context.make(Metric.MetricRegistry, registry))
      assert.isTrue(snapshots.some((metric) => metric.attributes?.["queue"] === "elsewhere"))
    }).pipe(Effect.provide(TestBroker.layer)))
})
