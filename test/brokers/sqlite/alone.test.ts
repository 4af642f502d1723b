/** What the broker in a file promises beyond the contract. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { chmodSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Lease } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { FileUnusable } from "../../../src/brokers/sqlite/failure.ts"
import { currentVersion } from "../../../src/brokers/sqlite/schema.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { Job, Publisher, Worker } from "../../../src/index.ts"
import { Inspector } from "../../../src/Inspector.ts"
import { assertFails, assertInfo, done, release, take, text } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { allow, withFiles } from "../../support/limits.ts"
import * as Sleeps from "../../support/sleeps.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

const unavailable = <A>(effect: Effect.Effect<A, BrokerError, Scope.Scope>) =>
  Effect.map(Effect.flip(Effect.scoped(effect)), ({ reason }) => {
    if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
    return reason
  })

/** Why a file can't be used. */
const problemOf = (path: string) =>
  Effect.map(
    unavailable(SqliteBroker.make({ path })),
    ({ cause }) => cause instanceof FileUnusable ? cause.problem : undefined
  )

/** Does something to a file by other means. */
const tamper = (path: string, ...statements: ReadonlyArray<string>) => {
  const database = new DatabaseSync(path)
  for (const statement of statements) database.exec(statement)
  database.close()
}

describe("SqliteBroker", () => {
  it.live("keeps everything across a restart", () =>
    Effect.gen(function*() {
      const path = yield* file
      const [tried, buried] = yield* Effect.scoped(Effect.gen(function*() {
        const { broker, inspector } = yield* SqliteBroker.make({ path })
        const consumer = yield* broker.consume(["q"])
        const tried = yield* broker.put("q", request("tried", { priority: 7, ttr: "1500 millis" }))
        yield* release(consumer, yield* take(consumer), { delay: "1 hour", reason: "not yet" })
        const buried = yield* broker.put("q", request("buried"))
        yield* consumer.settle([{ _tag: "Bury", lease: yield* take(consumer), reason: "broken" }])
        yield* inspector.pause("other", Duration.hours(1))
        return [tried, buried] as const
      }))
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const stats = yield* inspector.statsJob(tried)
      assert.include(stats, { state: "delayed", attempt: 1, abandoned: 0, priority: 7, reason: "not yet", queue: "q" })
      assert.strictEqual(Duration.toMillis(stats.ttr), 1500)
      assert.include(yield* inspector.statsJob(buried), { state: "buried", reason: "broken", buries: 1 })
      assert.deepStrictEqual((yield* inspector.queues).toSorted(), ["other", "q"])
      assert.include(yield* inspector.stats, { delayed: 1, buried: 1, durable: true })
      const next = yield* broker.put("q", request("next"))
      assert.isAbove(Number(next), Number(buried))
    }))

  it.live("never uses an id twice, even after the last job is gone", () =>
    Effect.gen(function*() {
      const path = yield* file
      const putAndDelete = Effect.scoped(Effect.gen(function*() {
        const { broker, inspector } = yield* SqliteBroker.make({ path })
        const id = yield* broker.put("q", request("a"))
        yield* inspector.delete(id)
        return id
      }))
      assert.notStrictEqual(yield* putAndDelete, yield* putAndDelete)
    }))

  it.live("serves a job with a delay of milliseconds after the delay, not before", () =>
    Effect.gen(function*() {
      const { broker } = yield* SqliteBroker.make({ path: yield* file })
      const consumer = yield* broker.consume(["q"])
      for (const millis of [3, 60, 130]) {
        const start = performance.now()
        yield* broker.put("q", request("a", { delay: millis }))
        const lease = yield* take(consumer)
        const waited = performance.now() - start
        assert.isAtLeast(waited, millis)
        assert.isBelow(waited, millis + 1000)
        yield* done(consumer, lease)
      }
    }))

  it.live("commits many calls of one turn at once, or a few times on a slow machine, and keeps their order", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const watcher = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(path)),
        (database) => Effect.sync(() => database.close())
      )
      const jobs = watcher.prepare("SELECT count(*) AS jobs FROM job")
      const seen = new Set<unknown>()
      const put = (i: number) =>
        Effect.tap(broker.put("q", request(String(i))), () => Effect.sync(() => seen.add(jobs.get()?.["jobs"])))
      const ids = yield* Effect.forEach(Array.from({ length: 20 }, (_, i) => i), put, { concurrency: "unbounded" })
      assert.isAtMost(seen.size, 4)
      assert.isTrue(seen.has(20))
      assert.deepStrictEqual(ids, ids.toSorted((a, b) => Number(a) - Number(b)))
    }))

  it.live("puts and kicks more jobs than one turn can", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file, durability: "normal" })
      const requests = Array.from({ length: 1700 }, (_, i) => request(String(i), { delay: "1 hour" }))
      const results = yield* broker.putAll("q", requests)
      assert.isTrue(results.every(Result.isSuccess))
      assert.strictEqual(yield* inspector.kick("q", 1200), 1200)
      assert.include(yield* inspector.statsQueue("q"), { ready: 1200, delayed: 500, total: 1700 })
      assert.strictEqual(yield* inspector.kick("q", 100_000), 500)
      assert.strictEqual(text(yield* take(yield* broker.consume(["q"]))), "0")
    }))

  it.live("loses no job, whenever an interruption meets a reserve", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file, durability: "normal" })
      const consumer = yield* broker.consume(["q"])
      for (let steps = 0; steps < 30; steps++) {
        const received: Array<Lease> = []
        const fiber = yield* Effect.uninterruptibleMask((restore) =>
          Effect.map(restore(consumer.reserve(1)), (leases) => received.push(...leases))
        ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, 3), Effect.forkChild)
        if (steps % 2 === 0) yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
        const put = yield* Effect.forkChild(broker.put("q", request("a")))
        yield* Effect.replicateEffect(Effect.yieldNow, steps)
        yield* Fiber.interrupt(fiber)
        yield* Fiber.join(put)
        const { ready, reserved } = yield* inspector.statsQueue("q")
        assert.deepStrictEqual(
          { ready, reserved },
          received.length === 0 ? { ready: 1, reserved: 0 } : { ready: 0, reserved: 1 },
          `after ${steps} steps`
        )
        yield* done(consumer, received[0] ?? (yield* take(consumer)))
      }
    }))

  it.live("delivers a batch to a consumer that requests everything", () =>
    Effect.gen(function*() {
      const { broker } = yield* SqliteBroker.make({ path: yield* file, durability: "normal" })
      yield* broker.putAll("q", Array.from({ length: 700 }, () => request("a")))
      const consumer = yield* broker.consume(["q"])
      assert.strictEqual((yield* consumer.reserve(100_000)).length, 500)
      assert.strictEqual((yield* consumer.reserve(100_000)).length, 200)
    }))

  it.live("fails the reserves of a closed consumer, also waiting ones", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file })
      const scope = yield* Scope.make()
      const consumer = yield* Scope.provide(broker.consume(["q"]), scope)
      const fiber = yield* Effect.forkChild(consumer.reserve(1))
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      yield* Scope.close(scope, Exit.void)
      yield* assertFails(Fiber.join(fiber), "Unavailable")
      yield* assertFails(consumer.reserve(1), "Unavailable")
      yield* assertFails(inspector.statsQueue("q"), "NotFound")
    }))

  it.live("a settlement with a priority out of range is refused, and the lease stays", () =>
    Effect.gen(function*() {
      const { broker } = yield* SqliteBroker.make({ path: yield* file })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      for (const priority of [-1, 0.5, NaN]) yield* assertFails(release(consumer, lease, { priority }), "OptionInvalid")
      yield* assertInfo(consumer, lease, { attempt: 1, abandoned: 0 })
      yield* done(consumer, lease)
    }))
})

describe("files that can't be used", () => {
  it.live("a file that is not a database is refused and not changed", () =>
    Effect.gen(function*() {
      const path = yield* file
      const content = "this is my thesis, not a database\n".repeat(100)
      writeFileSync(path, content)
      assert.include((yield* unavailable(SqliteBroker.make({ path }))).message, "not a SQLite database")
      assert.strictEqual(readFileSync(path, "utf8"), content)
    }))

  for (
    const [name, problem, statements] of [
      ["another program's", "OtherProgram", ["CREATE TABLE songs (title)", "PRAGMA user_version = 3"]],
      ["a marked one of another program", "OtherProgram", ["PRAGMA application_id = 7"]],
      ["a newer backq's", "Newer", []]
    ] as const
  ) {
    it.live(`${name}: is refused and not changed`, () =>
      Effect.gen(function*() {
        const path = yield* file
        if (problem === "Newer") {
          yield* Effect.scoped(SqliteBroker.make({ path }))
          tamper(path, `PRAGMA user_version = ${currentVersion + 1}`)
        } else tamper(path, ...statements)
        const before = readFileSync(path)
        assert.strictEqual(yield* problemOf(path), problem)
        assert.isTrue(before.equals(readFileSync(path)))
        assert.deepStrictEqual(readdirSync(dirname(path)), ["queue.db"])
      }))
  }

  it.live("a missing folder, or a file in its place, is an error", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const missing = yield* unavailable(SqliteBroker.make({ path: join(path, "missing", "queue.db") }))
      assert.include(missing.message, "check that its folder exists")
      assert.include((yield* unavailable(SqliteBroker.make({ path }))).message, "can't be opened")
    }))

  it.live("a new file and its log are readable only by its owner and group; an existing file keeps its mode", () =>
    Effect.gen(function*() {
      const path = yield* file
      const modes = () => ["", "-wal", "-shm"].map((end) => (statSync(`${path}${end}`).mode & 0o007).toString(8))
      yield* Effect.scoped(Effect.gen(function*() {
        const { broker } = yield* SqliteBroker.make({ path })
        yield* broker.put("q", request("x"))
        assert.deepStrictEqual(modes(), ["0", "0", "0"])
      }))
      chmodSync(path, 0o644)
      yield* SqliteBroker.make({ path })
      assert.deepStrictEqual(modes(), ["4", "4", "4"])
    }))

  it.live(":memory: is refused", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* problemOf(":memory:"), "NoWal")
    }))

  it.live("a file that another program has locked is waited for without blocking, then fails with Unavailable, then works again", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { begun, clock } = yield* Sleeps.make
      const { broker, inspector } = yield* SqliteBroker.make({ path, busyTimeout: "300 millis" }).pipe(
        Effect.provideService(Clock.Clock, clock)
      )
      const consumer = yield* broker.consume(["q"])
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(path)),
        (database) => Effect.sync(() => database.close())
      )
      other.exec("BEGIN IMMEDIATE")
      let turns = 0
      const counter = yield* Effect.forkChild(
        Effect.forever(Effect.tap(Effect.sleep("5 millis"), () => Effect.sync(() => turns++)))
      )
      const reason = yield* unavailable(broker.put("q", request("a")))
      assert.include(reason, { fate: "NotSent" })
      assert.include(reason.message, "lock")
      assert.isAbove(turns, 10)
      yield* Fiber.interrupt(counter)

      const put = yield* Effect.forkChild(broker.put("q", request("b")))
      // it tries again and again
      yield* begun(3, "2 millis")
      assert.isUndefined(put.pollUnsafe())
      other.exec("COMMIT")
      const id = yield* Fiber.join(put)
      assert.strictEqual((yield* take(consumer)).id, id)
      assert.isTrue(Option.isNone(yield* inspector.peekNext("q", "ready")))
    }))

  it.live("damage found by one operation fails it, and not the waiting consumers", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      const fiber = yield* Effect.forkChild(take(consumer))
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      // A trigger fails one statement, as a full disk or a fault would.
      tamper(path, "CREATE TRIGGER fault BEFORE INSERT ON job BEGIN SELECT raise(ABORT, 'a fault'); END")
      const reason = yield* unavailable(broker.put("q", request("a")))
      assert.include(reason.message, "a fault")
      tamper(path, "DROP TRIGGER fault")
      assert.isUndefined(fiber.pollUnsafe())
      const id = yield* broker.put("q", request("b"))
      assert.strictEqual((yield* Fiber.join(fiber)).id, id)
      assert.include(yield* inspector.statsQueue("q"), { reserved: 1, ready: 0, total: 1 })
    }))

  it.live("a file removed for good while a job runs ends the worker after the job, not after its time to run", () =>
    Effect.gen(function*() {
      const path = yield* file
      const One = Job.make("one", { payload: Schema.Struct({}), queue: "q", ttr: "1 hour" })
      const begun = yield* Deferred.make<void>()
      const layer = Publisher.layer.pipe(Layer.fresh, Layer.provideMerge(SqliteBroker.layer({ path })))
      yield* Effect.gen(function*() {
        yield* Publisher.publish(One, {})
        const handler = Worker.handler(One, () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.sleep(300)))
        const worker = yield* Effect.forkChild(Worker.run({ concurrency: 2, grace: "1 second" }, handler))
        yield* Deferred.await(begun)
        renameSync(path, `${path}.away`)
        const exit = yield* Fiber.await(worker).pipe(Effect.timeout("20 seconds"))
        assert.strictEqual(exit._tag, "Failure")
      }).pipe(Effect.provide(layer))
    }))
})

describe("a failure that is not text", () => {
  it.live("is kept as text, and delays no other job", () =>
    Effect.gen(function*() {
      const path = yield* file
      const One = Job.make("one", { payload: Schema.Struct({}), queue: "q", retry: Schedule.spaced("1 hour") })
      const layer = Publisher.layer.pipe(Layer.fresh, Layer.provideMerge(SqliteBroker.layer({ path })))
      yield* Effect.gen(function*() {
        const id = yield* Publisher.publish(One, {})
        yield* Worker.run(
          { maxJobs: 1, idleTimeout: "100 millis" },
          // as HTTP clients have it that take over what a server says
          Worker.handler(One, () => Effect.fail(Object.assign(new Error(), { message: ["no", "text"] })))
        )
        const { lastFailure, state } = yield* Inspector.use((inspector) => inspector.statsJob(id))
        assert.strictEqual(state, "delayed")
        assert.isString(lastFailure?.message)
      }).pipe(Effect.provide(layer))
    }))
})
