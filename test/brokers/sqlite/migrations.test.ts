/** backq opens files of every older schema version and serves their jobs. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DatabaseSync } from "node:sqlite"
import { applicationId } from "../../../src/brokers/sqlite/file.ts"
import { currentVersion, migrations } from "../../../src/brokers/sqlite/schema.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertInfo, done, take, takeMany, text } from "../../conformance/Harness.ts"
import { file, request } from "./harness.ts"

const versions = Array.from({ length: currentVersion - 1 }, (_, i) => i + 1)

const large = "x".repeat(60_000)

/** Makes a file as an older backq left it: a queue with a job in each state, and one that has a large body. */
const older = (path: string, version: number): DatabaseSync => {
  const database = new DatabaseSync(path)
  database.exec("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL")
  for (const migration of migrations.slice(0, version)) database.exec(migration)
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${version};
    INSERT INTO queue (name, total) VALUES ('q', 5);
    INSERT INTO job (queue, state, priority, due, put_at, ttr, body) VALUES
      (1, 0, 5, NULL, 1, 1000000, CAST('ready' AS BLOB)),
      (1, 1, 6, 9, 1, 1000000, CAST('delayed' AS BLOB)),
      (1, 0, 7, NULL, 1, 60000000, CAST('${large}' AS BLOB));
    INSERT INTO job (queue, state, priority, due, holder, deliveries, put_at, ttr, body) VALUES
      (1, 2, 8, 9, 1, 1, 1, 60000000, CAST('reserved' AS BLOB));
    INSERT INTO job (queue, state, priority, burial, buries, deliveries, reason, put_at, ttr, body) VALUES
      (1, 3, 9, 1, 1, 1, 'broken', 1, 60000000, CAST('buried' AS BLOB))`)
  return database
}

describe("migrations", () => {
  it.live.each(versions)(
    "a file of version %i keeps every job, even if several processes open it at once",
    (version) =>
      Effect.gen(function*() {
        const path = yield* file
        older(path, version).close()
        const [{ broker, inspector }] = yield* Effect.all(
          [SqliteBroker.make({ path, history: "1 hour" }), SqliteBroker.make({ path }), SqliteBroker.make({ path })],
          { concurrency: "unbounded" }
        )
        assert.include(yield* inspector.statsQueue("q"), { ready: 4, delayed: 0, reserved: 0, buried: 1, total: 5 })
        const consumer = yield* broker.consume(["q"])
        const leases = yield* takeMany(consumer, 4)
        assert.deepStrictEqual(leases.map(text), ["ready", "delayed", large, "reserved"])
        yield* assertInfo(consumer, leases[3]!, { attempt: 2, abandoned: 1 })
        for (const lease of leases) yield* done(consumer, lease)
        assert.strictEqual(yield* inspector.kick("q", 1), 1)
        yield* done(consumer, yield* take(consumer))
        const kept = yield* inspector.list("q", { state: "done" })
        assert.deepStrictEqual(kept.jobs.map(text), ["buried", "reserved", large, "delayed", "ready"])
        const database = new DatabaseSync(path)
        assert.strictEqual(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok")
        database.close()
      })
  )

  it.live("an older version with the file open fails, and reserves no job without its body", () =>
    Effect.gen(function*() {
      const path = yield* file
      const database = older(path, 3)
      const take = database.prepare("UPDATE job SET state = 2 WHERE state = 0 RETURNING body")
      const put = database.prepare(
        "INSERT INTO job (queue, state, priority, put_at, ttr, body) VALUES (1, 0, 1, 1, 1, ?)"
      )
      const { inspector } = yield* SqliteBroker.make({ path })
      assert.throws(() => take.all(), /no such column/)
      assert.throws(() => put.run(new Uint8Array(1)), /no column/)
      assert.include(yield* inspector.statsQueue("q"), { ready: 4 })
      database.close()
    }))

  it.live("pauses and delays of centuries from older versions break nothing", () =>
    Effect.gen(function*() {
      const path = yield* file
      const database = older(path, 3)
      database.exec("UPDATE queue SET paused_until = 11000000000000000")
      database.exec("UPDATE job SET due = 11000000000000000 WHERE state = 1")
      database.close()
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      assert.include(yield* inspector.statsQueue("q"), { ready: 3, delayed: 1 })
      assert.isAbove(Duration.toDays((yield* inspector.statsQueue("q")).pausedFor), 365 * 200)
      assert.strictEqual((yield* inspector.list("q", { state: "delayed" })).jobs.length, 1)
      yield* inspector.resume("q")
      yield* broker.put("other", request("other"))
      assert.strictEqual(text(yield* take(yield* broker.consume(["other"]))), "other")
      assert.strictEqual(text(yield* take(yield* broker.consume(["q"]))), "ready")
    }))
})
