/** Files from elsewhere: with tables of others, with rows that backq never writes, and copies. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { copyFileSync, readFileSync } from "node:fs"
import { backup, DatabaseSync } from "node:sqlite"
import { type JobId, type JobState, putRequest } from "../../../src/Broker.ts"
import { FileUnusable } from "../../../src/brokers/sqlite/failure.ts"
import { open } from "../../../src/brokers/sqlite/file.ts"
import { Space } from "../../../src/brokers/sqlite/space.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertFails, done, reasonOf, take, text } from "../../conformance/Harness.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

/** A path with a file that has a job on `q`. */
const filled = Effect.gen(function*() {
  const path = yield* file
  yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request("a"))))
  return path
})

/** Does something to a file as another program would that keeps no rule. */
const tamper = (path: string, ...statements: ReadonlyArray<string>) => {
  const database = new DatabaseSync(path, { defensive: false })
  for (const statement of statements) database.exec(statement)
  database.close()
}

/** Rows with values that a table does not allow. */
const force = (path: string, table: string, ...statements: ReadonlyArray<string>) => {
  const edit = (sql: string) =>
    tamper(
      path,
      `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ${sql} WHERE name = '${table}' AND type = 'table'`
    )
  const database = new DatabaseSync(path)
  const sql = String(database.prepare("SELECT sql FROM sqlite_schema WHERE name = ?").get(table)?.["sql"])
  database.close()
  edit("replace(replace(sql, ' STRICT', ''), ' NOT NULL', '')")
  tamper(path, ...statements)
  edit(`'${sql}'`)
}

const endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"

describe("a file with foreign content", () => {
  for (
    const [what, names, statement] of [
      ["a trigger", `trigger "t"`, "CREATE TRIGGER t AFTER UPDATE ON job BEGIN UPDATE job SET small = 'x'; END"],
      [
        "a trigger that never ends",
        `trigger "t"`,
        `CREATE TRIGGER t AFTER INSERT ON process BEGIN
          INSERT INTO queue (name) ${endless} SELECT id FROM n; END`
      ],
      ["a view", `view "v"`, "CREATE VIEW v AS SELECT 1"],
      [
        "a view instead of a table",
        `view "process"`,
        `DROP TABLE process; CREATE VIEW process AS ${endless} SELECT id, 1 AS pid, '' AS started, '' AS world FROM n`
      ],
      ["a table", `table "songs"`, "CREATE TABLE songs (title)"],
      ["a table of a module", `table "songs"`, "CREATE VIRTUAL TABLE songs USING fts4(title)"],
      ["an index", `index "mine"`, "CREATE INDEX mine ON job (ttr)"],
      ["another index of the name", `index "job_ready"`, "DROP INDEX job_ready; CREATE INDEX job_ready ON job (id)"],
      ["one column more", `table "queue"`, "ALTER TABLE queue ADD COLUMN mine INTEGER"],
      ["a computed column", `table "queue"`, "ALTER TABLE queue ADD COLUMN mine BLOB AS (zeroblob(9e8))"],
      ["one table less", `lacks the table "large"`, "DROP TABLE large"],
      ["the version of an older one", `table "job"`, "PRAGMA user_version = 1"],
      ["no version", `table "queue"`, "PRAGMA user_version = 0"],
      ["a version below none", "-3", "PRAGMA user_version = -3"],
      [
        "a name that controls a terminal",
        String.raw`table "\x1b[2J\u{202e}"`,
        "CREATE TABLE \"\u001b[2J\u202e\" (a)"
      ]
    ] as const
  ) {
    it.live(`${what}: is refused by its name, and the file is not changed`, () =>
      Effect.gen(function*() {
        const path = yield* filled
        tamper(path, statement)
        const before = readFileSync(path)
        const reason = yield* reasonOf(Effect.scoped(SqliteBroker.make({ path })))
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.strictEqual(reason.cause instanceof FileUnusable ? reason.cause.problem : reason.cause, "Foreign")
        assert.include(reason.message, names)
        assert.strictEqual(reason.fate, "NotSent")
        assert.isTrue(before.equals(readFileSync(path)))
      }))
  }

  it.live("a file that was analyzed, vacuumed and reindexed is accepted", () =>
    Effect.gen(function*() {
      const path = yield* filled
      tamper(path, "ANALYZE", "REINDEX", "VACUUM", "PRAGMA optimize")
      const { inspector } = yield* SqliteBroker.make({ path })
      assert.include(yield* inspector.statsQueue("q"), { ready: 1 })
    }))

  it.effect("a connection trusts nothing in the file", () =>
    Effect.gen(function*() {
      const database = open(yield* file)
      assert.strictEqual(database.prepare("PRAGMA trusted_schema").get()?.["trusted_schema"], 0)
      assert.throws(() => database.exec("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL"))
      assert.throws(() => database.exec("SELECT zeroblob(100 * 1024 * 1024)"), /too big/)
      database.close()
    }))
})

describe("a row that backq would never write", () => {
  const text = "'many'"
  for (
    const [what, table, statement] of [
      ["a priority that is text", "job", `UPDATE job SET priority = ${text}`],
      ["a time to run that is text", "job", `UPDATE job SET ttr = ${text}`],
      ["a negative time to run", "job", "UPDATE job SET ttr = -5"],
      ["the largest time to run of SQLite", "job", "UPDATE job SET ttr = 9223372036854775807"],
      ["attempts without end", "job", "UPDATE job SET deliveries = 9007199254740990"],
      ["negative attempts", "job", "UPDATE job SET forgiven = -9"],
      ["attempts that are not an integer", "job", "UPDATE job SET deliveries = 1.5"],
      ["attempts that are infinite", "job", "UPDATE job SET lost = 1e999"],
      ["no attempts", "job", "UPDATE job SET deliveries = NULL"],
      ["a body that is text", "job", `UPDATE job SET small = ${text}`],
      ["no body", "job", "UPDATE job SET small = NULL"],
      ["a large body that is text", "large", `UPDATE job SET small = x''; INSERT INTO large VALUES (1, ${text})`],
      [
        "a large body that is too large",
        "large",
        "UPDATE job SET small = x''; INSERT INTO large VALUES (1, zeroblob(70000000))"
      ],
      ["a pause that is text", "queue", `UPDATE queue SET paused_until = ${text}`]
    ] as const
  ) {
    it.live(`${what}: the worker that reserves it learns that the file is damaged`, () =>
      Effect.gen(function*() {
        const path = yield* filled
        force(path, table, statement)
        const { broker } = yield* SqliteBroker.make({ path })
        const consumer = yield* broker.consume(["q"])
        const reserve = consumer.reserve(1)
        const reason = yield* reasonOf(
          Effect.timeoutOrElse(reserve, { duration: "10 seconds", orElse: () => Effect.never })
        )
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.match(reason.message, /the file is damaged|more in one place/)
      }))
  }

  for (
    const [what, statement] of [
      ["a reason that is bytes", "UPDATE job SET reason = x'00'"],
      ["a time that is text", "UPDATE job SET put_at = 'now'"],
      ["an invalid state", "UPDATE job SET state = 77"],
      ["a failure that is a number", "UPDATE job SET failure_tag = 7"],
      ["a failure without a message", "UPDATE job SET failure_tag = 'Oops'"]
    ] as const
  ) {
    it.live(`${what}: reading it reports that the file is damaged`, () =>
      Effect.gen(function*() {
        const path = yield* filled
        force(path, "job", statement)
        const { broker, inspector } = yield* SqliteBroker.make({ path })
        const { message } = yield* Effect.flip(inspector.statsJob("1" as JobId))
        assert.include(message, "the file is damaged")
        assert.include(message, "job 1")
        const states: ReadonlyArray<JobState> = ["ready", "delayed", "reserved", "buried"]
        for (const state of states) yield* Effect.result(inspector.list("q", { state }))
        yield* broker.put("q", request("b"))
      }))
  }

  it.live("a delay with a text as its end is reported to a waiting consumer, and causes no busy loop", () =>
    Effect.gen(function*() {
      const path = yield* filled
      force(path, "job", "UPDATE job SET state = 1, due = 'soon'")
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      assert.include((yield* Effect.flip(consumer.reserve(1))).message, "the file is damaged")
    }))

  it.live("if the pid of a process is a path, backq does not read that path", () =>
    Effect.gen(function*() {
      const path = yield* filled
      force(path, "process", "INSERT INTO process (pid, started, world) VALUES ('../../etc', '', '')")
      const { message } = yield* Effect.flip(Effect.scoped(SqliteBroker.make({ path })))
      assert.include(message, "the file is damaged")
      assert.include(message, "the pid of process")
    }))

  it.effect("backq stops trying to return space that it can't return", () =>
    Effect.gen(function*() {
      const path = yield* file
      const database = new DatabaseSync(path)
      database.exec("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(16000000)); DELETE FROM t")
      const space = new Space(database)
      assert.isAbove(space.spare(), 1000)
      assert.strictEqual(space.shrink(), 0)
      database.close()
    }))
})

describe("a file without numbers for new jobs", () => {
  for (
    const [what, statement] of [
      ["the last number of SQLite", "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'job'"],
      ["an infinite number", "UPDATE sqlite_sequence SET seq = 1e999 WHERE name = 'job'"],
      ["a number too large for JavaScript", "UPDATE sqlite_sequence SET seq = 9007199254740993 WHERE name = 'job'"],
      ["the last number that an id can have", "UPDATE sqlite_sequence SET seq = 999999999999999 WHERE name = 'job'"],
      [
        "a job of the last number",
        "INSERT INTO job (id, queue, state, priority, put_at, ttr, small) VALUES (9223372036854775807, 9, 0, 1, 1, 1, x'')"
      ]
    ] as const
  ) {
    it.live(`${what} is in use: adding a job reports that the file is damaged, and all else works`, () =>
      Effect.gen(function*() {
        const path = yield* filled
        tamper(path, statement)
        const { broker, inspector } = yield* SqliteBroker.make({ path, durability: "normal" })
        const [first] = yield* broker.putAll("q", [request("b"), request("c")])
        for (
          const command of [
            broker.put("q", request("b")),
            Effect.fromResult(first!),
            inspector.moveJob("1" as JobId, "r")
          ]
        ) {
          const reason = yield* reasonOf(command)
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.include(reason.message, "the file is damaged")
          assert.include(reason.message, "used up")
          assert.strictEqual(reason.fate, "NotSent")
        }
        const consumer = yield* broker.consume(["q"])
        const lease = yield* take(consumer)
        assert.strictEqual(text(lease), "a")
        yield* done(consumer, lease)
        assert.include(yield* inspector.statsQueue("q"), { ready: 0, reserved: 0 })
      }))
  }
})

describe("a file without numbers for new processes", () => {
  for (
    const [what, statement] of [
      ["by the last number of SQLite", "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'process'"],
      ["by one too large for JavaScript", "UPDATE sqlite_sequence SET seq = 9007199254740993 WHERE name = 'process'"],
      ["by a process", "INSERT INTO process VALUES (9223372036854775807, 1, 'x', 'y')"]
    ] as const
  ) {
    it.live(`${what}: is reported as damaged, not as a full disk`, () =>
      Effect.gen(function*() {
        const path = yield* filled
        tamper(path, statement)
        for (let i = 0; i < 2; i++) {
          const reason = yield* reasonOf(Effect.scoped(SqliteBroker.make({ path })))
          if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
          assert.include(reason.message, "the file is damaged")
          assert.include(reason.message, "used up")
        }
      }))
  }
})

describe("a copy", () => {
  const copies: ReadonlyArray<readonly [name: string, copy: (from: string, to: string) => Promise<void>]> = [
    ["VACUUM INTO", async (from, to) => tamper(from, `VACUUM INTO '${to}'`)],
    ["cp", async (from, to) => copyFileSync(from, to)],
    [".backup", async (from, to) => {
      const database = new DatabaseSync(from)
      await backup(database, to)
      database.close()
    }],
    ["a copy without a log", async (from, to) => {
      tamper(from, "PRAGMA journal_mode = DELETE")
      copyFileSync(from, to)
    }]
  ]
  for (const [name, copy] of copies) {
    for (const durability of ["full", "normal"] as const) {
      it.live(`by ${name} works from the first command on (${durability})`, () =>
        Effect.gen(function*() {
          const path = yield* filled
          const to = `${path}.copy`
          yield* Effect.promise(() => copy(path, to))
          yield* Effect.scoped(Effect.flatMap(SqliteBroker.make({ path: to, durability }), ({ broker }) => broker.ping))
          const { broker } = yield* SqliteBroker.make({ path: to, durability })
          const consumer = yield* broker.consume(["q"])
          const lease = yield* take(consumer)
          assert.strictEqual(text(lease), "a")
          yield* done(consumer, lease)
        }))
    }
  }
})

describe("a copy without the mark of backq", () => {
  it.live("is refused with advice that works", () =>
    Effect.gen(function*() {
      const path = yield* filled
      tamper(path, "PRAGMA application_id = 0", "PRAGMA user_version = 0")
      const { message } = yield* Effect.flip(Effect.scoped(SqliteBroker.make({ path })))
      assert.include(message, "VACUUM INTO")
      tamper(path, ...(message.match(/PRAGMA \w+ = \d+/g) ?? []))
      const { inspector } = yield* SqliteBroker.make({ path })
      assert.include(yield* inspector.statsQueue("q"), { ready: 1 })
    }))
})

describe("the largest body", () => {
  it.live("can be reserved, peeked at and moved", () =>
    Effect.gen(function*() {
      const maxJobSize = 64 * 1024 * 1024
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file, maxJobSize, durability: "normal" })
      const body = new Uint8Array(maxJobSize).fill(7)
      const id = yield* broker.put("q", Result.getOrThrow(putRequest(body)))
      yield* inspector.moveJob(id, "r")
      const lease = yield* take(yield* broker.consume(["r"]))
      assert.strictEqual(lease.body.length, maxJobSize)
      yield* assertFails(broker.put("q", Result.getOrThrow(putRequest(new Uint8Array(maxJobSize + 1)))), "JobTooBig")
    }))
})
