import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Commits } from "../../src/sqlite/Commits.ts"
import { open } from "../../src/sqlite/File.ts"
import { assertFails } from "../conformance/Harness.ts"
import { file } from "./harness.ts"

const make = Effect.gen(function*() {
  const path = yield* file
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => open(path, "normal")),
    (database) => Effect.sync(() => database.close())
  )
  const failures: Array<boolean> = []
  const commits = new Commits({
    broker: "test",
    database,
    clock: yield* Clock.Clock,
    busyTimeout: Duration.seconds(1),
    atEnd: () => () => {},
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
    insert: (size: number) => commits.run(() => insert.run(size)),
    count: commits.run(() => count.get()?.["things"])
  }
})

describe("Commits", () => {
  it.live("without space: OutOfMemory for all that shared the transaction, nothing of it is done, and work goes on", () =>
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

  it.live("its time never stands still", () =>
    Effect.gen(function*() {
      const { commits } = yield* make
      const times = Array.from({ length: 1000 }, () => commits.now())
      assert.isTrue(times.every((time, i) => i === 0 || time > times[i - 1]!))
    }))

  it.live("more than one turn takes is done in the turns after", () =>
    Effect.gen(function*() {
      const { count, insert } = yield* make
      yield* Effect.forEach(Array.from({ length: 5000 }), () => insert(300), { concurrency: "unbounded" })
      assert.strictEqual(yield* count, 5000)
    }))
})
