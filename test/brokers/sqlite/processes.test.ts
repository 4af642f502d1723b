/** Several processes on one file, and what happens when they are killed. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { DatabaseSync } from "node:sqlite"
import * as Liveness from "../../../src/brokers/sqlite/liveness.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { tickMillis } from "../../../src/brokers/sqlite/waiters.ts"
import { assertFails, assertInfo, done, take } from "../../conformance/Harness.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { child, file, request } from "./harness.ts"

allow(withPrograms)

const noProc = Liveness.self().started === null

const idsOf = (lines: ReadonlyArray<string>, word: string) =>
  lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.split(" ")[1]!)

describe("processes", () => {
  /** How long it takes until another process begins with a job, once it is put; and the put itself. In milliseconds. */
  const latencies = Effect.fnUntraced(
    function*(path: string, names: ReadonlyArray<string>, pause: Effect.Effect<void>) {
      const { broker } = yield* SqliteBroker.make({ path })
      const worker = yield* child("work", path)
      yield* worker.until((line) => line === "ready")
      const [puts, starts]: [Array<number>, Array<number>] = [[], []]
      for (const name of names) {
        yield* pause
        const before = performance.now()
        yield* broker.put("q", request(name))
        puts.push(performance.now() - before)
        const putAt = process.hrtime.bigint()
        const line = yield* worker.until((line) => line.includes(` ${name} `))
        starts.push(Number(BigInt(line.split(" ")[3]!) - putAt) / 1e6)
      }
      assert.strictEqual(worker.complaints(), "")
      return { puts, starts }
    }
  )

  /** Medians, since the machine may be busy with other things for once. */
  const median = (all: ReadonlyArray<number>) => all.toSorted((a, b) => a - b)[all.length >> 1]!

  const shown = (all: ReadonlyArray<number>) => all.map((millis) => millis.toFixed(1)).join(" ")

  it.live.each<readonly [how: string, count: number, pause: number]>([
    ["that looks for changes", 8, 30],
    // longer than it looks for changes without any
    ["that has gone to sleep", 4, 1400]
  ])(
    "a job of another process is served within two ticks, by a worker %s",
    ([, count, pause]) =>
      Effect.gen(function*() {
        const late: Array<number> = []
        // how late this machine is at the moment
        const lateness = Effect.gen(function*() {
          const before = performance.now()
          yield* Effect.sleep(2 * tickMillis)
          late.push(performance.now() - before)
        })
        const { starts } = yield* latencies(
          yield* file,
          Array.from({ length: count }, (_, i) => `job-${i}`),
          Effect.andThen(Effect.sleep(pause), lateness)
        )
        // Without a look at each tick, or the news that wakes it, it would be up to a second.
        assert.isBelow(median(starts), 2 * median(late), `${shown(starts)} ms, 2 ticks took ${shown(late)} ms`)
      })
  )

  it.live("it is also served in time while another process puts as many jobs as it can", () =>
    Effect.gen(function*() {
      const flooded = Effect.fnUntraced(function*(path: string, hogged: string) {
        const hog = yield* child("flood", hogged)
        yield* hog.until((line) => line === "flooding")
        const names = Array.from({ length: 20 }, (_, i) => `job-${i}`)
        const measured = yield* latencies(path, names, Effect.sleep(20))
        assert.strictEqual(hog.complaints(), "")
        return measured
      }, Effect.scoped)
      const [apart, mine] = [yield* file, yield* file]
      // the same load on the machine, without the lock
      const beside = yield* flooded(mine, apart)
      const within = yield* flooded(mine, mine)
      // A flood kept them waiting for 100 to 900 ms; without the lock it takes 1 to 10.
      for (const what of ["puts", "starts"] as const) {
        const message = `${what}: ${shown(within[what])} ms, without the lock ${shown(beside[what])} ms`
        assert.isBelow(median(within[what]), 10 * Math.max(median(beside[what]), tickMillis / 10), message)
      }
    }))

  it.live("two publishers and two workers in four processes see no lock error, and run no job twice", () =>
    Effect.gen(function*() {
      const path = yield* file
      const children = yield* Effect.all([
        child("publish", path),
        child("publish", path),
        child("work", path),
        child("work", path)
      ])
      yield* Effect.all(
        children.map((child) => child.until((line) => line.startsWith("run") || /^put \d{3}/.test(line)))
      )
      const { broker } = yield* SqliteBroker.make({ path })
      const workers = children.slice(2)
      const counts = () => workers.map((worker) => idsOf(worker.lines, "run").length)
      const before = counts()
      while (counts().some((count, i) => count < before[i]! + 50)) yield* broker.put("q", request("ours"))
      yield* Effect.all(children.map((child) => child.kill), { concurrency: 4 })
      assert.deepStrictEqual(children.map((child) => child.complaints()), ["", "", "", ""])
      assert.deepStrictEqual(children.flatMap((child) => idsOf(child.lines, "failed")), [])
      const ran = children.flatMap((child) => idsOf(child.lines, "run"))
      assert.isAbove(ran.length, 50)
      assert.strictEqual(new Set(ran).size, ran.length)
    }))

  it.live("idle workers of other processes are counted until they are killed", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      assert.strictEqual(yield* broker.idleWorkers("q"), 0)
      const worker = yield* child("work", path)
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      assert.strictEqual((yield* inspector.statsQueue("q").pipe(Effect.flip)).reason._tag, "NotFound")
      assert.strictEqual((yield* inspector.stats).idleWorkers, 1)
      yield* worker.kill
      if (!noProc) assert.strictEqual(yield* broker.idleWorkers("q"), 0)
    }))

  it.live.skipIf(noProc)(
    "the jobs of a killed process are served again within 2 s, as abandoned once",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker } = yield* SqliteBroker.make({ path })
        const holders = yield* Effect.forEach(["first", "second"], (name) =>
          Effect.gen(function*() {
            const id = yield* broker.put("q", request(name, { ttr: "1 hour" }))
            const holder = yield* child("hold", path)
            yield* holder.until((line) => line === `holds ${id}`)
            return { ...holder, id }
          }))
        const consumer = yield* broker.consume(["q"])
        // a search for the first process sees that the second lives
        for (const { id, kill } of holders) {
          const fiber = yield* Effect.forkChild(take(consumer))
          yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
          yield* kill
          const lease = yield* Fiber.join(fiber).pipe(Effect.timeout("2 seconds"))
          assert.strictEqual(lease.id, id)
          yield* assertInfo(consumer, lease, { attempt: 2, abandoned: 1 })
          yield* done(consumer, lease)
        }
      })
  )

  it.live.skipIf(noProc)(
    "they are also served in time under load, and after the wall clock was set back",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const real = yield* Clock.Clock
        let setBack = 0
        const clock: Clock.Clock = {
          sleep: (duration) => real.sleep(duration),
          currentTimeMillis: real.currentTimeMillis,
          currentTimeNanos: real.currentTimeNanos,
          currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe() - setBack,
          currentTimeNanosUnsafe: () => real.currentTimeNanosUnsafe(),
          monotonicTimeNanos: real.monotonicTimeNanos,
          monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe()
        }
        const { broker } = yield* Effect.provideService(SqliteBroker.make({ path }), Clock.Clock, clock)
        const id = yield* broker.put("q", request("a", { ttr: "1 hour" }))
        const holder = yield* child("hold", path)
        yield* holder.until((line) => line === `holds ${id}`)
        // opening the file also searches for dead processes: from here on only the test searches
        yield* (yield* child("flood", path)).until((line) => line === "flooding")
        const consumer = yield* broker.consume(["q"])
        const fiber = yield* Effect.forkChild(take(consumer))
        // other processes see the waiters after the first search for dead ones
        yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker: other }) =>
          Effect.repeat(other.idleWorkers("q"), {
            until: (waiting) => waiting === 1
          })))
        setBack = 60_000
        yield* holder.kill
        const lease = yield* Fiber.join(fiber).pipe(Effect.timeout("3 seconds"))
        assert.strictEqual(lease.id, id)
      })
  )

  it.live("a process that ends requeues its jobs, and spends no attempt", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const id = yield* broker.put("q", request("a"))
      const scope = yield* Scope.make()
      const other = yield* Scope.provide(SqliteBroker.make({ path }), scope)
      const theirs = yield* Scope.provide(other.broker.consume(["q"]), scope)
      const lease = yield* take(theirs)
      yield* Scope.close(scope, Exit.void)
      const consumer = yield* broker.consume(["q"])
      yield* assertInfo(consumer, yield* take(consumer), { attempt: 1, abandoned: 0 })
      yield* assertFails(other.inspector.peek(id), "Unavailable")
      assert.strictEqual((yield* theirs.settle([{ _tag: "Delete", lease }]))[0]?._tag, "Failure")
    }))

  it.live.skipIf(noProc)(
    "processes of an earlier boot are removed when their leases have expired",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const database = yield* Effect.acquireRelease(
          Effect.scoped(
            Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) =>
              Effect.as(broker.put("q", request("held")), new DatabaseSync(path)))
          ),
          (database) =>
            Effect.sync(() => database.close())
        )
        database.exec(`INSERT INTO process (id, pid, started, world) VALUES
          (101, 1, '1', 'a-former-boot pid:[1]'), (102, 1, '1', 'a-former-boot pid:[1]'), (103, 1, NULL, NULL);
        UPDATE job SET state = 2, holder = 102, deliveries = 1, due = 8000000000000000`)
        const processes = database.prepare("SELECT id FROM process WHERE id BETWEEN 101 AND 103 ORDER BY id")
        const open = Effect.scoped(Effect.asVoid(SqliteBroker.make({ path })))
        yield* open
        assert.deepStrictEqual(processes.all().map((row) => row["id"]), [102, 103])
        database.exec("UPDATE job SET due = 1")
        yield* open
        assert.deepStrictEqual(processes.all().map((row) => row["id"]), [103])
      })
  )

  it("a process is dead if another has its pid; a process of another boot or container is unknown", () => {
    const self = Liveness.self()
    assert.isFalse(Liveness.isDead(self, self))
    if (noProc) return
    assert.isTrue(Liveness.isDead({ ...self, started: "1" }, self))
    assert.isTrue(Liveness.isDead({ ...self, pid: 4_000_000 }, self))
    assert.isFalse(Liveness.isDead({ ...self, started: "1", world: "elsewhere" }, self))
    assert.isFalse(Liveness.isDead({ ...self, pid: 4_000_000, started: null }, self))
  })
})
