/** Transfers between all pairs of brokers, and transfers that are cut off. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { join } from "node:path"
import { Broker, type PutOptions, putRequest } from "../src/Broker.ts"
import { type BrokerError, type Fate, make as brokerError, Unavailable } from "../src/BrokerError.ts"
import * as BrokerUrl from "../src/brokers/url.ts"
import { Inspector, type Services } from "../src/Inspector.ts"
import * as Transfer from "../src/Transfer.ts"
import { bury, bytes, release, take, takeMany, text } from "./conformance/Harness.ts"
import * as Beanstalkd from "./support/beanstalkd.ts"
import { folder } from "./support/folder.ts"
import { allow, withServers } from "./support/limits.ts"
import * as Postgres from "./support/postgres.ts"
import { Random } from "./support/Random.ts"

allow(withServers)

class Cluster extends Context.Service<Cluster, { readonly url: string }>()("test/Cluster") {}

/** Without PostgreSQL its tests are skipped, and nothing asks for it. */
const cluster = Layer.effect(Cluster, Postgres.isMissing ? Effect.succeed({ url: "" }) : Postgres.cluster())

let schemas = 0

const urls = {
  memory: Effect.succeed("memory:"),
  sqlite: Effect.map(folder, (path) => `sqlite:${join(path, "jobs.db")}?durability=normal`),
  beanstalkd: Effect.map(Beanstalkd.beanstalkd(), ({ port }) => `beanstalk://127.0.0.1:${port}`),
  postgres: Effect.map(Cluster, ({ url }) => `${url}?schema=transfer_${++schemas}`)
}

type Kind = keyof typeof urls

const kinds = Object.keys(urls) as ReadonlyArray<Kind>

const isMissing = (kind: Kind) =>
  kind === "beanstalkd" && Beanstalkd.isMissing || kind === "postgres" && Postgres.isMissing

const servicesOf = (context: Context.Context<Broker | Inspector>): Services => ({
  broker: Context.get(context, Broker),
  inspector: Context.get(context, Inspector)
})

/** A broker of a kind that nobody else uses. */
const side = Effect.fnUntraced(function*(kind: Kind): Effect.fn.Return<Services, unknown, Scope.Scope | Cluster> {
  return servicesOf(yield* Layer.build(BrokerUrl.layer(yield* urls[kind])))
})

const put = ({ broker }: Services, body: string, options: PutOptions = {}) =>
  broker.put("q", Result.getOrThrow(putRequest(bytes(body), options)))

/** Transfers, and sums up the results of the batches. */
const run = Effect.fnUntraced(function*(from: Services, to: Services) {
  const batches: Array<Transfer.Batch> = []
  const exit = yield* Effect.exit(Transfer.transfer("q", {
    from,
    to,
    onBatch: (batch) => Effect.sync(() => batches.push(batch))
  }))
  const sum = (of: (batch: Transfer.Batch) => number) => batches.reduce((sum, batch) => sum + of(batch), 0)
  return {
    exit,
    transferred: sum(({ transferred }) => transferred),
    onBoth: sum(({ onBoth }) => onBoth),
    refused: batches.flatMap(({ refused }) => refused)
  }
})

const counts = ({ inspector }: Services) =>
  Effect.map(
    inspector.statsQueue("q"),
    ({ buried, delayed, ready, reserved }) => ({ ready, delayed, reserved, buried })
  )
    .pipe(
      Effect.catchReason("BrokerError", "NotFound", () =>
        Effect.succeed({ ready: 0, delayed: 0, reserved: 0, buried: 0 }))
    )

const failure = { tag: "Refused", message: "no such user" }

/** The jobs on the other side after a transfer of {@link fill}. */
const check = Effect.fnUntraced(function*({ broker, inspector }: Services, hadReasons: boolean) {
  const { keepsAttempts } = broker.features
  const keepsReasons = hadReasons && broker.features.keepsReasons
  assert.deepStrictEqual(yield* counts({ broker, inspector }), { ready: 3, delayed: 1, reserved: 0, buried: 2 })

  const delayed = Option.getOrThrow(yield* inspector.peekNext("q", "delayed"))
  const stats = yield* inspector.statsJob(delayed.id)
  assert.strictEqual(text(delayed), "later")
  assert.include(stats, { priority: 7, state: "delayed" })
  assert.isAbove(Duration.toSeconds(stats.timeLeft), 900)
  assert.isAtMost(Duration.toSeconds(stats.timeLeft), 1001)

  const consumer = yield* broker.consume(["q"])
  const leases = yield* takeMany(consumer, 3)
  assert.deepStrictEqual(leases.map(text), ["urgent", "tried", "x".repeat(9000)])
  const [, tried] = yield* Effect.forEach(leases, ({ id }) => inspector.statsJob(id))
  assert.deepInclude(tried!, { attempt: keepsAttempts ? 3 : 1, reason: keepsReasons ? "not yet" : undefined })
  assert.strictEqual(tried!.lastFailure?.message, keepsReasons ? failure.message : undefined)
  assert.strictEqual(Duration.toSeconds(tried!.ttr), 33)

  const first = Option.getOrThrow(yield* inspector.peekNext("q", "buried"))
  assert.strictEqual(text(first), "b1")
  assert.strictEqual((yield* inspector.statsJob(first.id)).reason, keepsReasons ? "gave up" : undefined)
  assert.strictEqual(yield* inspector.kick("q", 1), 1)
  const again = yield* take(consumer)
  assert.strictEqual(text(again), "b1")
  const { attempt, buries } = yield* inspector.statsJob(again.id)
  assert.deepStrictEqual([attempt, buries], [1, 1])
})

/** A job of each state, and one that a worker holds. */
const fill = Effect.fnUntraced(function*(from: Services) {
  const worker = yield* from.broker.consume(["q"])
  for (const body of ["b1", "b2"]) {
    yield* put(from, body)
    yield* bury(worker, yield* take(worker), "gave up", failure)
  }
  yield* put(from, "tried", { priority: 10, ttr: "33 seconds" })
  for (let i = 0; i < 2; i++) yield* release(worker, yield* take(worker), { reason: "not yet", failure, priority: 10 })
  yield* put(from, "held", { priority: 0 })
  const held = yield* take(worker)
  yield* put(from, "x".repeat(9000))
  yield* put(from, "urgent", { priority: 1 })
  yield* put(from, "later", { delay: "1000 seconds", priority: 7 })
  return { worker, held }
})

layer(cluster, { excludeTestServices: true })("transfer", (it) => {
  for (const source of kinds) {
    for (const target of kinds) {
      it.effect.skipIf(isMissing(source) || isMissing(target))(
        `from ${source} to ${target}: every state`,
        () =>
          Effect.gen(function*() {
            const [from, to] = [yield* side(source), yield* side(target)]
            const { held, worker } = yield* fill(from)
            assert.deepStrictEqual(yield* run(from, to), { exit: Exit.void, transferred: 6, onBoth: 0, refused: [] })
            assert.deepStrictEqual(yield* counts(from), { ready: 0, delayed: 0, reserved: 1, buried: 0 })
            const [settled] = yield* worker.settle([{ _tag: "Delete", lease: held }])
            assert.isTrue(Result.isSuccess(settled!))
            yield* check(to, from.broker.features.keepsReasons)
          })
      )
    }
  }

  for (const source of kinds) {
    it.effect.skipIf(isMissing(source))(
      `from ${source}: no job runs on both sides while its workers run`,
      () =>
        Effect.gen(function*() {
          const [from, to] = [yield* side(source), yield* side("memory")]
          const all = Array.from({ length: 600 }, (_, i) => `job ${i}`)
          yield* from.broker.putAll("q", all.map((body) => Result.getOrThrow(putRequest(bytes(body)))))
          yield* put(from, "soon", { delay: "1 millis" })
          const ran: Array<string> = []
          const serve = Effect.fnUntraced(function*({ broker }: Services) {
            const consumer = yield* broker.consume(["q"])
            return yield* Effect.forever(Effect.gen(function*() {
              const leases = yield* consumer.reserve(3)
              const results = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
              results.forEach((result, i) => {
                if (Result.isSuccess(result)) ran.push(text(leases[i]!))
              })
            }))
          })
          const workers = [yield* Effect.forkScoped(serve(from)), yield* Effect.forkScoped(serve(to))]
          const { exit, onBoth, transferred } = yield* run(from, to)
          assert.deepStrictEqual([exit, onBoth], [Exit.void, 0])
          assert.isAbove(transferred, 0)
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => ran.length >= 601, times: 500 })
          for (const worker of workers) yield* Fiber.interrupt(worker)
          assert.sameMembers(ran, [...all, "soon"])
        })
    )

    it.effect.skipIf(isMissing(source))(`from ${source}: what a paused queue has, too`, () =>
      Effect.gen(function*() {
        const [from, to] = [yield* side(source), yield* side("memory")]
        for (const body of ["a", "b"]) yield* put(from, body)
        yield* from.inspector.pause("q", Duration.seconds(100))
        const { exit, transferred } = yield* run(from, to)
        assert.deepStrictEqual([exit, transferred], [Exit.void, 2])
        assert.deepStrictEqual((yield* takeMany(yield* to.broker.consume(["q"]), 2)).map(text), ["a", "b"])
      }))
  }
})

const lost = (fate: Fate) => brokerError(new Unavailable({ broker: "broken", fate, detail: "the test cuts it off" }))

/** Where an operation is cut off: before it is sent, on its way, or on the way of its answer. */
type Cut = "not sent" | "not done" | "done"

/** A broker that cuts off some of the operations that change jobs. */
const unreliable = ({ broker, inspector }: Services, cutOf: () => Cut | undefined): Services => {
  const through = <A, E>(
    operation: Effect.Effect<A, E>,
    fail: (error: BrokerError) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const cut = cutOf()
      if (cut === undefined) return operation
      const failed = fail(lost(cut === "not sent" ? "NotSent" : "Unknown"))
      return cut === "done" ? Effect.andThen(operation, failed) : failed
    })
  const forAll = <A, B>(
    items: ReadonlyArray<A>,
    operation: Effect.Effect<ReadonlyArray<Result.Result<B, BrokerError>>>
  ) => through(operation, (error) => Effect.succeed(items.map(() => Result.fail(error))))
  return {
    broker: {
      ...broker,
      consume: (queues) =>
        Effect.map(broker.consume(queues), (consumer) => ({
          ...consumer,
          settle: (settlements) => forAll(settlements, consumer.settle(settlements))
        }))
    },
    inspector: {
      ...inspector,
      delete: (id) => through(inspector.delete(id), Effect.fail),
      restore: (queue, requests) => forAll(requests, inspector.restore(queue, requests))
    }
  }
}

/** The states and bodies of all jobs of a broker that lists. */
const jobsOf = Effect.fnUntraced(function*({ inspector }: Services) {
  const found: Array<string> = []
  for (const state of ["ready", "delayed", "reserved", "buried"] as const) {
    const { jobs, next } = yield* inspector.list("q", { state, limit: 1000 })
    assert.isUndefined(next)
    found.push(...jobs.map((job) => `${state} ${text(job)}`))
  }
  return found
})

/** Two brokers in memory, of which the first has jobs. */
const twoSides = Effect.gen(function*() {
  const make = Effect.map(Layer.build(Layer.fresh(BrokerUrl.layer("memory:"))), servicesOf)
  const [from, to] = [yield* make, yield* make]
  const requests = (name: string, count: number, options: PutOptions) =>
    Array.from({ length: count }, (_, i) => Result.getOrThrow(putRequest(bytes(`${name} ${i}`), options)))
  const buried = yield* from.broker.putAll("q", requests("b", 120, {}))
  for (const id of buried) yield* from.inspector.buryJob(Result.getOrThrow(id), "a test says so")
  yield* from.broker.putAll("q", [...requests("r", 230, {}), ...requests("d", 120, { delay: "1000 seconds" })])
  return { from, to, before: yield* jobsOf(from) }
})

const seeds = Array.from({ length: 40 }, (_, seed) => seed)

describe("a transfer that is cut off", () => {
  it.live.each(seeds)("and run again loses nothing: seed %i", (seed) =>
    Effect.gen(function*() {
      const random = new Random(seed)
      const { before, from, to } = yield* twoSides
      const cuts: ReadonlyArray<Cut> = ["not sent", "not done", "done"]
      const cutOf = () => random.chance(0.02) ? cuts[random.below(3)] : undefined
      let [onBoth, isDone] = [0, false]
      for (let runs = 0; !isDone; runs++) {
        assert.isBelow(runs, 200)
        const result = yield* run(unreliable(from, cutOf), unreliable(to, cutOf))
        assert.isAtMost(result.onBoth, Transfer.batchSize)
        onBoth += result.onBoth
        isDone = (yield* jobsOf(from)).length === 0
      }
      const after = yield* jobsOf(to)
      assert.sameMembers(Array.from(new Set(after)), before)
      assert.isAtMost(after.length - before.length, onBoth)
    }).pipe(Effect.scoped))

  it.live("leaves each job on one side only if every result is known", () =>
    Effect.gen(function*() {
      const random = new Random("known")
      const { before, from, to } = yield* twoSides
      const cutOf = (): Cut | undefined => random.chance(0.3) ? "not sent" : undefined
      for (let i = 0; i < 20; i++) {
        assert.strictEqual((yield* run(from, unreliable(to, cutOf))).onBoth, 0)
        assert.sameMembers([...yield* jobsOf(from), ...yield* jobsOf(to)], before)
      }
      assert.sameMembers(yield* jobsOf(to), before)
    }).pipe(Effect.scoped))

  it.live("by an interruption ends the batch under way", () =>
    Effect.gen(function*() {
      const { before, from, to } = yield* twoSides
      const begun = yield* Deferred.make<void>()
      const slow: Services = {
        ...to,
        inspector: {
          ...to.inspector,
          restore: (queue, requests) =>
            Deferred.succeed(begun, undefined).pipe(
              Effect.andThen(Effect.delay(to.inspector.restore(queue, requests), "20 millis"))
            )
        }
      }
      const fiber = yield* Effect.forkChild(run(from, slow))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      const [left, moved] = [yield* jobsOf(from), yield* jobsOf(to)]
      assert.lengthOf(moved, 100)
      assert.sameMembers([...left, ...moved], before)
    }).pipe(Effect.scoped))
})

it.live("a job that the other side refuses stays, and does not stop the others", () =>
  Effect.gen(function*() {
    const from = servicesOf(yield* Layer.build(BrokerUrl.layer("memory:")))
    const to = servicesOf(yield* Layer.build(BrokerUrl.layer("memory:?max-job-size=100")))
    const big = "x".repeat(200)
    for (let i = 0; i < 130; i++) yield* put(from, `${big} ${i}`)
    for (let i = 0; i < 130; i++) yield* put(from, `small ${i}`)
    yield* put(from, big, { delay: "1000 seconds" })
    yield* put(from, "small later", { delay: "1001 seconds" })
    const { exit, onBoth, refused, transferred } = yield* run(from, to)
    assert.deepStrictEqual([exit, transferred, onBoth, refused.length], [Exit.void, 131, 0, 131])
    assert.isTrue(refused.every(({ error }) => error.reason._tag === "JobTooBig"))
    assert.deepStrictEqual(yield* counts(from), { ready: 130, delayed: 1, reserved: 0, buried: 0 })
    const [first] = yield* (yield* from.broker.consume(["q"])).reserve(1)
    assert.include(first.info, { attempt: 1, abandoned: 0 })
  }).pipe(Effect.scoped))
