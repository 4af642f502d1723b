import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { Commits } from "../../../src/brokers/sqlite/commits.ts"
import { failure } from "../../../src/brokers/sqlite/failure.ts"
import { open } from "../../../src/brokers/sqlite/file.ts"
import { assertFails } from "../../conformance/Harness.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file } from "./harness.ts"

allow(withFiles)

const make = Effect.gen(function*() {
  const path = yield* file
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => open(path)),
    (database) => Effect.sync(() => database.close())
  )
  const failures: Array<boolean> = []
  const written: Array<number> = []
  const disk = {
    isQuick: true,
    sync: Effect.void,
    error: undefined as BrokerError | undefined,
    fault: undefined as BrokerError | "Busy" | undefined,
    attempts: 0
  }
  /** A value that is thrown once outside of an operation. */
  const faults = { onWritten: false, afterwards: false, sync: false }
  const throwOnce = (where: keyof typeof faults) => {
    if (!faults[where]) return
    faults[where] = false
    throw new Error(`a fault in ${where}`)
  }
  const commits = new Commits({
    broker: "test",
    database,
    clock: yield* Clock.Clock,
    busyTimeout: Duration.seconds(1),
    content: {
      isDue: () => false,
      advance: () => {},
      complete: () => () => throwOnce("afterwards"),
      undo: () => {},
      bytes: () => 0
    },
    storage: {
      check: () => {},
      hasCompany: () => false,
      sync: {
        isQuick: () => disk.isQuick,
        onMainThread: () => disk.error === undefined ? Result.void : Result.fail(disk.error),
        onOtherThread: Effect.suspend(() => {
          throwOnce("sync")
          return disk.error === undefined ? disk.sync : Effect.fail(disk.error)
        }),
        recover: () => {
          disk.attempts++
          return disk.fault
        }
      },
      room: Effect.void,
      makeSpace: () => false,
      wrote: (pages) => {
        throwOnce("onWritten")
        written.push(pages)
      }
    },
    onFailure: (_, isShared) => failures.push(isShared)
  })
  yield* commits.start
  database.exec("CREATE TABLE thing (value BLOB) STRICT")
  const insert = database.prepare("INSERT INTO thing VALUES (zeroblob(?))")
  const count = database.prepare("SELECT count(*) AS things FROM thing")
  return {
    database,
    commits,
    failures,
    written,
    disk,
    faults,
    insert: (size: number) => commits.run(() => insert.run(size)),
    count: commits.run(() => count.get()?.["things"]),
    untilCommitted: (things: number) =>
      Effect.sync(() => count.get()?.["things"]).pipe(
        Effect.repeat({ until: (committed) => committed === things, schedule: Schedule.spaced("1 millis") })
      )
  }
})

describe("Commits", () => {
  it.live("a full disk fails all operations of the transaction with OutOfMemory and changes nothing, and later operations work", () =>
    Effect.gen(function*() {
      const { count, database, insert } = yield* make
      yield* insert(10)
      database.exec("PRAGMA max_page_count = 30")
      yield* Effect.all([
        assertFails(insert(10), "OutOfMemory"),
        assertFails(insert(1_000_000), "OutOfMemory"),
        assertFails(insert(10), "OutOfMemory")
      ], { concurrency: 3 })
      assert.strictEqual(yield* count, 1)
      yield* insert(10)
      database.exec("PRAGMA max_page_count = 1000000")
      yield* insert(1_000_000)
      assert.strictEqual(yield* count, 3)
    }))

  it.live("an error in one operation fails its transaction, not the next", () =>
    Effect.gen(function*() {
      const { commits, count, database, failures, insert } = yield* make
      yield* Effect.all([
        assertFails(insert(1), "Unavailable"),
        assertFails(commits.run(() => database.exec("SELECT nonsense")), "Unavailable")
      ], { concurrency: 2 })
      assert.strictEqual(yield* count, 0)
      assert.deepStrictEqual(failures, [true])
    }))

  it.live("an operation that throws because of its arguments fails alone", () =>
    Effect.gen(function*() {
      const { commits, count, insert } = yield* make
      yield* Effect.all([
        insert(1),
        assertFails(
          commits.run(() => {
            throw new TypeError("not a value for a file")
          }),
          "Unavailable"
        ),
        insert(1)
      ], { concurrency: 3 })
      assert.strictEqual(yield* count, 2)
    }))

  it.live("a change completes when it is on disk, and changes made meanwhile share the next sync", () =>
    Effect.gen(function*() {
      const { count, disk, insert, untilCommitted, written } = yield* make
      const slow = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      let syncs = 0
      disk.isQuick = false
      disk.sync = Effect.suspend(() => {
        syncs++
        return Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(slow))
      })
      const first = yield* Effect.forkChild(insert(10))
      yield* Deferred.await(begun)
      assert.strictEqual(yield* count, 1)
      const second = yield* Effect.forkChild(insert(10))
      yield* untilCommitted(2)
      const third = yield* Effect.forkChild(insert(10))
      yield* untilCommitted(3)
      for (const fiber of [first, second, third]) assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(slow, undefined)
      yield* Fiber.joinAll([first, second, third])
      assert.strictEqual(syncs, 2)
      assert.strictEqual(written.length, 3)
    }))

  it.live.each([true, false])(
    "a commit that can't be synced (%s: on the main thread) does not succeed",
    (isQuick) =>
      Effect.gen(function*() {
        const { count, disk, insert } = yield* make
        disk.isQuick = isQuick
        disk.error = failure("test", "EIO", "Unknown")
        const error = yield* Effect.flip(insert(10))
        assert.strictEqual(error.reason._tag === "Unavailable" && error.reason.fate, "Unknown")
        assert.include(error.message, "EIO")
        disk.error = undefined
        yield* insert(10)
        assert.strictEqual(yield* count, 2)
      })
  )

  it.live("no transaction begins until a failed sync is repaired: operations fail or wait, and then go on", () =>
    Effect.gen(function*() {
      const { count, disk, insert } = yield* make
      disk.fault = failure("test", "EIO")
      const error = yield* Effect.flip(insert(10))
      assert.include(error.reason, { _tag: "Unavailable", fate: "NotSent" })
      disk.fault = "Busy"
      assert.include((yield* Effect.flip(insert(10))).message, "end them")
      const waiting = yield* Effect.forkChild(insert(10))
      const { attempts } = disk
      yield* Effect.repeat(Effect.yieldNow, { while: () => disk.attempts < attempts + 10 })
      assert.isUndefined(waiting.pollUnsafe())
      disk.fault = undefined
      yield* Fiber.join(waiting)
      assert.strictEqual(yield* count, 1)
    }))

  it.live.each(["onWritten", "afterwards", "sync"] as const)(
    "after any thrown value (%s), every operation completes, and the next one runs",
    (where) =>
      Effect.gen(function*() {
        const { count, disk, faults, insert } = yield* make
        disk.isQuick = where !== "sync"
        faults[where] = true
        const results = yield* Effect.all([Effect.result(insert(10)), Effect.result(insert(10))], { concurrency: 2 })
          .pipe(Effect.timeout("2 seconds"))
        for (const result of results) {
          if (Result.isFailure(result)) assert.include(result.failure.reason, { _tag: "Unavailable", fate: "Unknown" })
        }
        // operations requested meanwhile fail as not begun
        yield* Effect.retry(insert(10), { times: 1, while: ({ message }) => message.includes("a fault") })
        assert.strictEqual(yield* count, 3)
      }).pipe(Effect.provide(Logger.layer([])))
  )

  it.live("its clock never stops", () =>
    Effect.gen(function*() {
      const { commits } = yield* make
      const times = Array.from({ length: 1000 }, () => commits.now())
      assert.isTrue(times.every((time, i) => i === 0 || time > times[i - 1]!))
    }))

  it.live("operations that one turn can't finish run in the next turns", () =>
    Effect.gen(function*() {
      const { count, insert } = yield* make
      yield* Effect.forEach(Array.from({ length: 5000 }), () => insert(300), { concurrency: "unbounded" })
      assert.strictEqual(yield* count, 5000)
    }))
})
