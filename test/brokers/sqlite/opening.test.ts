/** Opening and closing: by which path, and while others hold the file. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertFails, take, text } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import * as Sleeps from "../../support/sleeps.ts"
import { child, file, request } from "./harness.ts"

allow(withPrograms)

/** Another program, which holds a lock until it is closed. */
const lock = (path: string, how: "IMMEDIATE" | "EXCLUSIVE") =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const database = new DatabaseSync(path)
      database.exec(`BEGIN ${how}`)
      return database
    }),
    (database) => Effect.sync(() => database.isOpen && database.close())
  )

const inFolder = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.cwd()
      process.chdir(path)
      return before
    }),
    (before) => Effect.sync(() => process.chdir(before))
  )

/** Files that this process has open. */
const opened = () =>
  readdirSync("/proc/self/fd").flatMap((fd) => {
    const link = Result.try(() => readlinkSync(`/proc/self/fd/${fd}`))
    return Result.isSuccess(link) ? [link.success] : []
  })

/** It can't be opened, and the message says why. */
const unavailable = (path: string, why: string) =>
  Effect.map(Effect.flip(Effect.scoped(SqliteBroker.make({ path }))), ({ message, reason }) => {
    assert.strictEqual(reason._tag, "Unavailable", message)
    assert.include(message, why)
  })

/** The pause between two attempts to open or write a file that another program has locked. */
const longestPause = "6 millis"

const large = request("x".repeat(60_000))

describe("a path", () => {
  it.live.skipIf(process.platform !== "linux")(
    "through a link syncs the log of the file",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const link = join(yield* folder, "link.db")
        writeFileSync(path, "")
        symlinkSync(path, link)
        // left by somebody else
        writeFileSync(`${link}-wal`, "")
        const { broker } = yield* SqliteBroker.make({ path: link })
        yield* broker.put("q", request("a"))
        const logs = opened().filter((name) => name.startsWith(dirname(path)) && name.endsWith("-wal"))
        assert.deepStrictEqual(logs, [`${path}-wal`, `${path}-wal`])
        assert.isFalse(opened().includes(`${link}-wal`))
        const other = yield* SqliteBroker.make({ path })
        assert.include(yield* other.inspector.statsQueue("q"), { ready: 1 })
      })
  )

  it.live("that is relative stays the same if the working directory changes, also for the copies of the log", () =>
    Effect.gen(function*() {
      const path = yield* file
      const elsewhere = yield* folder
      yield* inFolder(dirname(path))
      const { broker } = yield* SqliteBroker.make({ path: "./queue.db", durability: "normal" })
      yield* inFolder(elsewhere)
      for (let i = 0; i < 10; i++) yield* broker.putAll("q", Array.from({ length: 100 }, () => large))
      const wait = Effect.delay(Effect.sync(() => statSync(path).size), "20 millis")
      yield* Effect.timeout(Effect.repeat(wait, { until: (size) => size > 4e6 }), "10 seconds")
      assert.deepStrictEqual(readdirSync(elsewhere), [])
    }))

  it.live("that goes up from a link means the same as for the operating system, and stays the same", () =>
    Effect.gen(function*() {
      const place = yield* folder
      mkdirSync(join(place, "deep/er"), { recursive: true })
      symlinkSync("deep/er", join(place, "link"))
      yield* inFolder(place)
      const names = [
        "link/../a.db",
        "./link/.././b.db",
        `${place}/link/../c.db`,
        "link/../er/../d.db",
        "deep/er/../../e.db"
      ]
      for (const path of names) {
        assert.isFalse(existsSync(path))
        yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request("a"))))
        assert.isTrue(existsSync(path), path)
      }
      assert.deepStrictEqual(readdirSync("deep").toSorted(), ["a.db", "b.db", "c.db", "d.db", "er"])
      writeFileSync("there.db", "")
      for (const path of ["missing/../there.db", `${place}/missing/../f.db`, "../missing/../f.db"]) {
        yield* unavailable(path, "check that its folder exists")
      }
      assert.deepStrictEqual(readdirSync(".").toSorted(), ["deep", "e.db", "link", "there.db"])
    }))

  for (const length of [700, 512, 505]) {
    it.live(`that is longer than SQLite accepts (${length}) is reported, and nothing is created`, () =>
      Effect.gen(function*() {
        const place = yield* folder
        let deep = place
        while (deep.length < length - 200) deep += `/${"d".repeat(100)}`
        mkdirSync(deep, { recursive: true })
        const path = `${deep}/${"x".repeat(length - deep.length - 1)}`
        assert.strictEqual(path.length, length)
        yield* unavailable(path, "at most 504 bytes")
        symlinkSync(path, join(place, "link.db"))
        yield* unavailable(join(place, "link.db"), "at most 504 bytes")
        assert.deepStrictEqual(readdirSync(deep), [])
      }))
  }

  it.live("with the longest name works, and with a longer one is reported", () =>
    Effect.gen(function*() {
      const place = yield* folder
      yield* Effect.scoped(
        Effect.flatMap(
          SqliteBroker.make({ path: join(place, "x".repeat(247)) }),
          ({ broker }) => broker.put("q", large)
        )
      )
      yield* unavailable(join(place, "x".repeat(248)), "the file name 247")
      assert.deepStrictEqual(readdirSync(place), ["x".repeat(247)])
    }))

  it.live.skipIf(process.platform !== "linux")(
    "of something that is not a file is refused, and the error says what it is",
    () =>
      Effect.gen(function*() {
        const place = yield* folder
        const pipe = join(place, "pipe")
        assert.strictEqual(spawnSync("mkfifo", [pipe]).status, 0)
        symlinkSync("/dev/full", join(place, "link.db"))
        for (const path of [pipe, "/dev/null", "/dev/full", join(place, "link.db")]) {
          yield* unavailable(path, "a device, a pipe or a socket")
        }
        yield* unavailable(place, "a folder")
        symlinkSync("b", join(place, "a"))
        symlinkSync("a", join(place, "b"))
        yield* unavailable(join(place, "a"), "can't be opened")
      })
  )

  it.live("that looks like a URL is a path", () =>
    Effect.gen(function*() {
      const place = yield* folder
      yield* inFolder(place)
      mkdirSync("a b")
      for (const path of ["file:x.db", "file:y.db?mode=memory", "a b/c%20d#e.db"]) {
        yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request("a"))))
      }
      assert.includeMembers(readdirSync(place), ["file:x.db", "file:y.db?mode=memory"])
    }))
})

describe("the mode of a new file", () => {
  const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)

  for (
    const [umask, mode] of [
      ["022", "640"],
      ["000", "660"],
      ["077", "600"],
      ["002", "660"]
    ] as const
  ) {
    it.live(`is ${mode} with a umask of ${umask}, also at the end of links that led nowhere, and for its log`, () =>
      Effect.gen(function*() {
        const place = yield* folder
        mkdirSync(join(place, "real/deep"), { recursive: true })
        symlinkSync("real/deep", join(place, "short"))
        const links: ReadonlyArray<readonly [link: string, to: string, file: string]> = [
          ["plain.db", "", "plain.db"],
          ["relative.db", "real/relative.db", "real/relative.db"],
          ["absolute.db", join(place, "real/absolute.db"), "real/absolute.db"],
          ["chain.db", "relative-too.db", "real/chain.db"],
          ["relative-too.db", "./real/chain.db", "real/chain.db"],
          // up from where the folder really is
          ["short/up.db", "../up.db", "real/up.db"]
        ]
        for (const [link, to] of links) if (to !== "") symlinkSync(to, join(place, link))
        const { stderr, stdout } = spawnSync("sh", [
          "-c",
          `umask ${umask}; exec "$0" "$@"`,
          process.execPath,
          join(import.meta.dirname, "modes.ts"),
          ...links.flatMap(([link, , real]) => [join(place, link), join(place, real)])
        ], { encoding: "utf8" })
        const expected = links.map(() => `${mode} ${mode} ${mode}`)
        assert.deepStrictEqual(stdout.trim().split("\n"), expected, stderr)
        for (const [, , real] of links) assert.strictEqual(modeOf(join(place, real)), mode)
      }))
  }

  it.live("a log without its file is kept, because it may hold jobs", () =>
    Effect.gen(function*() {
      const path = yield* file
      const log = "a log that may hold jobs"
      writeFileSync(`${path}-wal`, log)
      for (const content of [undefined, ""]) {
        if (content !== undefined) writeFileSync(path, content)
        const error = yield* Effect.flip(Effect.scoped(SqliteBroker.make({ path })))
        assert.include(error.message, `${path}-wal`)
        assert.strictEqual(readFileSync(`${path}-wal`, "utf8"), log)
      }
    }))
})

describe("opening and closing", () => {
  it.live("opening a locked file can be interrupted", () =>
    Effect.gen(function*() {
      const path = yield* file
      yield* Effect.scoped(SqliteBroker.make({ path }))
      yield* lock(path, "EXCLUSIVE")
      const { begun, clock } = yield* Sleeps.make
      const opening = Effect.provideService(Effect.scoped(SqliteBroker.make({ path })), Clock.Clock, clock)
      const fiber = yield* Effect.forkChild(opening)
      yield* begun(3, longestPause)
      yield* Fiber.interrupt(fiber).pipe(Effect.timeout("1 second"))
    }))

  it.live("closing takes at most about two seconds while another program has locked the file", () =>
    Effect.gen(function*() {
      const path = yield* file
      const began = yield* Effect.scoped(Effect.gen(function*() {
        const { broker } = yield* SqliteBroker.make({ path })
        const consumer = yield* broker.consume(["q"])
        yield* broker.put("q", request("a"))
        yield* take(consumer)
        yield* Scope.provide(lock(path, "IMMEDIATE"), yield* Scope.make())
        return performance.now()
      }))
      assert.isBelow(performance.now() - began, 5000)
    }))

  it.live("a reserve fails when its broker closes, and afterwards", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { broker } = yield* Scope.provide(SqliteBroker.make({ path: yield* file }), scope)
      const consumer = yield* broker.consume(["q"])
      const fiber = yield* Effect.forkChild(consumer.reserve(1))
      yield* Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
      yield* Scope.close(scope, Exit.void)
      yield* assertFails(
        Effect.orDie(Effect.timeout(Effect.result(Fiber.join(fiber)), "2 seconds")).pipe(
          Effect.flatMap(Effect.fromResult)
        ),
        "Unavailable"
      )
      yield* assertFails(consumer.reserve(1), "Unavailable")
    }))

  it.live("a settlement that was requested before its consumer closed is executed", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { begun, clock } = yield* Sleeps.make
      const { broker, inspector } = yield* Effect.provideService(SqliteBroker.make({ path }), Clock.Clock, clock)
      const scope = yield* Scope.make()
      const consumer = yield* Scope.provide(broker.consume(["q"]), scope)
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      const other = yield* lock(path, "IMMEDIATE")
      const fiber = yield* Effect.forkChild(consumer.settle([{ _tag: "Delete", lease }]))
      yield* begun(3, longestPause)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* begun(3, longestPause)
      other.close()
      yield* Fiber.join(closing)
      assert.isTrue(Result.isSuccess((yield* Fiber.join(fiber))[0]!))
      assert.include(yield* inspector.stats, { ready: 0, reserved: 0 })
    }))

  it.live("the log is copied on the main thread if no thread can be started", () =>
    Effect.gen(function*() {
      const path = yield* file
      const publisher = yield* child("fill", path, ["--permission", "--allow-fs-read=*", "--allow-fs-write=*"])
      yield* publisher.until((line) => line === "filled")
      assert.strictEqual(publisher.complaints(), "")
      assert.isBelow(statSync(`${path}-wal`).size, 24 * 1024 * 1024)
      const { broker } = yield* SqliteBroker.make({ path })
      assert.strictEqual(text(yield* take(yield* broker.consume(["q"]))).length, 60_000)
    }))
})
