/** What a file takes: it shrinks after a backlog, and its log stays short under load. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { Broker } from "../../../src/Broker.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file } from "./harness.ts"

allow(withFiles)

const mebibyte = 1024 * 1024
const body = new Uint8Array(500).fill(97)
const jobs = 100_000

const put = (broker: Broker["Service"], count: number) =>
  Effect.map(
    broker.putAll(
      "space",
      Array.from({ length: count }, () => ({ body, priority: 1024, delay: Duration.zero, ttr: Duration.minutes(1) }))
    ),
    (results) => assert.isTrue(results.every(Result.isSuccess))
  )

describe("space", () => {
  it.live.each(["full", "normal"] as const)(
    "100,000 jobs that come and go (%s) keep the log short, and the file shrinks again",
    (durability) =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker } = yield* SqliteBroker.make({ path, durability })
        let longestLog = 0
        const look = () => {
          longestLog = Math.max(longestLog, statSync(`${path}-wal`).size)
        }
        for (let i = 0; i < jobs; i += 1000) {
          yield* put(broker, 1000)
          look()
        }
        const largest = statSync(path).size
        assert.isAbove(largest, 50 * mebibyte)

        yield* Effect.scoped(Effect.gen(function*() {
          const consumer = yield* broker.consume(["space"])
          for (let settled = 0; settled < jobs;) {
            const leases = yield* consumer.reserve(500)
            const results = yield* consumer.settle(
              leases.map((lease) => ({ _tag: "Delete" as const, lease }))
            )
            assert.isTrue(results.every(Result.isSuccess))
            settled += leases.length
            look()
          }
        }))
        assert.isBelow(longestLog, 24 * mebibyte)

        yield* Effect.sync(() => statSync(path).size).pipe(
          Effect.repeat({ until: (size) => size <= 5 * mebibyte, schedule: Schedule.spaced("100 millis") }),
          Effect.timeout("60 seconds")
        )
        const database = new DatabaseSync(path, { readOnly: true })
        assert.strictEqual(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok")
        database.close()
        // and it works on
        yield* put(broker, 1000)
      }),
    120_000
  )

  it.live(
    "an open transaction of another program lets the log grow until it ends",
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const { broker } = yield* SqliteBroker.make({ path })
        yield* put(broker, 1)
        const reader = new DatabaseSync(path, { readOnly: true })
        yield* Effect.addFinalizer(() => Effect.sync(() => reader.close()))
        reader.exec("BEGIN; SELECT count(*) FROM job")
        for (let i = 0; i < 50; i++) yield* put(broker, 1000)
        assert.isAbove(statSync(`${path}-wal`).size, 24 * mebibyte)
        reader.exec("COMMIT")
        yield* put(broker, 1000).pipe(
          Effect.map(() => statSync(`${path}-wal`).size),
          Effect.repeat({ until: (size) => size <= 24 * mebibyte, schedule: Schedule.spaced("50 millis") }),
          Effect.timeout("20 seconds")
        )
      }),
    60_000
  )
})
