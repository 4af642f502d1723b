/**
 * `backq bench`: measures roughly how many jobs per second a broker accepts and
 * serves, as seen by this client.
 *
 * It uses a queue of its own and empties it at the end, even if it is
 * interrupted.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Broker } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Inspector } from "../../Inspector.ts"
import * as Job from "../../Job.ts"
import * as Operator from "../../Operator.ts"
import * as Publisher from "../../Publisher.ts"
import * as Worker from "../../Worker.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"
import { table } from "../render/table.ts"
import { interruptible, withBroker } from "../root.ts"

const config = {
  jobs: Flags.integer("jobs", 100).pipe(
    Flag.withDescription("How many jobs to publish and work on. Default: 5000"),
    Flag.withDefault(5000)
  ),
  size: Flags.integer("size", 0).pipe(
    Flag.withMetavar("BYTES"),
    Flag.withDescription("The size of each payload. Default: 100"),
    Flag.withDefault(100)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print JSON"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}

/** How many jobs one `publishAll` publishes. */
const batch = 500

/** Jobs per second, and this process's CPU per job in microseconds. */
interface Rate {
  readonly perSecond: number
  readonly cpu: number
}

const cpuNow = Effect.sync(() => {
  const { system, user } = process.cpuUsage()
  return user + system
})

const measure = <A, E, R>(jobs: number, work: Effect.Effect<A, E, R>): Effect.Effect<Rate, E, R> =>
  Effect.gen(function*() {
    const cpu = yield* cpuNow
    const start = yield* Clock.monotonicTimeNanos
    yield* work
    const seconds = Number((yield* Clock.monotonicTimeNanos) - start) / 1e9
    return { perSecond: Math.round(jobs / seconds), cpu: Math.round(((yield* cpuNow) - cpu) / jobs * 10) / 10 }
  })

/** A quantile of the values, rounded to hundredths. */
const quantile = (values: ReadonlyArray<number>, part: number): number =>
  Math.round(values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)]! * 100) / 100

/** Deletes the remaining jobs of the benchmark's own queue. */
const empty = (queue: string): Effect.Effect<void, BrokerError, Broker | Inspector> =>
  Effect.scoped(Effect.gen(function*() {
    const broker = yield* Broker
    const consumer = yield* broker.consume([queue])
    while ((yield* Operator.statsQueue(queue)).ready > 0) {
      const leases = yield* consumer.reserve(batch)
      yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
    }
  }))

const run = Effect.fnUntraced(function*(jobs: number, size: number) {
  const queue = `backq-bench-${process.pid}-${yield* Random.nextIntBetween(0, 1_000_000)}`
  const Bench = Job.make("bench", { queue, payload: Schema.String })
  const payload = "x".repeat(size)
  const few = Math.ceil(jobs / 20)

  const publishOne = Publisher.publish(Bench, payload)
  const publishAll = (count: number) =>
    Effect.gen(function*() {
      for (let left = count; left > 0; left -= batch) {
        const results = yield* Publisher.publishAll(Bench, Array.from({ length: Math.min(batch, left) }, () => payload))
        for (const result of results) if (Result.isFailure(result)) return yield* result.failure
      }
    })
  const work = (count: number) =>
    Worker.run({ concurrency: 64, maxJobs: count }, Worker.handler(Bench, () => Effect.void))

  /** Milliseconds from publishing a job to its handler, on an idle worker. */
  const latencies = (count: number) =>
    Effect.scoped(Effect.gen(function*() {
      const started = yield* Queue.unbounded<bigint>()
      const handler = Worker.handler(Bench, () =>
        Effect.flatMap(Clock.monotonicTimeNanos, (at) => Queue.offer(started, at)))
      const worker = yield* Effect.forkScoped(Worker.run({ maxJobs: count }, handler))
      const values: Array<number> = []
      for (let i = 0; i < count; i++) {
        const at = yield* Clock.monotonicTimeNanos
        yield* publishOne
        values.push(Number((yield* Queue.take(started)) - at) / 1e6)
      }
      yield* Fiber.join(worker)
      return values
    }))

  return yield* Effect.gen(function*() {
    // warm up: the first run of code costs more than later ones
    yield* publishAll(batch)
    yield* work(batch)
    const one = yield* measure(few, Effect.replicateEffect(publishOne, few))
    yield* work(few)
    const many = yield* measure(jobs, publishAll(jobs))
    const worked = yield* measure(jobs, work(jobs))
    const waited = yield* latencies(Math.min(few, 100))
    return {
      publish: one,
      publishAll: many,
      work: worked,
      latency: { median: quantile(waited, 0.5), p99: quantile(waited, 0.99) }
    }
  }).pipe(Effect.ensuring(Effect.ignore(empty(queue))))
})

const row = (what: string, { cpu, perSecond }: Rate) => [what, perSecond, cpu]

/** `backq bench`. */
export const bench = Command.make("bench", config, ({ jobs, json, size }) =>
  Effect.gen(function*() {
    const measured = Effect.all({ broker: Effect.map(Broker, ({ name }) => name), figures: run(jobs, size) })
    const { broker, figures } = yield* withBroker(
      Effect.provide(measured, Layer.merge(Publisher.layer, Logger.layer([])))
    )
    if (json) return yield* printJson({ broker, jobs, size, ...figures })
    yield* print(
      ...table(["", "jobs/s", "CPU us"], [
        row("publish, one at a time", figures.publish),
        row(`publish, ${batch} at once`, figures.publishAll),
        row("work, 64 at once, an empty handler", figures.work)
      ]),
      "",
      `from publish to start: ${figures.latency.median} ms median, ${figures.latency.p99} ms p99`,
      "These figures are rough: one run, on a machine that may be busy. CPU is that of this program, per job."
    )
  }).pipe(interruptible)).pipe(
    Command.withDescription(
      "Measure roughly how many jobs per second the broker accepts and serves, on a temporary queue of its own"
    ),
    Command.withShortDescription("Measure the speed of the broker, roughly")
  )
