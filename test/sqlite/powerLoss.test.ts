/**
 * What is on the disk when the power fails: the write-ahead log up to any byte.
 * Everything that was acknowledged before that byte was written is there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { cpSync, mkdirSync, readFileSync, statSync, truncateSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { JobId } from "../../src/Broker.ts"
import * as SqliteBroker from "../../src/sqlite/SqliteBroker.ts"
import { file, request } from "./harness.ts"

describe("a loss of power", () => {
  it.live(
    "at any byte of the log: what was acknowledged is kept, what was deleted stays deleted",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const wal = `${path}-wal`
        const broker = yield* SqliteBroker.make({ path })
        const consumer = yield* broker.consume(["q"])
        const acknowledged: Array<{ readonly id: JobId; readonly what: "put" | "deleted"; readonly size: number }> = []
        const note = (id: JobId, what: "put" | "deleted") => acknowledged.push({ id, what, size: statSync(wal).size })

        for (let i = 0; i < 12; i++) {
          const results = yield* broker.putAll("q", [request(`a${i}`), request(`b${i}`), request("x".repeat(i * 500))])
          for (const result of results) note(Result.getOrThrow(result), "put")
          const leases = yield* consumer.reserve(2)
          const settled = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
          assert.isTrue(settled.every(Result.isSuccess))
          for (const lease of leases) note(lease.id, "deleted")
        }

        // Between two turns nothing writes, so that this is the state of one moment.
        const copy = join(dirname(path), "copy")
        mkdirSync(copy)
        const image = join(copy, "queue.db")
        const size = readFileSync(wal).length
        for (let cut = size; cut > 0; cut -= 1 + Math.floor(size / 40)) {
          cpSync(path, image)
          cpSync(wal, `${image}-wal`)
          truncateSync(`${image}-wal`, cut)
          const database = new DatabaseSync(image)
          assert.strictEqual(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok")
          database.close()

          const before = acknowledged.filter((one) => one.size <= cut)
          const deleted = new Set(before.filter((one) => one.what === "deleted").map((one) => one.id))
          // Those whose deletion was written may be gone, acknowledged or not.
          const mayBeGone = new Set(acknowledged.filter((one) => one.what === "deleted").map((one) => one.id))
          yield* Effect.scoped(Effect.gen(function*() {
            const reopened = yield* SqliteBroker.make({ path: image })
            for (const { id } of before) {
              const found = Option.isSome(yield* reopened.peek(id))
              if (deleted.has(id)) assert.isFalse(found, `job ${id} came back after ${cut} of ${size} bytes`)
              else if (!mayBeGone.has(id)) assert.isTrue(found, `job ${id} is lost after ${cut} of ${size} bytes`)
            }
          }))
        }
        assert.isAbove(acknowledged.length, 50)
      }),
    60_000
  )
})
