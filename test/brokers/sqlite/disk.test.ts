/** A disk that is full or read-only, and a file that is taken away: typed errors, and nothing is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { tickMillis } from "../../../src/brokers/sqlite/waiters.ts"
import { assertFails, done, take, text } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { allow, withFiles } from "../../support/limits.ts"
import * as Sleeps from "../../support/sleeps.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

const mount = (...args: ReadonlyArray<string>) => execFileSync("mount", args, { stdio: "ignore" })

/** A small file system. */
const diskOf = (size: string) =>
  Effect.flatMap(folder, (path) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const place = join(path, "disk")
        mkdirSync(place)
        mount("-t", "tmpfs", "-o", `size=${size}`, "tmpfs", place)
        return place
      }),
      (place) => Effect.sync(() => execFileSync("umount", ["-l", place], { stdio: "ignore" }))
    ))

const disk = diskOf("1m")

const cannotMount = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status !== 0

const large = request("x".repeat(20_000))

const integrity = (path: string): unknown => {
  const database = new DatabaseSync(path)
  const result = database.prepare("PRAGMA integrity_check").get()?.["integrity_check"]
  database.close()
  return result
}

describe.skipIf(cannotMount)("a full disk", () => {
  it.live("refuses puts, keeps its jobs, and goes on when there is space again", () =>
    Effect.gen(function*() {
      const place = yield* disk
      const path = join(place, "queue.db")
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const accepted: Array<string> = []
      const fill = Effect.tap(broker.put("q", large), (id) => Effect.sync(() => accepted.push(id)))
      const error = yield* Effect.flip(Effect.forever(fill))
      assert.strictEqual(error.reason._tag, "OutOfMemory")
      assert.include(error.message, "free space")
      assert.isAbove(accepted.length, 10)
      yield* assertFails(broker.put("q", large), "OutOfMemory")
      assert.include(yield* inspector.statsQueue("q"), { ready: accepted.length })

      mount("-o", "remount,size=16m", place)
      const id = yield* broker.put("q", large)
      const consumer = yield* broker.consume(["q"])
      for (const expected of [...accepted, id]) {
        const lease = yield* take(consumer)
        assert.strictEqual(lease.id, expected)
        yield* done(consumer, lease)
      }
      assert.isTrue(Option.isNone(yield* inspector.peekNext("q", "ready")))
      assert.strictEqual(integrity(path), "ok")
    }))

  it.live("keeps leases that can't be settled now, and serves the waiting consumers when there is space again", () =>
    Effect.gen(function*() {
      const place = yield* disk
      const { begun, clock } = yield* Sleeps.make
      const { broker, inspector } = yield* SqliteBroker.make({ path: join(place, "queue.db") }).pipe(
        Effect.provideService(Clock.Clock, clock)
      )
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("first"))
      const first = yield* take(consumer)
      yield* broker.put("q", request("second"))
      const filler = join(place, "filler")
      spawnSync("dd", ["if=/dev/zero", `of=${filler}`, "bs=4k"], { stdio: "ignore" })

      // Earlier writes may have left room for some pages.
      const settle = Effect.map(
        consumer.settle([{ _tag: "Bury", lease: first, reason: "x".repeat(30_000) }]),
        (all) => all[0]!
      )
      const refused = yield* settle
      assert.isTrue(Result.isFailure(refused) && refused.failure.reason._tag === "OutOfMemory")
      const waiting = yield* Effect.forkChild(take(consumer))
      // it looks at each tick, in vain
      yield* begun(3, tickMillis)
      assert.isUndefined(waiting.pollUnsafe())

      rmSync(filler)
      assert.isTrue(Result.isSuccess(yield* settle))
      assert.strictEqual(text(yield* Fiber.join(waiting)), "second")
      assert.include(yield* inspector.statsQueue("q"), { buried: 1, reserved: 1 })
    }))

  it.live.each(["full", "normal"] as const)(
    "with room for the jobs (%s) is not filled by the log of many jobs that come and go",
    (durability) =>
      Effect.gen(function*() {
        const place = yield* diskOf("6m")
        const { broker } = yield* SqliteBroker.make({ path: join(place, "queue.db"), durability })
        const consumer = yield* broker.consume(["q"])
        for (let i = 0; i < 400; i++) {
          yield* broker.put("q", request("x".repeat(60_000)))
          yield* done(consumer, yield* take(consumer))
        }
      })
  )

  it.live("that is unmounted, or mounted over, is noticed, and the file of the next disk is used", () =>
    Effect.gen(function*() {
      const place = yield* disk
      const path = join(place, "queue.db")
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      const waiting = yield* Effect.forkChild(take(consumer))
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
      yield* Effect.gen(function*() {
        yield* assertFails(broker.put("q", request("a")), "Unavailable")
        yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request("b"))))
        const lease = yield* Effect.timeout(Fiber.join(waiting), "5 seconds")
        assert.strictEqual(text(lease), "b")
        // the broker works again once the first waiter has its job
        yield* broker.put("q", request("c"))
      }).pipe(Effect.ensuring(Effect.sync(() => execFileSync("umount", ["-l", place], { stdio: "ignore" }))))
      yield* Effect.eventually(broker.ping).pipe(Effect.timeout("5 seconds"))
      assert.include(yield* Effect.result(inspector.peekNext("q", "ready")), { _tag: "Success" })
    }))

  it.live("is reported if it has no room for a new file, or is read-only", () =>
    Effect.gen(function*() {
      const place = yield* disk
      const path = join(place, "queue.db")
      const filler = join(place, "filler")
      spawnSync("dd", ["if=/dev/zero", `of=${filler}`, "bs=4k"], { stdio: "ignore" })
      const full = yield* Effect.flip(Effect.scoped(SqliteBroker.make({ path })))
      assert.match(full.message, /disk/)
      rmSync(filler)

      const { broker, inspector } = yield* SqliteBroker.make({ path })
      yield* broker.put("q", request("a"))
      // An open writer prevents the disk from becoming read-only; a second mount of it does not.
      const readOnly = join(yield* folder, "read-only")
      mkdirSync(readOnly)
      mount("--bind", place, readOnly)
      mount("-o", "remount,bind,ro", readOnly)
      const error = yield* Effect.flip(Effect.scoped(SqliteBroker.make({ path: join(readOnly, "queue.db") }))).pipe(
        Effect.ensuring(Effect.sync(() => execFileSync("umount", ["-l", readOnly])))
      )
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.match(error.message, /read-only|may write there/)
      assert.include(yield* inspector.statsQueue("q"), { ready: 1 })
    }))
})

describe("a file that is removed", () => {
  it.live("fails every operation until it is put back: no job goes into a file without a name", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const id = yield* broker.put("q", request("a"))
      renameSync(path, `${path}.away`)
      const missing = yield* Effect.flip(broker.put("q", request("b")))
      assert.include(missing.message, "removed or replaced")
      assert.include(missing.reason, { _tag: "Unavailable", fate: "NotSent" })

      copyFileSync(`${path}.away`, path)
      yield* assertFails(broker.put("q", request("c")), "Unavailable")

      renameSync(`${path}.away`, path)
      const consumer = yield* broker.consume(["q"])
      assert.strictEqual((yield* take(consumer)).id, id)
      assert.include(yield* inspector.statsQueue("q"), { total: 1 })
    }))

  it.live("is noticed by a waiting worker", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      const waiting = yield* Effect.forkChild(Effect.flip(take(consumer)))
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      rmSync(path)
      writeFileSync(join(dirname(path), "queue.db"), "")
      yield* Effect.ignore(broker.ping)
      const error = yield* Fiber.join(waiting)
      assert.include(error.message, "removed or replaced")
    }))
})
