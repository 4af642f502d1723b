/**
 * The content of the disk when the power fails: the write-ahead log up to any byte.
 * Everything that was acknowledged before that byte was written is there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Broker, JobId } from "../../../src/Broker.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withPrograms)

interface Acknowledged {
  readonly id: JobId
  readonly what: "put" | "deleted"
  /** The length of the log at that time. */
  readonly end: number
}

const frameSize = 24 + 4096

/** Where the log ends: older frames after it have other salts (https://sqlite.org/fileformat2.html). */
const endOf = (log: Buffer): number => {
  const salts = log.subarray(16, 24)
  let end = 32
  while (end + frameSize <= log.length && log.subarray(end + 8, end + 16).equals(salts)) end += frameSize
  return end
}

/** Puts and deletes jobs, and records the length of the log at each acknowledgement. */
const work = Effect.fnUntraced(function*(broker: Broker["Service"], wal: string, rounds: number) {
  const acknowledged: Array<Acknowledged> = []
  const note = (id: JobId, what: "put" | "deleted") => acknowledged.push({ id, what, end: endOf(readFileSync(wal)) })
  const consumer = yield* broker.consume(["q"])
  for (let i = 0; i < rounds; i++) {
    const results = yield* broker.putAll("q", [request(`a${i}`), request(`b${i}`), request("x".repeat(i * 500))])
    for (const result of results) note(Result.getOrThrow(result), "put")
    const leases = yield* consumer.reserve(2)
    const settled = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
    assert.isTrue(settled.every(Result.isSuccess))
    for (const lease of leases) note(lease.id, "deleted")
  }
  return acknowledged
})

/** Checks what a loss of power leaves, at many bytes of the log. `before` is what the log's file had before. */
const cutEverywhere = Effect.fnUntraced(function*(
  path: string,
  acknowledged: ReadonlyArray<Acknowledged>,
  before: Buffer
) {
  const copy = join(dirname(path), "copy")
  mkdirSync(copy)
  const image = join(copy, "queue.db")
  // Between two turns nothing writes, so that this is the state of one moment.
  const log = readFileSync(`${path}-wal`)
  const size = endOf(log)
  for (let cut = size; cut > 0; cut -= 1 + Math.floor(size / 40)) {
    cpSync(path, image)
    writeFileSync(`${image}-wal`, Buffer.concat([log.subarray(0, cut), before.subarray(cut)]))
    const database = new DatabaseSync(image)
    assert.strictEqual(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok")
    database.close()

    const safe = acknowledged.filter((one) => one.end <= cut)
    const deleted = new Set(safe.filter((one) => one.what === "deleted").map((one) => one.id))
    // Jobs with a written deletion may be gone, acknowledged or not.
    const mayBeGone = new Set(acknowledged.filter((one) => one.what === "deleted").map((one) => one.id))
    yield* Effect.scoped(Effect.gen(function*() {
      const reopened = yield* SqliteBroker.make({ path: image })
      for (const { id } of safe) {
        const found = Option.isSome(yield* reopened.inspector.peek(id))
        if (deleted.has(id)) assert.isFalse(found, `job ${id} came back after ${cut} of ${size} bytes`)
        else if (!mayBeGone.has(id)) assert.isTrue(found, `job ${id} is lost after ${cut} of ${size} bytes`)
      }
    }))
  }
})

describe("a loss of power", () => {
  it.live(
    "at any byte of the log keeps acknowledged jobs, and deleted ones stay deleted",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker } = yield* SqliteBroker.make({ path })
        const acknowledged = yield* work(broker, `${path}-wal`, 12)
        assert.isAbove(acknowledged.length, 50)
        yield* cutEverywhere(path, acknowledged, Buffer.alloc(0))
      }),
    60_000
  )

  it.live(
    "also does so after the log was copied and started again",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const wal = `${path}-wal`
        const { broker } = yield* SqliteBroker.make({ path })
        const first = yield* work(broker, wal, 12)
        const other = new DatabaseSync(path)
        assert.strictEqual(other.prepare("PRAGMA wal_checkpoint(RESTART)").get()?.["busy"], 0)
        other.close()
        const before = readFileSync(wal)
        const second = yield* work(broker, wal, 8)
        assert.isBelow(endOf(readFileSync(wal)), before.length)
        yield* cutEverywhere(path, [...first.map((one) => ({ ...one, end: 0 })), ...second], before)
      }),
    60_000
  )
})
