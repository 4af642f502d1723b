/** A file that is moved, replaced or removed while it is open: backq notices, reports it, and opens the file again. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import {
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { type Lease } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { Guard } from "../../../src/brokers/sqlite/guard.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertFails, done, reasonOf, take, text } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"
import { bodiesIn, logs, moveAll, putElsewhere, waiting } from "./moves.ts"

allow(withFiles)

const removeAll = (path: string) => {
  for (const end of ["", "-wal", "-shm"]) rmSync(`${path}${end}`, { force: true })
}

/** Moves the file of a path away by a way of its own. Afterwards another program may make one there. */
const ways: ReadonlyArray<readonly [name: string, away: (path: string) => void]> = [
  ["it is moved with the files beside it", (path) => moveAll(path, join(dirname(path), "away"))],
  ["it is removed with the files beside it", removeAll],
  ["its folder is moved, and created again", (path) => {
    renameSync(dirname(path), `${dirname(path)}.away`)
    mkdirSync(dirname(path))
  }]
]

describe("a file that is moved while it is open", () => {
  it.live.each(ways)(
    "%s: a waiting consumer notices within seconds, and gets the jobs of the next file",
    ([, away]) =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const { layer, lines } = logs()
        yield* Effect.gen(function*() {
          const { broker } = yield* SqliteBroker.make({ path, reconnectFor: "1 minute" })
          const consumer = yield* broker.consume(["q"])
          const waiter = yield* Effect.forkChild(take(consumer))
          yield* waiting(broker)
          yield* Effect.sync(() => away(path))
          yield* Effect.repeat(Effect.delay(Effect.sync(() => lines), 20), { until: (lines) => lines.length > 0 }).pipe(
            Effect.timeout("5 seconds")
          )
          assert.match(lines[0]!, /^Warn .*was removed or replaced while it was open/)
          assert.isFalse(existsSync(path))
          yield* assertFails(broker.put("q", request("lost")), "Unavailable")
          assert.isFalse(existsSync(path), "a moved file is not created again")

          yield* putElsewhere(path, "next")
          const lease = yield* Effect.timeout(Fiber.join(waiter), "5 seconds")
          assert.strictEqual(text(lease), "next")
          yield* done(consumer, lease)
          assert.isTrue(lines.some((line) => /^Info .*open again/.test(line)), lines.join("\n"))
          yield* broker.put("q", request("more"))
          assert.include(bodiesIn(path), "more")
          assert.strictEqual(text(yield* take(consumer)), "more")
        }).pipe(Effect.provide(layer))
      })
  )

  it.live.each(ways)(
    "%s, and replaced: a publisher with the file open puts into the new one",
    ([, away]) =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const { broker } = yield* SqliteBroker.make({ path })
        yield* broker.put("q", request("before"))
        away(path)
        yield* putElsewhere(path, "next")
        yield* broker.put("q", request("after"))
        const results = yield* broker.putAll("q", [request("a"), request("b")])
        assert.isTrue(results.every(Result.isSuccess))
        assert.deepStrictEqual(bodiesIn(path), ["next", "after", "a", "b"])
      })
  )

  it.live("fails every command without an effect, and the error has advice", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const id = yield* broker.put("q", request("a"))
      moveAll(path, join(dirname(path), "away"))
      const commands: ReadonlyArray<Effect.Effect<unknown, BrokerError>> = [
        broker.ping,
        broker.put("q", request("b")),
        Effect.flatMap(broker.putAll("q", [request("c")]), ([result]) => Effect.fromResult(result!)),
        inspector.stats,
        inspector.statsQueue("q"),
        inspector.statsJob(id),
        inspector.queues,
        inspector.peek(id),
        inspector.peekNext("q", "ready"),
        inspector.list("q", { state: "ready" }),
        inspector.kick("q", 1),
        inspector.kickJob(id),
        inspector.buryJob(id, "no"),
        inspector.moveJob(id, "r"),
        inspector.delete(id),
        broker.idleWorkers("q"),
        inspector.pause("q", 1000 as never),
        inspector.resume("q")
      ]
      for (const command of commands) {
        const reason = yield* reasonOf(command)
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.strictEqual(reason.fate, "NotSent")
        assert.include(reason.message, "removed or replaced")
      }
      assert.deepStrictEqual(bodiesIn(join(dirname(path), "away", basename(path))), ["a"])
      assert.deepStrictEqual(readdirSync(dirname(path)), ["away"])
    }))

  it.live("fails waiting consumers and workers after their time, and may come back later", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path, reconnectFor: "600 millis" })
      const consumer = yield* broker.consume(["q"])
      const waiter = yield* Effect.forkChild(reasonOf(consumer.reserve(1)))
      yield* waiting(broker)
      const began = performance.now()
      moveAll(path, join(dirname(path), "away"))
      const reason = yield* Fiber.join(waiter)
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.strictEqual(reason.fate, "NotSent")
      assert.isAtLeast(performance.now() - began, 500)
      // at once from then on
      yield* assertFails(
        Effect.orDie(Effect.timeout(Effect.result(consumer.reserve(1)), "1 second")).pipe(
          Effect.flatMap(Effect.fromResult)
        ),
        "Unavailable"
      )
      yield* putElsewhere(path, "late")
      const lease = yield* Effect.eventually(take(consumer)).pipe(Effect.timeout("10 seconds"))
      assert.strictEqual(text(lease), "late")
    }))

  it.live("keeps its leases if it comes back", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      const waiter = yield* Effect.forkChild(take(consumer))
      moveAll(path, join(dirname(path), "away"))
      yield* assertFails(broker.ping, "Unavailable")
      yield* assertFails(done(consumer, lease), "Unavailable")
      moveAll(join(dirname(path), "away", basename(path)), dirname(path))
      yield* done(consumer, lease)
      yield* broker.put("q", request("b"))
      assert.strictEqual(text(yield* Fiber.join(waiter)), "b")
    }))

  it.live("loses its leases if it was replaced, and their handlers are interrupted", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      const lost = yield* Effect.forkChild(consumer.leasesLost)
      moveAll(path, join(dirname(path), "away"))
      // has a job of the same number
      yield* putElsewhere(path, "next")
      yield* Effect.eventually(broker.ping)
      assert.deepStrictEqual(yield* Fiber.join(lost), [lease] as ReadonlyArray<Lease> as never)
      yield* assertFails(done(consumer, lease), "LeaseLost")
      assert.deepStrictEqual(bodiesIn(path), ["next"])
      assert.deepStrictEqual(bodiesIn(join(dirname(path), "away", basename(path))), ["a"])
    }))

  it.live("requeues its leases if only a link leads elsewhere", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [one, other, link] = ["one.db", "other.db", "link.db"].map((name) => join(place, name)) as [
        string,
        string,
        string
      ]
      yield* putElsewhere(one, "one")
      yield* putElsewhere(other, "other")
      symlinkSync(one, link)
      const { broker } = yield* SqliteBroker.make({ path: link })
      const consumer = yield* broker.consume(["q"])
      assert.strictEqual(text(yield* take(consumer)), "one")
      const waiter = yield* Effect.forkChild(take(consumer))
      yield* waiting(broker)
      unlinkSync(link)
      symlinkSync(other, link)
      assert.strictEqual(text(yield* Effect.timeout(Fiber.join(waiter), "5 seconds")), "other")
      const left = yield* SqliteBroker.make({ path: one })
      assert.include(yield* left.inspector.statsQueue("q"), { ready: 1, reserved: 0 })
      assert.isFalse(existsSync(`${link}-wal`))
    }))

  it.live("moved without its log, does not open its replacement, because SQLite would mix both", () =>
    Effect.gen(function*() {
      const path = yield* file
      const away = `${path}.away`
      const { broker } = yield* SqliteBroker.make({ path })
      yield* broker.put("q", request("a"))
      renameSync(path, away)
      copyFileSync(away, path)
      const { message } = yield* Effect.flip(broker.ping)
      assert.include(message, `${path}-wal`)
      const size = statSync(`${path}-wal`).size
      assert.isAbove(size, 0)
      yield* assertFails(Effect.delay(broker.ping, "400 millis"), "Unavailable")
      assert.strictEqual(statSync(`${path}-wal`).size, size)
      renameSync(`${path}-wal`, `${away}-wal`)
      renameSync(`${path}-shm`, `${away}-shm`)
      yield* Effect.eventually(broker.put("q", request("b"))).pipe(Effect.timeout("5 seconds"))
      assert.deepStrictEqual(bodiesIn(away), ["a"])
    }))

  it.live("reports why its replacement can't be used", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      moveAll(path, join(dirname(path), "away"))
      copyFileSync(join(import.meta.dirname, "moved.test.ts"), path)
      const { message } = yield* Effect.flip(broker.ping)
      assert.include(message, "removed or replaced")
      assert.include(message, "not a SQLite database")
    }))

  it.live("logs a warning of a hard link", () =>
    Effect.gen(function*() {
      const path = yield* file
      yield* putElsewhere(path, "a")
      linkSync(path, `${path}.other`)
      const { layer, lines } = logs()
      yield* Effect.provide(SqliteBroker.make({ path }), layer)
      assert.match(lines.join("\n"), /^Warn .*hard link/)
    }))
})

describe("a folder that has not changed for a while", () => {
  /** A guard that takes its folder for left alone; the file system's time has gone on since. */
  const quiet = (path: string, place = path) =>
    Effect.gen(function*() {
      for (const end of ["", "-wal", "-shm"]) writeFileSync(`${place}${end}`, "")
      if (path !== place) symlinkSync(place, path)
      const guard = new Guard(path, place)
      for (let i = 0; i < 5; i++) assert.strictEqual(guard.inspect(), "Here")
      const probe = join(yield* folder, "probe")
      const { ctimeMs } = statSync(dirname(place))
      do {
        writeFileSync(probe, "")
        unlinkSync(probe)
      } while (lstatSync(dirname(probe)).ctimeMs <= ctimeMs)
      return guard
    })

  for (
    const [name, standing, change] of [
      ["nothing", "Here", () => {}],
      ["another file is created beside it", "Here", (path: string) => writeFileSync(`${path}.other`, "")],
      ["it is moved", "Gone", (path: string) => renameSync(path, `${path}.away`)],
      ["its folder is moved", "Gone", (path: string) => renameSync(dirname(path), `${dirname(path)}.away`)],
      ["its folder is replaced by a link to another", "Gone", (path: string) => {
        renameSync(dirname(path), `${dirname(path)}.away`)
        mkdirSync(`${dirname(path)}.new`)
        symlinkSync(`${dirname(path)}.new`, dirname(path))
      }],
      ["its folder is replaced by a link to itself", "Here", (path: string) => {
        renameSync(dirname(path), `${dirname(path)}.away`)
        symlinkSync(`${dirname(path)}.away`, dirname(path))
      }],
      ["another is moved over it", "Other", (path: string) => {
        writeFileSync(join(dirname(path), "..", "other"), "")
        renameSync(join(dirname(path), "..", "other"), path)
      }],
      ["its log is removed", "Torn", (path: string) => unlinkSync(`${path}-wal`)],
      ["its shared memory is replaced", "Torn", (path: string) => {
        copyFileSync(`${path}-shm`, `${path}.copy`)
        renameSync(`${path}.copy`, `${path}-shm`)
      }],
      ["a link to it takes its place", "Torn", (path: string) => {
        renameSync(path, `${path}.away`)
        symlinkSync(`${path}.away`, path)
      }]
    ] as const
  ) {
    it.live(`${name}: ${standing}, by the next look`, () =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const guard = yield* quiet(path)
        change(path)
        for (let i = 0; i < 3; i++) assert.strictEqual(guard.look(), standing)
        assert.strictEqual(guard.inspect(), standing)
        assert.strictEqual(guard.look(), standing)
      }))
  }

  it.live("a link to it that leads elsewhere, or nowhere, is noticed by the next look, though its own folder has not changed", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "queue.db")
      const path = join(yield* folder, "link.db")
      const guard = yield* quiet(path, place)
      const other = join(yield* folder, "other.db")
      writeFileSync(other, "")
      for (const [to, standing] of [[`${path}.none`, "Gone"], [other, "Other"], [place, "Here"]] as const) {
        unlinkSync(path)
        symlinkSync(to, path)
        assert.strictEqual(guard.look(), standing)
      }
    }))
})
