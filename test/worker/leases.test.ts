/** Leases that are kept, lost or expired; and jobs that kill their worker. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Broker, type Lease } from "../../src/Broker.ts"
import { type BrokerError, leaseLost, make as brokerError, OutOfMemory, Unavailable } from "../../src/BrokerError.ts"
import * as MemoryBroker from "../../src/brokers/memory/MemoryBroker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { allow, withMuchData } from "../support/limits.ts"
import { Count, isGone, layerConsumer, numbers, only, pass, publish, rest, start, statsOf } from "./harness.ts"

allow(withMuchData)

const unavailable = brokerError(
  new Unavailable({ broker: "double:", fate: "Unknown", detail: "the connection closed" })
)

/** A handler that never ends, and records its interruption. */
const endless = (interrupted: Array<number>) =>
  Worker.handler(Count, (n) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(n))))

describe("settle", () => {
  const outOfMemory = brokerError(new OutOfMemory({ broker: "double:" }))
  const notSent = brokerError(
    new Unavailable({ broker: "double:", fate: "NotSent", detail: "somebody holds the file" })
  )

  /** A broker that refuses settlements for a time. */
  const refusing = (error: BrokerError, isOver: () => boolean) =>
    layerConsumer((consumer) => ({
      settle: (settlements) =>
        isOver() ? consumer.settle(settlements) : Effect.succeed(settlements.map(() => Result.fail(error)))
    }))

  for (const error of [outOfMemory, notSent]) {
    it.effect(`a settlement that was not carried out (${error.reason._tag}) is tried again: the job runs once`, () => {
      let refused = 0
      return Effect.gen(function*() {
        let runs = 0
        const ids = yield* publish(3)
        const worker = yield* start({}, Worker.handler(Count, () => Effect.sync(() => runs++)))
        yield* pass("20 seconds")
        assert.deepStrictEqual(worker.tags(), ["Done", "Done", "Done"])
        assert.strictEqual(runs, 3)
        for (const id of ids) assert.isTrue(yield* isGone(id))
      }).pipe(Effect.provide(refusing(error, () => refused++ >= 5)))
    })
  }

  it.effect("but not after its lease may have expired", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "10 seconds" })
      const worker = yield* start({}, Worker.handler(Count, () => Effect.void))
      yield* pass("4 seconds")
      assert.deepStrictEqual(worker.tags(), [])
      yield* pass("2 seconds")
      assert.include(only(worker, "LeaseLost"), { handled: true, error: outOfMemory })
    }).pipe(Effect.provide(refusing(outOfMemory, () => false))))

  it.effect("a settlement that may have happened is not tried again", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Effect.void))
      assert.include(only(worker, "LeaseLost"), { handled: true, error: unavailable })
    }).pipe(Effect.provide(refusing(unavailable, () => false))))
})

describe("touch", () => {
  it.effect("a handler of 5 minutes with a time to run of 5 seconds runs once", () =>
    Effect.gen(function*() {
      let runs = 0
      const [id] = yield* publish(1, { ttr: "5 seconds" })
      const handler = Worker.handler(Count, () => Effect.andThen(Effect.sync(() => runs++), Effect.sleep("5 minutes")))
      const worker = yield* start({}, handler)
      const other = yield* start({}, handler)
      for (let i = 0; i < 300; i++) yield* pass("1 second")
      assert.strictEqual(runs, 1)
      only(worker, "Done")
      assert.deepStrictEqual(other.tags(), [])
      assert.isTrue(yield* isGone(id!))
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("also keeps leases of jobs that wait for a free handler", () =>
    Effect.gen(function*() {
      const handler = Worker.handler(Count, () => Effect.sleep("1 minute"))
      yield* publish(3, { ttr: "5 seconds" })
      const worker = yield* start({ concurrency: 1, prefetch: 2 }, handler)
      for (let i = 0; i < 180; i++) yield* pass("1 second")
      assert.deepStrictEqual(worker.outcomes.map(({ _tag, attempt }) => [_tag, attempt]), [
        ["Done", 1],
        ["Done", 1],
        ["Done", 1]
      ])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("separates jobs with different times to run", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "2 seconds" })
      yield* publish(1, { ttr: "1 hour" })
      yield* publish(1, { ttr: "30 seconds" })
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("10 minutes")))
      for (let i = 0; i < 600; i++) yield* pass("1 second")
      assert.deepStrictEqual(worker.tags(), ["Done", "Done", "Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("works with a broker that gives no delivery facts in advance", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "1 second" })
      const worker = yield* start(
        {},
        Worker.handler(Count, (_, { attempt }) => Effect.andThen(Effect.sleep("1 minute"), attempt))
      )
      for (let i = 0; i < 600; i++) yield* pass("100 millis")
      assert.include(only(worker, "Done"), { attempt: 1, result: 1 })
    }).pipe(Effect.provide(layerConsumer((consumer) => {
      // the broker knows its leases by identity
      const real = new Map<string, Lease>()
      const known = (lease: Lease) => real.get(lease.id)!
      return {
        reserve: (max) =>
          Effect.map(consumer.reserve(max), ([first, ...others]) => {
            const hidden = (lease: Lease): Lease => {
              real.set(lease.id, lease)
              return { ...lease, info: undefined }
            }
            return [hidden(first), ...others.map(hidden)] as const
          }),
        settle: (settlements) =>
          consumer.settle(settlements.map((settlement) => ({ ...settlement, lease: known(settlement.lease) }))),
        touch: (leases) => consumer.touch(leases.map(known)),
        inspect: (leases) => consumer.inspect(leases.map(known))
      }
    }))))

  it.effect("a missing answer does not lose the lease", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "5 seconds" })
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("1 minute")))
      for (let i = 0; i < 60; i++) yield* pass("1 second")
      only(worker, "Done")
    }).pipe(Effect.provide(layerConsumer((consumer) => {
      let asked = 0
      return {
        touch: (leases) =>
          asked++ % 2 === 0 ? Effect.succeed(leases.map(() => Result.fail(unavailable))) : consumer.touch(leases)
      }
    }))))

  it.effect("touch: false lets the lease expire, and the work is done a second time", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1, { ttr: "5 seconds" })
      const worker = yield* start({ touch: false }, Worker.handler(Count, () => Effect.sleep("8 seconds")))
      yield* pass("8 seconds")
      const outcome = worker.outcomes[0]!
      assert.deepInclude(outcome, { _tag: "LeaseLost", handled: true, jobId: id! })
      assert.strictEqual(outcome._tag === "LeaseLost" && outcome.error.reason._tag, "LeaseLost")
      assert.deepInclude(yield* statsOf(id!), { abandoned: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("a lease that is lost", () => {
  it.effect("interrupts its handler, when a touch finds it", () => {
    let lost = false
    return Effect.gen(function*() {
      const interrupted: Array<number> = []
      yield* publish(1, { ttr: "10 seconds" })
      const worker = yield* start({}, endless(interrupted))
      lost = true
      yield* pass("4 seconds")
      assert.deepStrictEqual(interrupted, [])
      yield* pass("1 seconds")
      assert.deepStrictEqual(interrupted, [0])
      assert.include(only(worker, "LeaseLost"), { handled: false, duration: 5000 })
    }).pipe(Effect.provide(layerConsumer((consumer) => ({
      touch: (leases) =>
        lost ? Effect.succeed(leases.map((lease) => Result.fail(leaseLost(lease)))) : consumer.touch(leases)
    }))))
  })

  it.effect("a renewal that a full disk refuses is tried again", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "5 seconds" })
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("30 seconds")))
      for (let i = 0; i < 31; i++) yield* pass("1 second")
      only(worker, "Done")
    }).pipe(Effect.provide(layerConsumer((consumer) => {
      let asked = 0
      const full = brokerError(new OutOfMemory({ broker: "double:" }))
      return {
        touch: (leases) =>
          asked++ % 2 === 0 ? Effect.succeed(leases.map(() => Result.fail(full))) : consumer.touch(leases)
      }
    }))))

  it.effect("also counts for a handler that ends after another interruption", () => {
    const seen: Array<boolean> = []
    return Effect.gen(function*() {
      yield* publish(1, { ttr: "10 seconds" })
      const worker = yield* start(
        { timeout: "3 seconds" },
        Worker.handler(
          Count,
          (_, { isLost }) =>
            Effect.onInterrupt(
              Effect.never,
              () => Effect.andThen(Effect.sleep("4 seconds"), Effect.map(isLost, (is) => seen.push(is)))
            )
        )
      )
      for (let i = 0; i < 8; i++) yield* pass("1 second")
      assert.deepStrictEqual(seen, [true])
      only(worker, "LeaseLost")
    }).pipe(Effect.provide(layerConsumer(() => ({
      touch: (leases) => Effect.succeed(leases.map((lease) => Result.fail(leaseLost(lease))))
    }))))
  })

  it.effect("looks different from other interruptions to the handler", () => {
    const seen: Array<boolean> = []
    return Effect.gen(function*() {
      yield* publish(1, { ttr: "10 seconds" })
      yield* publish(1)
      yield* start(
        { timeout: "8 seconds" },
        Worker.handler(
          Count,
          (_, { isLost }) => Effect.onInterrupt(Effect.never, () => Effect.map(isLost, (is) => seen.push(is)))
        )
      )
      yield* pass("5 seconds")
      assert.deepStrictEqual(seen, [true])
      yield* pass("3 seconds")
      assert.deepStrictEqual(seen, [true, false])
    }).pipe(Effect.provide(layerConsumer(() => ({
      touch: (leases) => Effect.succeed(leases.map((lease) => Result.fail(leaseLost(lease))))
    }))))
  })

  it.effect("interrupts its handler when the broker reports it", () =>
    Effect.gen(function*() {
      const lost = yield* Deferred.make<Lease>()
      const leases: Array<Lease> = []
      yield* Effect.gen(function*() {
        const interrupted: Array<number> = []
        yield* publish(2)
        const worker = yield* start({ concurrency: 2 }, endless(interrupted))
        yield* Deferred.succeed(lost, leases[1]!)
        yield* rest
        assert.deepStrictEqual(interrupted, [1])
        assert.include(only(worker, "LeaseLost"), { jobId: leases[1]!.id, handled: false })
      }).pipe(Effect.provide(layerConsumer((consumer) => {
        let told = false
        return {
          reserve: (max) => Effect.tap(consumer.reserve(max), (taken) => Effect.sync(() => void leases.push(...taken))),
          leasesLost: Effect.flatMap(Deferred.await(lost), (lease) => {
            if (told) return Effect.never
            told = true
            return Effect.succeed([lease] as const)
          })
        }
      })))
    }))

  it.effect("does not run when its lease was lost while it waited for a handler", () =>
    Effect.gen(function*() {
      const lost = yield* Deferred.make<Lease>()
      const leases: Array<Lease> = []
      yield* Effect.gen(function*() {
        const run: Array<number> = []
        yield* publish(2)
        const worker = yield* start(
          { concurrency: 1, prefetch: 1 },
          Worker.handler(Count, (n) => Effect.andThen(Effect.sync(() => run.push(n)), Effect.sleep("1 second")))
        )
        yield* Deferred.succeed(lost, leases[1]!)
        yield* rest
        assert.include(only(worker, "LeaseLost"), { handled: false, duration: 0 })
        yield* pass("1 second")
        assert.deepStrictEqual(run, [0])
      }).pipe(Effect.provide(layerConsumer((consumer) => {
        let told = false
        return {
          reserve: (max) => Effect.tap(consumer.reserve(max), (taken) => Effect.sync(() => void leases.push(...taken))),
          leasesLost: Effect.flatMap(Deferred.await(lost), (lease) => {
            if (told) return Effect.never
            told = true
            return Effect.succeed([lease] as const)
          })
        }
      })))
    }))
})

describe("a settlement that fails", () => {
  it.effect("is reported as LeaseLost, and the outcome says whether the work was done", () =>
    Effect.gen(function*() {
      yield* publish(2)
      const worker = yield* start(
        { concurrency: 1 },
        Worker.handler(Count, (n) => n === 0 ? Effect.void : Effect.fail("no"))
      )
      assert.deepStrictEqual(
        worker.outcomes.map((outcome) => outcome._tag === "LeaseLost" && [outcome.handled, outcome.error]),
        [[true, unavailable], [false, unavailable]]
      )
    }).pipe(Effect.provide(layerConsumer(() => ({
      settle: (settlements) => Effect.succeed(settlements.map(() => Result.fail(unavailable)))
    })))))

  it.effect("does not affect the others of its batch", () =>
    Effect.gen(function*() {
      yield* publish(10)
      const worker = yield* start({ concurrency: 10 }, Worker.handler(Count, () => Effect.sleep("1 second")))
      yield* pass("1 second")
      assert.deepStrictEqual(worker.tags().filter((tag) => tag === "LeaseLost").length, 1)
      assert.deepStrictEqual(worker.tags().filter((tag) => tag === "Done").length, 9)
    }).pipe(Effect.provide(layerConsumer((consumer) => ({
      settle: (settlements) =>
        Effect.map(consumer.settle(settlements), (answers) =>
          answers.map((answer, index) =>
            settlements[index]!.lease.id === "4" ? Result.fail(leaseLost(settlements[index]!.lease)) : answer
          ))
    })))))
})

describe("one lease and the others", () => {
  // the broker no longer answers about the first job
  const stuck = layerConsumer((consumer) => ({
    touch: (leases) =>
      leases.some(({ id }) => id === "1")
        ? Effect.andThen(consumer.touch(leases.filter(({ id }) => id !== "1")), Effect.never)
        : consumer.touch(leases)
  }))

  it.effect("a renewal without an answer delays no other renewal", () =>
    Effect.gen(function*() {
      const inspector = yield* Inspector
      // with different times to run, so that they are due at different times
      yield* publish(1, { ttr: "2 seconds" })
      const [id] = yield* publish(1, { ttr: "3 seconds" })
      yield* start({}, Worker.handler(Count, () => Effect.sleep("1 minute")))
      for (let i = 0; i < 20; i++) yield* pass("1 second")
      assert.deepInclude(yield* inspector.statsJob(id!), { state: "reserved", attempt: 1, abandoned: 0 })
    }).pipe(Effect.provide(stuck)))

  it.effect("a renewal without an answer delays no time limit", () =>
    Effect.gen(function*() {
      yield* publish(2, { ttr: "2 seconds" })
      const worker = yield* start({ timeout: "6 seconds" }, Worker.handler(Count, () => Effect.never))
      for (let i = 0; i < 7; i++) yield* pass("1 second")
      assert.strictEqual(worker.tags().length, 2)
    }).pipe(Effect.provide(stuck)))

  it.effect("an ended job keeps its lease until it is settled, even if the outcomes are read slowly", () =>
    Effect.gen(function*() {
      const runs: Array<number> = []
      yield* publish(4, { ttr: "1 second" })
      const fiber = yield* Worker.stream(
        { concurrency: 2, grace: 0 },
        Worker.handler(Count, (n) => Effect.sleep(n * 100).pipe(Effect.andThen(Effect.sync(() => runs.push(n)))))
      ).pipe(
        Stream.tap(() => Effect.sleep("1500 millis")),
        Stream.take(4),
        Stream.runCollect,
        Effect.forkScoped
      )
      for (let i = 0; i < 100; i++) yield* pass("100 millis")
      const outcomes = yield* Fiber.join(fiber)
      assert.deepStrictEqual(Array.from(outcomes, ({ _tag }) => _tag), ["Done", "Done", "Done", "Done"])
      assert.deepStrictEqual(runs.sort(), [0, 1, 2, 3])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a correction of the wall clock ends no lease", () =>
    Effect.gen(function*() {
      let correction = 0
      const clock = yield* Clock.Clock
      const corrected: Clock.Clock = {
        ...clock,
        sleep: (duration) => clock.sleep(duration),
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + correction,
        currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + correction),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe()
      }
      yield* publish(1, { ttr: "2 seconds" })
      const worker = yield* Effect.provideService(
        start({}, Worker.handler(Count, () => Effect.sleep("10 seconds"))),
        Clock.Clock,
        corrected
      )
      correction = -60_000
      for (let i = 0; i < 11; i++) yield* pass("1 second")
      only(worker, "Done")
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("poison", () => {
  /** A worker that seems to die silently: its lease of a second expires. */
  const dyingWorker = Effect.scoped(Effect.gen(function*() {
    const broker = yield* Broker
    const consumer = yield* broker.consume(["q"])
    yield* consumer.reserve(1)
    yield* pass("1 second")
  }))

  it.effect("kicking a job that was buried as poison allows as many deliveries again", () =>
    Effect.gen(function*() {
      const inspector = yield* Inspector
      yield* publish(1, { ttr: "1 second" })
      yield* dyingWorker
      const worker = yield* start({ poisonLimit: 1 }, Worker.handler(Count, () => Effect.void))
      only(worker, "Buried")
      assert.strictEqual(yield* inspector.kick("q", 1), 1)
      yield* rest
      assert.deepStrictEqual(worker.tags(), ["Buried", "Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job whose lease expired too often is buried and does not run again", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1, { ttr: "1 second" })
      let runs = 0
      for (let i = 0; i < 3; i++) yield* dyingWorker
      const worker = yield* start({ poisonLimit: 3 }, Worker.handler(Count, () => Effect.sync(() => runs++)))
      assert.include(only(worker, "Buried"), {
        reason: "poison: 3 deliveries ended with a crash of the worker or an expired lease"
      })
      assert.strictEqual(runs, 0)
      assert.include(yield* statsOf(id!), { state: "buried" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job that killed its worker less often runs", () =>
    Effect.gen(function*() {
      yield* publish(1, { ttr: "1 second" })
      yield* dyingWorker
      const worker = yield* start({ poisonLimit: 2 }, Worker.handler(Count, () => Effect.void))
      assert.include(only(worker, "Done"), { attempt: 2 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("a broker that stays away", () => {
  const layer = (reserves: number) =>
    layerConsumer((consumer) => {
      let calls = 0
      return {
        reserve: (max) => Effect.suspend(() => calls++ < reserves ? consumer.reserve(max) : Effect.fail(unavailable))
      }
    })

  it.effect("ends the worker with Unavailable", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Worker.run({}, Worker.handler(Count, () => Effect.void)))
      assert.strictEqual(error, unavailable)
    }).pipe(Effect.provide(layer(0))))

  it.effect("ends the stream with Unavailable, after running jobs are settled", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Effect.sleep("5 seconds")))
      yield* pass("5 seconds")
      only(worker, "Done")
      assert.deepStrictEqual(yield* Fiber.await(worker.fiber), Exit.fail(unavailable))
      assert.isTrue(yield* isGone(id!))
    }).pipe(Effect.provide(layer(1))))

  it.effect("a handler without end is interrupted when its lease is over, and the worker fails", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const interrupted: Array<number> = []
      const worker = yield* start({}, endless(interrupted))
      yield* pass("59 seconds")
      assert.deepStrictEqual(interrupted, [])
      yield* pass("2 seconds")
      assert.deepStrictEqual(interrupted, [0])
      only(worker, "LeaseLost")
      assert.deepStrictEqual(yield* Fiber.await(worker.fiber), Exit.fail(unavailable))
    }).pipe(Effect.provide(layer(1))))

  it.effect("does not wait forever for a handler that can't be interrupted", () =>
    Effect.gen(function*() {
      yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Effect.uninterruptible(Effect.sleep("1 day"))))
      yield* pass("2 minutes")
      assert.deepStrictEqual(yield* Fiber.await(worker.fiber), Exit.fail(unavailable))
    }).pipe(Effect.provide(layer(1))))

  it.effect("fails the start of a worker that can't begin", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Worker.run({}, Worker.handler(Count, () => Effect.void)))
      assert.strictEqual(error, unavailable)
    }).pipe(Effect.provide(
      Layer.mock(Broker)({
        features: MemoryBroker.features,
        name: "double:",
        consume: () => Effect.fail(unavailable)
      })
    )))
})

describe("leases at the end", () => {
  it.effect("nothing stays reserved after a worker is gone", () =>
    Effect.gen(function*() {
      yield* publish(5)
      yield* Worker.run({ maxJobs: 2, concurrency: 2 }, Worker.handler(Count, () => Effect.void))
      assert.deepStrictEqual(yield* numbers(), { ready: 3, delayed: 0, reserved: 0, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a delay that the broker refuses does not lose the job", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start({}, Worker.handler(Count, () => Job.retryAfter(Duration.infinity)))
      assert.strictEqual(worker.outcomes.length, 1)
      assert.isFalse(yield* isGone(id!))
      yield* Publisher.publish(Count, 2)
    }).pipe(Effect.provide(TestBroker.layer)))
})
