import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Broker, type Lease, putRequest } from "../../../src/Broker.ts"
import * as MemoryBroker from "../../../src/brokers/memory/MemoryBroker.ts"
import { Inspector } from "../../../src/Inspector.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import { assertFails, assertInfo, bytes, done, release, take, touch } from "../../conformance/Harness.ts"
import { allow, withManyCases } from "../../support/limits.ts"

allow(withManyCases)

suite("MemoryBroker", { layer: MemoryBroker.layer, time: "virtual", features: MemoryBroker.features })

model("MemoryBroker as a model", {
  layer: MemoryBroker.layer,
  time: "virtual",
  features: MemoryBroker.features,
  runs: 200
})

const request = (...args: Parameters<typeof putRequest>) => Result.getOrThrow(putRequest(...args))

describe("MemoryBroker alone", () => {
  it.effect("has a resolution of a millisecond", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      const id = yield* broker.put("q", request(bytes("a"), { delay: "1500 millis", ttr: "5 millis" }))
      yield* TestClock.adjust("1499 millis")
      assert.include(yield* inspector.statsJob(id), { state: "delayed" })
      yield* TestClock.adjust("1 millis")
      const lease = yield* take(consumer)
      yield* TestClock.adjust("4 millis")
      yield* touch(consumer, lease)
      yield* TestClock.adjust("4 millis")
      assert.include(yield* inspector.statsJob(id), { state: "reserved" })
      yield* TestClock.adjust("1 millis")
      assert.include(yield* inspector.statsJob(id), { state: "ready", abandoned: 1 })
    }))

  it.effect("rounds a fraction of a millisecond up", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const id = yield* broker.put("q", request(bytes("a"), { delay: "1200 micros" }))
      yield* TestClock.adjust("1200 micros")
      assert.strictEqual((yield* inspector.statsJob(id)).state, "delayed")
      yield* TestClock.adjust("800 micros")
      assert.strictEqual((yield* inspector.statsJob(id)).state, "ready")
    }))

  it.effect("gives ids that count from 1", () =>
    Effect.gen(function*() {
      const { broker } = yield* MemoryBroker.make
      const ids = yield* Effect.replicateEffect(broker.put("q", request(bytes("a"))), 3)
      assert.deepStrictEqual(ids.map(String), ["1", "2", "3"])
    }))

  it.effect("keeps the reason of the last bury or release", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      const id = yield* broker.put("q", request(bytes("a")))
      const reason = Effect.map(inspector.statsJob(id), (stats) => stats.reason)
      assert.isUndefined(yield* reason)
      yield* release(consumer, yield* take(consumer), { reason: "try later" })
      assert.strictEqual(yield* reason, "try later")
      yield* consumer.settle([{ _tag: "Bury", lease: yield* take(consumer), reason: "broken" }])
      assert.strictEqual(yield* reason, "broken")
      yield* inspector.kickJob(id)
      assert.strictEqual(yield* reason, "broken")
    }))

  it.effect("refuses a settlement with a priority out of range, and the lease stays", () =>
    Effect.gen(function*() {
      const { broker } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request(bytes("a")))
      const lease = yield* take(consumer)
      for (const priority of [-1, 0.5, NaN, 4294967296]) {
        yield* assertFails(release(consumer, lease, { priority }), "OptionInvalid")
      }
      yield* done(consumer, lease)
    }))

  it.effect("does not delete a job by an expired lease", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      const id = yield* broker.put("q", request(bytes("a"), { ttr: "1 second" }))
      const old = yield* take(consumer)
      yield* TestClock.adjust("1 second")
      yield* assertFails(done(consumer, old), "LeaseLost")
      const again = yield* take(consumer)
      yield* assertInfo(consumer, again, { attempt: 2, abandoned: 1 })
      yield* assertFails(done(consumer, old), "LeaseLost")
      assert.isTrue(Option.isSome(yield* inspector.peek(id)))
      yield* done(consumer, again)
    }))

  it.effect("fails the reserves of a closed consumer, also waiting ones", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const scope = yield* Scope.make()
      const consumer = yield* Scope.provide(broker.consume(["q"]), scope)
      const fiber = yield* Effect.forkChild(consumer.reserve(1))
      yield* Effect.yieldNow
      assert.strictEqual(yield* broker.idleWorkers("q"), 1)
      yield* Scope.close(scope, Exit.void)
      yield* assertFails(Fiber.join(fiber), "Unavailable")
      yield* assertFails(consumer.reserve(1), "Unavailable")
      yield* assertFails(inspector.statsQueue("q"), "NotFound")
    }))

  it.effect("keeps a paused queue without jobs", () =>
    Effect.gen(function*() {
      const { inspector } = yield* MemoryBroker.make
      yield* inspector.pause("q", Duration.seconds(2))
      assert.deepStrictEqual(yield* inspector.queues, ["q"])
      assert.strictEqual(Duration.toSeconds((yield* inspector.statsQueue("q")).pausedFor), 2)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* inspector.queues, [])
    }))

  it.effect("has the limit of a body as an option", () =>
    Effect.gen(function*() {
      const broker = yield* Broker
      const inspector = yield* Inspector
      assert.include(yield* inspector.stats, { maxJobSize: 4, durable: false, draining: false, version: "memory" })
      yield* broker.put("q", request(bytes("1234")))
      yield* assertFails(broker.put("q", request(bytes("12345"))), "JobTooBig")
    }).pipe(Effect.provide(MemoryBroker.layerWith({ maxJobSize: 4 }))))

  it.effect("delivers copies of a body", () =>
    Effect.gen(function*() {
      const { broker } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request(Buffer.from("a")))
      const lease = yield* take(consumer)
      assert.strictEqual(lease.body.constructor, Uint8Array)
      lease.body.fill(0)
      yield* release(consumer, lease)
      assert.deepStrictEqual(Array.from((yield* take(consumer)).body), Array.from(bytes("a")))
    }))

  it.effect("serves the longest waiting consumer first, even if several queues get jobs at the same instant", () =>
    Effect.gen(function*() {
      const { broker } = yield* MemoryBroker.make
      const ofB = yield* broker.consume(["b"])
      const ofBoth = yield* broker.consume(["a", "b"])
      yield* broker.put("a", request(bytes("a"), { delay: "1 second" }))
      yield* broker.put("b", request(bytes("b"), { delay: "1 second", priority: 0 }))
      const first = yield* Effect.forkChild(ofB.reserve(1))
      yield* Effect.yieldNow
      const second = yield* Effect.forkChild(ofBoth.reserve(1))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(first))[0].queue, "b")
      assert.strictEqual((yield* Fiber.join(second))[0].queue, "a")
    }))

  it.effect("sleeps only while a consumer waits, and once for all jobs", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let sleeps = 0
      const counting: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
        sleep: (duration: Duration.Duration) => {
          sleeps++
          return clock.sleep(duration)
        }
      })
      const { broker } = yield* Effect.provideService(MemoryBroker.make, Clock.Clock, counting)
      const consumer = yield* broker.consume(["q"])
      for (let i = 0; i < 1000; i++) {
        yield* broker.put("q", request(bytes("a"), { delay: Duration.seconds(1 + i), ttr: "10 seconds" }))
      }
      yield* TestClock.adjust("1 second")
      yield* take(consumer)
      assert.strictEqual(sleeps, 0)
      const fiber = yield* Effect.forkChild(consumer.reserve(1))
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(sleeps, 1)
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).length, 1)
      yield* TestClock.adjust("100 seconds")
      assert.strictEqual(sleeps, 1)
    }))

  it.effect("loses no job, whenever an interruption meets a waiting reserve", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* MemoryBroker.make
      const consumer = yield* broker.consume(["q"])
      for (let steps = 0; steps < 30; steps++) {
        const received: Array<Lease> = []
        const fiber = yield* Effect.uninterruptibleMask((restore) =>
          Effect.map(restore(consumer.reserve(1)), (leases) => received.push(...leases))
        ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, 3), Effect.forkChild)
        yield* Effect.replicateEffect(Effect.yieldNow, 100)
        assert.strictEqual(yield* broker.idleWorkers("q"), 1)
        yield* broker.put("q", request(bytes("a")))
        yield* Effect.replicateEffect(Effect.yieldNow, steps)
        yield* Fiber.interrupt(fiber)
        const { ready, reserved } = yield* inspector.statsQueue("q")
        assert.deepStrictEqual(
          { ready, reserved },
          received.length === 0
            ? { ready: 1, reserved: 0 }
            : { ready: 0, reserved: 1 },
          `after ${steps} steps`
        )
        yield* done(consumer, received[0] ?? (yield* take(consumer)))
      }
    }))

  it.live("processes a job of a queue of 100,000 about as fast as one of a queue of 1,000", () =>
    Effect.gen(function*() {
      const worked = 1000
      const costPerJob = Effect.fnUntraced(function*(size: number) {
        const { broker } = yield* MemoryBroker.make
        const requests = Array.from({ length: size }, (_, i) => request(bytes("a"), { priority: (i * 7919) % size }))
        yield* broker.putAll("q", requests)
        const consumer = yield* broker.consume(["q"])
        const started = process.threadCpuUsage()
        for (let i = 0; i < worked; i++) {
          const [lease] = yield* consumer.reserve(1)
          yield* consumer.settle([{ _tag: "Delete", lease }])
          yield* broker.put("q", request(bytes("b")))
        }
        const { system, user } = process.threadCpuUsage(started)
        return (system + user) / worked
      }, Effect.scoped)
      yield* costPerJob(1000)
      // A queue that is scanned costs a hundred times more here.
      const ratios = yield* Effect.replicateEffect(
        Effect.zipWith(costPerJob(100_000), costPerJob(1000), (large, small) => large / small),
        3
      )
      assert.isBelow(Math.min(...ratios), 10)
    }))
})
