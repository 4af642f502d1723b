/** A failing disk reports its error once: after that, no write is acknowledged until it is safe. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { copyFileSync, fdatasync, fdatasyncSync, statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { BrokerError } from "../../../src/BrokerError.ts"
import * as Checkpoints from "../../../src/brokers/sqlite/checkpoints.ts"
import { open } from "../../../src/brokers/sqlite/file.ts"
import * as Sync from "../../../src/brokers/sqlite/sync.ts"
import { file } from "./harness.ts"

const make = Effect.gen(function*() {
  const path = yield* file
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => open(path)),
    (database) => Effect.sync(() => database.close())
  )
  let fails = false
  const eio = () => {
    if (!fails) return undefined
    fails = false
    return new Error("EIO: i/o error")
  }
  const sync = yield* Sync.make("test", path, () => Checkpoints.empty(database), {
    fdatasyncSync: (fd) => {
      const error = eio()
      if (error !== undefined) throw error
      fdatasyncSync(fd)
    },
    fdatasync: (fd, done) => {
      const error = eio()
      if (error === undefined) fdatasync(fd, done)
      else done(error)
    }
  })
  const queue = database.prepare("INSERT INTO queue (name) VALUES (?)")
  return {
    path,
    sync,
    failOnce: () => {
      fails = true
    },
    write: (name: string) => queue.run(name),
    /** The content of the file itself, without its log. */
    kept: () => {
      copyFileSync(path, `${path}.copy`)
      const copy = new DatabaseSync(`${path}.copy`)
      const names = copy.prepare("SELECT name FROM queue ORDER BY id").all().map((row) => row["name"])
      copy.close()
      return names
    }
  }
})

const isUnknown = (result: Result.Result<void, BrokerError>) =>
  Result.isFailure(result) && result.failure.reason._tag === "Unavailable" && result.failure.reason.fate === "Unknown"

describe("Sync", () => {
  it.live.each(["onMainThread", "onOtherThread"] as const)(
    "a failure (%s) is reported, and no transaction begins until all of the log is in the file",
    (where) =>
      Effect.gen(function*() {
        const { failOnce, kept, path, sync, write } = yield* make
        const synced = where === "onMainThread" ? Effect.sync(sync.onMainThread) : Effect.result(sync.onOtherThread)
        write("first")
        assert.isTrue(Result.isSuccess(yield* synced))
        assert.isUndefined(sync.recover())
        write("second")
        failOnce()
        assert.isTrue(isUnknown(yield* synced))

        const reader = new DatabaseSync(path, { readOnly: true })
        reader.exec("BEGIN; SELECT count(*) FROM queue")
        write("third")
        assert.strictEqual(sync.recover(), "Busy")
        assert.isTrue(isUnknown(yield* Effect.result(sync.onOtherThread)))
        reader.close()

        assert.isUndefined(sync.recover())
        assert.deepStrictEqual(kept(), ["first", "second", "third"])
        assert.strictEqual(statSync(`${path}-wal`).size, 0)
        write("fourth")
        assert.isTrue(Result.isSuccess(yield* synced))
      })
  )

  it.live("commits before a failure are durable once all of the log is in the file", () =>
    Effect.gen(function*() {
      const { failOnce, kept, sync, write } = yield* make
      failOnce()
      write("first")
      assert.isTrue(isUnknown(yield* Effect.result(sync.onOtherThread)))
      write("second")
      assert.isTrue(Result.isSuccess(yield* Effect.result(sync.onOtherThread)))
      assert.deepStrictEqual(kept(), ["first", "second"])
    }))
})
