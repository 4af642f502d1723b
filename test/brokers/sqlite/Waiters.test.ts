/** Every waiter wakes up, after any failure and any change of the clock. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import { brokerClosed, type BrokerError } from "../../../src/BrokerError.ts"
import { tickMillis, type Waiter, Waiters } from "../../../src/brokers/sqlite/waiters.ts"

/** A waiter for a job that never comes, and a file that the test controls, on the test clock. */
const make = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const file = {
    version: (): unknown => 1,
    changedSince: Effect.never as Effect.Effect<void>,
    wallNow: 1e15,
    requested: 0,
    checked: 0,
    reported: [] as Array<number>,
    canReport: true
  }
  const waiters: Waiters<never> = new Waiters<never>({
    broker: "test",
    clock: { now: () => file.wallNow, monotonic: () => clock.currentTimeMillisUnsafe() },
    changes: { version: () => file.version(), since: () => file.changedSince, next: () => Infinity },
    others: {
      check: Effect.sync(() => {
        file.checked++
      }),
      report: (counts) =>
        Effect.sync(() => {
          if (file.canReport) file.reported.push(counts.get("q") ?? 0)
          return file.canReport
        })
    },
    request: () => {
      file.requested++
      waiters.serve(file.wallNow, () => false)()
    }
  })
  yield* Effect.forkScoped(waiters.watch)
  const failures: Array<BrokerError> = []
  const waiter: Waiter<never> = {
    queues: ["q"],
    isWaiting: false,
    take: () => [],
    served: () => {},
    failed: (error) => failures.push(error)
  }
  waiters.add(waiter)
  return { file, waiters, waiter, failures }
})

describe("Waiters", () => {
  it.effect("a write that is reported before its commit is visible still wakes the waiters", () =>
    Effect.gen(function*() {
      const { file } = yield* make
      const told = yield* Deferred.make<void>()
      file.changedSince = Deferred.await(told)
      // it now sleeps for 700 ms more, unless a write wakes it
      yield* TestClock.adjust("1300 millis")
      const quiet = file.requested
      file.changedSince = Effect.never
      yield* Deferred.succeed(told, undefined)
      yield* TestClock.adjust(tickMillis)
      assert.strictEqual(file.requested, quiet, "no commit can be seen yet")
      file.version = () => 2
      yield* TestClock.adjust(2 * tickMillis)
      assert.strictEqual(file.requested, quiet + 1)
    }))

  it.effect("a defect does not end the watch, and is logged once", () =>
    Effect.gen(function*() {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ message }) => logged.push(message))
      const { file } = yield* Effect.provide(make, Logger.layer([logger]))
      yield* TestClock.adjust("50 millis")
      let faults = 0
      file.version = () => {
        if (faults++ < 3) throw new Error("a fault")
        return 2
      }
      const before = file.requested
      yield* TestClock.adjust("1 second")
      assert.isAbove(file.requested, before)
      assert.isAbove(faults, 3)
      assert.strictEqual(logged.length, 1)
    }))

  it.effect("a wall clock that is set back stops neither the search for dead processes nor the report of idle workers", () =>
    Effect.gen(function*() {
      const { file, waiter, waiters } = yield* make
      yield* TestClock.adjust("100 millis")
      file.wallNow -= 60e6
      const { checked } = file
      yield* TestClock.adjust("1500 millis")
      assert.isAbove(file.checked, checked)
      waiters.remove(waiter)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(file.reported, [1, 0])
    }))

  it.effect("a report that failed is repeated", () =>
    Effect.gen(function*() {
      const { file } = yield* make
      file.canReport = false
      yield* TestClock.adjust("300 millis")
      file.canReport = true
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(file.reported, [1])
    }))

  it.effect("closing fails the waiters, and later ones too", () =>
    Effect.gen(function*() {
      const { failures, waiter, waiters } = yield* make
      const error = brokerClosed("test")
      waiters.close(error)
      waiters.add(waiter)
      assert.deepStrictEqual(failures, [error, error])
    }))

  it("waiters that find no job delay no others, even if the turn has ended", () => {
    const waiters: Waiters<string> = new Waiters<string>({
      broker: "test",
      clock: { now: () => 0, monotonic: () => 0 },
      changes: { version: () => 1, since: () => Effect.never, next: () => Infinity },
      others: { check: Effect.void, report: () => Effect.succeed(true) },
      request: () => {
        wanted++
      }
    })
    let wanted = 0
    const served: Array<string> = []
    const wait = (name: string, leases: ReadonlyArray<string>) =>
      waiters.add({
        queues: [name],
        isWaiting: false,
        take: () => leases,
        served: () => served.push(name),
        failed: () => {}
      })
    wait("idle", [])
    wait("busy", ["1"])
    wait("late", ["2"])
    wanted = 0
    waiters.serve(0, () => true)()
    // one is served, and the next turn goes on with the others
    assert.deepStrictEqual([served, wanted], [["busy"], 1])
    waiters.serve(0, () => true)()
    assert.deepStrictEqual(served, ["busy", "late"])
    // looking in vain asks for no other turn
    waiters.serve(0, () => true)()
    assert.strictEqual(wanted, 1)
  })
})
