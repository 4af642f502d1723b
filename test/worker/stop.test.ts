/** How a worker ends: by itself, by a stop request, or by an interruption. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker } from "../../src/Broker.ts"
import { Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { Count, interrupt, isGone, numbers, only, pass, publish, putRaw, rest, start, statsOf } from "./harness.ts"

const worked = Worker.handler(Count, () => Effect.void)

/** A handler that takes a second for each job, and records begun and ended jobs. */
const seconds = (seen: Array<string>) =>
  Worker.handler(Count, (n) =>
    Effect.gen(function*() {
      seen.push(`begin ${n}`)
      yield* Effect.sleep("1 second")
      seen.push(`end ${n}`)
    }))

const turnOfLoop = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const fork = (effect: ReturnType<typeof Worker.run>) => Effect.tap(Effect.forkScoped(effect), () => rest)

describe("idleTimeout", () => {
  it.effect("ends a worker after the idle timeout", () =>
    Effect.gen(function*() {
      const worker = yield* fork(Worker.run({ idleTimeout: "10 seconds" }, worked))
      yield* pass("9 seconds")
      yield* publish(1)
      yield* pass("9999 millis")
      assert.isUndefined(worker.pollUnsafe())
      yield* pass("1 millis")
      assert.deepInclude(yield* Fiber.join(worker), { reason: "IdleTimeout" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("does not count the time of a running job", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const worker = yield* fork(
        Worker.run(
          { idleTimeout: "10 seconds", grace: 0 },
          Worker.handler(Count, (n) => Effect.andThen(Effect.sleep("1 minute"), Effect.sync(() => seen.push(`${n}`))))
        )
      )
      yield* publish(1)
      yield* pass("59 seconds")
      assert.isUndefined(worker.pollUnsafe())
      yield* pass("1 seconds")
      assert.deepStrictEqual(seen, ["0"])
      yield* pass("9 seconds")
      assert.isUndefined(worker.pollUnsafe())
      yield* pass("1 seconds")
      const exit = yield* Fiber.join(worker)
      assert.strictEqual(exit.reason, "IdleTimeout")
      assert.include(exit.counts, { Done: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("is not delayed by unreadable jobs", () =>
    Effect.gen(function*() {
      yield* putRaw("q", "garbage")
      const worker = yield* fork(Worker.run({ idleTimeout: "10 seconds" }, worked))
      yield* pass("10 seconds")
      assert.include((yield* Fiber.join(worker)).counts, { Buried: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("maxJobs", () => {
  it.effect("is exact, with any concurrency and prefetch", () =>
    Effect.gen(function*() {
      yield* publish(100)
      const exit = yield* Worker.run({ maxJobs: 5, concurrency: 64, prefetch: 64 }, worked)
      assert.strictEqual(exit.reason, "MaxJobs")
      assert.deepStrictEqual(exit.counts, {
        Done: 5,
        Retried: 0,
        Buried: 0,
        Discarded: 0,
        Expired: 0,
        Requeued: 0,
        LeaseLost: 0
      })
      assert.deepStrictEqual(yield* numbers(), { ready: 95, delayed: 0, reserved: 0, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("waits for running jobs, and takes no more meanwhile", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* publish(10)
      const worker = yield* fork(Worker.run({ maxJobs: 3, concurrency: 2 }, seconds(seen)))
      yield* pass("1 second")
      assert.deepStrictEqual(yield* numbers(), { ready: 7, delayed: 0, reserved: 1, buried: 0 })
      yield* pass("1 second")
      assert.include((yield* Fiber.join(worker)).counts, { Done: 3 })
      assert.deepStrictEqual(seen.filter((line) => line.startsWith("begin")).length, 3)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("counts every settled job", () =>
    Effect.gen(function*() {
      yield* publish(3)
      yield* putRaw("q", "garbage")
      const exit = yield* Worker.run(
        { maxJobs: 4, concurrency: 8 },
        Worker.handler(Count, (n) => n === 1 ? Effect.fail("no") : Effect.void)
      )
      assert.include(exit.counts, { Done: 2, Retried: 1, Buried: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("0 takes nothing", () =>
    Effect.gen(function*() {
      yield* publish(1)
      assert.include(yield* Worker.run({ maxJobs: 0 }, worked), { reason: "MaxJobs" })
      assert.include(yield* numbers(), { ready: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("stop", () => {
  it.effect("lets running jobs finish, and requeues waiting ones at once", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const stop = yield* Deferred.make<void>()
      yield* publish(5)
      const worker = yield* fork(
        Worker.run({ concurrency: 2, prefetch: 2, stop: Deferred.await(stop) }, seconds(seen))
      )
      yield* Deferred.succeed(stop, undefined)
      yield* rest
      assert.deepStrictEqual(yield* numbers(), { ready: 3, delayed: 0, reserved: 2, buried: 0 })
      yield* pass("1 second")
      const exit = yield* Fiber.join(worker)
      assert.strictEqual(exit.reason, "Stopped")
      assert.include(exit.counts, { Done: 2, Requeued: 2 })
      assert.deepStrictEqual(seen, ["begin 0", "begin 1", "end 0", "end 1"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("waits for a handler that can't be interrupted once, not twice", () =>
    Effect.gen(function*() {
      const stop = yield* Deferred.make<void>()
      const [id] = yield* publish(1)
      const worker = yield* fork(Worker.run(
        { grace: "1 second", stop: Deferred.await(stop) },
        Worker.handler(Count, () => Effect.uninterruptible(Effect.sleep("1 hour")))
      ))
      yield* Deferred.succeed(stop, undefined)
      yield* pass("1 second")
      yield* pass("10 seconds")
      assert.deepInclude(yield* Fiber.join(worker), { reason: "Stopped" })
      assert.include(yield* statsOf(id!), { state: "ready" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("ends an idle worker at once", () =>
    Effect.gen(function*() {
      const stop = yield* Deferred.make<void>()
      const worker = yield* fork(Worker.run({ stop: Deferred.await(stop) }, worked))
      yield* Deferred.succeed(stop, undefined)
      assert.include(yield* Fiber.join(worker), { reason: "Stopped" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("interrupts jobs that did not finish within the grace time, and spends no attempt", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const stop = yield* Deferred.make<void>()
      const [id] = yield* publish(1)
      const worker = yield* fork(Worker.run(
        { grace: "5 seconds", stop: Deferred.await(stop) },
        Worker.handler(Count, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
      ))
      yield* Deferred.succeed(stop, undefined)
      yield* pass("4999 millis")
      assert.strictEqual(interrupted, 0)
      yield* pass("1 millis")
      assert.strictEqual(interrupted, 1)
      assert.include((yield* Fiber.join(worker)).counts, { Requeued: 1 })
      assert.include(yield* statsOf(id!), { state: "ready", attempt: 0, abandoned: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("interruption", () => {
  it.effect("lets running jobs finish, requeues waiting ones at once, and takes no more", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const ids = yield* publish(5)
      const worker = yield* start({ concurrency: 2, prefetch: 2, grace: "30 seconds" }, seconds(seen))
      const interrupting = yield* interrupt(worker)
      yield* rest
      assert.deepStrictEqual(yield* numbers(), { ready: 3, delayed: 0, reserved: 2, buried: 0 })
      assert.isUndefined(worker.fiber.pollUnsafe())
      yield* pass("1 second")
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(seen, ["begin 0", "begin 1", "end 0", "end 1"])
      assert.isTrue(yield* isGone(ids[0]!))
      assert.include(yield* statsOf(ids[2]!), { state: "ready", attempt: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("ends an idle worker at once", () =>
    Effect.gen(function*() {
      const worker = yield* start({ grace: "30 seconds" }, worked)
      yield* Fiber.interrupt(worker.fiber)
      assert.deepStrictEqual(worker.tags(), [])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("interrupts running jobs after the grace time, and spends no attempt", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const [id] = yield* publish(1)
      const worker = yield* start(
        { grace: "5 seconds" },
        Worker.handler(Count, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
      )
      const interrupting = yield* interrupt(worker)
      yield* pass("5 seconds")
      yield* Fiber.join(interrupting)
      assert.strictEqual(interrupted, 1)
      assert.include(yield* statsOf(id!), { state: "ready", attempt: 0 })
      const again = yield* start({}, worked)
      assert.include(only(again, "Done"), { attempt: 1 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("keeps the leases of jobs that may finish", () =>
    Effect.gen(function*() {
      let runs = 0
      yield* publish(1, { ttr: "2 seconds" })
      const handler = Worker.handler(Count, () => Effect.andThen(Effect.sync(() => runs++), Effect.sleep("20 seconds")))
      const worker = yield* start({ grace: "30 seconds" }, handler)
      yield* start({}, handler)
      const interrupting = yield* interrupt(worker)
      for (let i = 0; i < 20; i++) yield* pass("1 second")
      yield* Fiber.join(interrupting)
      assert.strictEqual(runs, 1)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("a job that fails while the worker stops is tried again as usual", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start(
        { grace: "30 seconds" },
        Worker.handler(Count, () => Effect.andThen(Effect.sleep("1 second"), Effect.fail("no")))
      )
      const interrupting = yield* interrupt(worker)
      yield* pass("1 second")
      yield* Fiber.join(interrupting)
      assert.include(yield* statsOf(id!), { state: "delayed", reason: "no" })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the worker waits only a limited time for a handler that can't be interrupted", () =>
    Effect.gen(function*() {
      const [id] = yield* publish(1)
      const worker = yield* start(
        { grace: "1 second" },
        Worker.handler(Count, () => Effect.uninterruptible(Effect.sleep("1 hour")))
      )
      const interrupting = yield* interrupt(worker)
      yield* pass("1 second")
      yield* pass("10 seconds")
      yield* Fiber.join(interrupting)
      assert.include(yield* statsOf(id!), { state: "ready" })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("stream", () => {
  it.effect("gives every outcome once", () =>
    Effect.gen(function*() {
      yield* publish(500)
      const outcomes = yield* Stream.runCollect(Worker.stream({ maxJobs: 500, concurrency: 7 }, worked))
      assert.strictEqual(new Set(outcomes.map((outcome) => outcome.jobId)).size, 500)
      assert.strictEqual(outcomes.length, 500)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("that is read only in part stops gracefully", () =>
    Effect.gen(function*() {
      yield* publish(10)
      const outcomes = yield* Worker.stream({ concurrency: 2 }, worked).pipe(Stream.take(3), Stream.runCollect)
      assert.strictEqual(outcomes.length, 3)
      assert.include(yield* numbers(), { reserved: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("whose consumer fails stops gracefully", () =>
    Effect.gen(function*() {
      yield* publish(10)
      const error = yield* Worker.stream({ concurrency: 2 }, worked).pipe(
        Stream.runForEach(() => Effect.fail("enough")),
        Effect.flip
      )
      assert.strictEqual(error, "enough")
      assert.include(yield* numbers(), { reserved: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("layer", () => {
  it.effect("works until its scope closes, and then stops gracefully, before its broker", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const broker = yield* Broker
      const scope = yield* Scope.make()
      const closing = Layer.effect(
        Broker,
        Effect.acquireRelease(Effect.succeed(broker), () => Effect.sync(() => seen.push("broker closed")))
      )
      yield* Layer.buildWithScope(Layer.provide(Worker.layer({ concurrency: 1 }, seconds(seen)), closing), scope)
      yield* publish(2)
      yield* rest
      const closed = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* pass("1 second")
      yield* Fiber.join(closed)
      assert.deepStrictEqual(seen, ["begin 0", "end 0", "broker closed"])
      assert.deepStrictEqual(yield* numbers(), { ready: 1, delayed: 0, reserved: 0, buried: 0 })
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("gives services to the handlers", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      yield* publish(1)
      yield* Layer.build(Worker.layer(
        { grace: 0 },
        Worker.handler(Count, () => Broker.use((broker) => Effect.sync(() => names.push(broker.name))))
      ))
      yield* rest
      assert.deepStrictEqual(names, ["memory:"])
    }).pipe(Effect.provide(TestBroker.layer)))
})

/** Lets one fiber give up its turn after this many operations, and calls `cut` before it goes on. */
class Cutting extends Scheduler.MixedScheduler {
  left: number
  readonly cut: () => void

  constructor(left: number, cut: () => void) {
    super()
    this.left = left
    this.cut = cut
  }

  override shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    if (--this.left !== 0) return super.shouldYield(fiber)
    queueMicrotask(this.cut)
    return true
  }
}

/** Interrupts a worker after this many of its operations. Returns false if it had done all jobs by then. */
const interruptAfter = (operations: number, body: Effect.Effect<void>) =>
  Effect.gen(function*() {
    const ids = yield* publish(2)
    let handled = 0
    const handler = Worker.handler(Count, () => Effect.andThen(body, Effect.sync(() => handled++)))
    let worker: Fiber.Fiber<unknown, unknown> | undefined
    const scheduler = new Cutting(operations, () => worker!.interruptUnsafe())
    worker = yield* Effect.forkChild(Effect.provideService(Worker.run({}, handler), Scheduler.Scheduler, scheduler))
    for (let turn = 0; turn < 20; turn++) yield* turnOfLoop
    if (scheduler.left > 0) {
      yield* Fiber.interrupt(worker)
      return false
    }
    const hasEnded = worker.pollUnsafe() !== undefined
    yield* pass("1 minute")
    assert.isTrue(hasEnded, `the worker ends at once after operation ${operations}`)
    const gone = yield* Effect.forEach(ids, isGone)
    assert.strictEqual(gone.filter((isGone) => isGone).length, handled, `jobs after operation ${operations}`)
    return true
  }).pipe(Effect.provide(TestBroker.layer))

describe("an interruption at any operation of the worker", () => {
  for (const [what, body] of [["ends at once", Effect.void], ["yields", Effect.yieldNow]] as const) {
    it.effect(`settles each job whose handler has ended, when a handler ${what}`, () =>
      Effect.gen(function*() {
        let operations = 1
        while (yield* interruptAfter(operations, body)) operations++
        assert.isAbove(operations, 50)
      }))
  }
})
