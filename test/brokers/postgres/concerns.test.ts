/** What an operator learns of a server that harms its jobs: who keeps dead rows, settings that are off, a pooler. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { program } from "../../../scripts/test/postgres.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import type { Concern } from "../../../src/Inspector.ts"
import { run } from "../../cli/command.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { pgbouncer, real as pooled } from "../../support/pgbouncer.ts"
import { cluster, isMissing, real, sharedCluster } from "../../support/postgres.ts"
import { replicated, standbyOf } from "../../support/standby.ts"

allow(withPrograms)

type Server = Effect.Success<ReturnType<typeof cluster>>

/** A program that has a transaction open, by which it sees what is there now. */
const open = Effect.fnUntraced(function*({ port, psql }: Server, name: string, database = "postgres") {
  const sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep(100)"
  const session = `pg_stat_activity WHERE application_name = '${name}' AND wait_event = 'PgSleep'`
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        program("psql"),
        ["-X", "-h", "127.0.0.1", "-p", String(port), "-U", "postgres", "-d", database, "-c", sql],
        {
          stdio: "ignore",
          env: { ...process.env, PGAPPNAME: name }
        }
      )
    ),
    (child) =>
      Effect.andThen(psql(`SELECT pg_terminate_backend(pid) FROM ${session}`), Effect.sync(() => child.kill("SIGKILL")))
  )
  yield* eventually("it is open", Effect.map(psql(`SELECT count(*) FROM ${session}`), (count) => count === "1"))
})

/** Makes a schema with 25,000 dead rows of jobs, which the statistics know of. */
const deadRows = Effect.fnUntraced(function*({ psql, url }: Server, schema: string, role?: string) {
  yield* PostgresBroker.migrate({ url, schema, workers: role === undefined ? [] : [role] })
  yield* psql(`ALTER TABLE ${schema}.job SET (autovacuum_enabled = off);
    INSERT INTO ${schema}.job (priority, ttr, queue, state, body) SELECT 1, 1, 1, 0, '' FROM generate_series(1, 25000);
    DELETE FROM ${schema}.job`)
  const dead = psql(`SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = '${schema}.job'::regclass`)
  yield* eventually("the server has counted them", Effect.map(dead, (count) => count === "25000"))
})

/** What is said of the horizon. */
const horizon = Effect.fnUntraced(function*(url: string, schema: string) {
  const { inspector } = yield* PostgresBroker.make({ url, schema })
  return (yield* inspector.concerns!).filter(({ check }) => check === "horizon")
}, Effect.scoped)

describe.skipIf(isMissing)("dead rows of jobs", () => {
  const server = sharedCluster({
    settings: ["wal_level=logical", "max_prepared_transactions=2", "synchronous_commit=on"]
  })

  real("name the transaction that keeps them, to a role that may see it", () =>
    Effect.gen(function*() {
      const { psql, url, urlOf } = server()
      yield* psql("CREATE ROLE worker LOGIN")
      // Both are older, and keep no row of jobs.
      yield* psql("SELECT pg_create_logical_replication_slot('stream', 'pgoutput')")
      yield* open(server(), "elsewhere", "template1")
      yield* deadRows(server(), "free")
      yield* psql("VACUUM free.job")
      assert.strictEqual(yield* psql("SELECT pg_relation_size('free.job')"), "0")

      yield* open(server(), "report")
      yield* deadRows(server(), "kept", "worker")
      let found: ReadonlyArray<Concern> = []
      // A transaction of less than 5 seconds is not worth a word.
      yield* eventually(
        "it is named",
        Effect.map(horizon(url, "kept"), (concerns) => {
          found = concerns
          return concerns.length > 0
        })
      )
      assert.match(
        found[0]!.message,
        /25000 dead rows.*transaction of process \d+ \(report\) keeps them, open for \d+ seconds/
      )
      const { stdout } = yield* run(["doctor", "--broker", `${url}?schema=kept`])
      assert.match(stdout, /^! 25000 dead rows.*\(report\).*\n {4}→ end it, .*idle_in_transaction_session_timeout$/m)

      const [blind] = yield* horizon(urlOf("worker"), "kept")
      assert.include(blind, { level: "note", todo: "run GRANT pg_read_all_stats TO ROLE" })
      yield* psql("GRANT pg_read_all_stats TO worker")
      const [seeing] = yield* horizon(urlOf("worker"), "kept")
      assert.include(seeing!.message, "(report)")
      yield* psql("SELECT pg_drop_replication_slot('stream')")
    }))

  real("name a prepared transaction", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql("CREATE TABLE other (x int); BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'half done'")
      yield* deadRows(server(), "prepared")
      const [concern] = yield* horizon(url, "prepared")
      assert.match(concern!.message, /the prepared transaction \(half done\) keeps them/)
      yield* psql("ROLLBACK PREPARED 'half done'")
    }))

  real("name a standby that keeps them", () =>
    Effect.gen(function*() {
      const primary = yield* cluster({ settings: replicated })
      const standby = yield* standbyOf(primary)
      yield* standby.psql("ALTER SYSTEM SET hot_standby_feedback = on")
      yield* standby.psql("ALTER SYSTEM SET wal_receiver_status_interval = '1s'")
      yield* standby.psql("SELECT pg_reload_conf()")
      yield* open(standby, "report")
      yield* deadRows(primary, "followed")
      yield* eventually(
        "it is named",
        Effect.map(
          horizon(primary.url, "followed"),
          ([concern]) => /standby with hot_standby_feedback \(\w+\) keeps them/.test(concern?.message ?? "")
        )
      )
    }))
})

describe.skipIf(isMissing)("settings that are off", () => {
  real("are named, with what a crash may cost and where to turn them on", () =>
    Effect.gen(function*() {
      const { psql, url, urlOf } = yield* cluster({ settings: ["full_page_writes=off"] })
      yield* psql("CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off")
      const off = Effect.fnUntraced(function*(options: PostgresBroker.Options) {
        const { inspector } = yield* PostgresBroker.make(options)
        return (yield* inspector.concerns!).map(({ message, todo }) => `${message}: ${todo}`)
      }, Effect.scoped)
      const [fsync, pages, ...others] = yield* off({ url })
      assert.match(fsync!, /^fsync is off: .*damage the whole database: set it to on/)
      assert.match(pages!, /^full_page_writes is off: .*: set it to on/)
      assert.deepStrictEqual(others, [])
      const [, , role] = yield* off({ url: urlOf("hasty") })
      assert.match(role!, /^synchronous_commit is off: .*jobs may be missing, .*: set it to on .*for the role/)
      const [, , normal] = yield* off({ url, durability: "normal" })
      assert.match(normal!, /^synchronous_commit is off: .*leave durability=normal out of the URL$/)
      const { stdout } = yield* run(["doctor", "--broker", url])
      assert.match(stdout, /^! fsync is off: /m)
      assert.notMatch(stdout, /✔ what is acknowledged/)
    }))

  pooled(
    "are a pooler's, too: the doctor says what is different behind it",
    () =>
      Effect.gen(function*() {
        const server = yield* cluster({ settings: ["fsync=on"] })
        const { url } = yield* pgbouncer(server.port)
        yield* PostgresBroker.migrate({ url })
        const behind = yield* run(["doctor", "--broker", url])
        assert.match(behind.stdout, /^– a pooler in transaction mode is in between: .*\n {4}→ name a URL .* in listen/m)
        assert.match(behind.stdout, /^✔ what is acknowledged is on the server's disk/m)
        const direct = yield* run(["doctor", "--broker", server.url])
        assert.notInclude(direct.stdout, "pooler")
        assert.match(direct.stdout, /^0 errors, 0 warnings$/m)
        const apart = yield* run(["doctor", "--broker", `${url}?listen=${encodeURIComponent(server.url)}`])
        assert.notInclude(apart.stdout, "pooler")
      })
  )
})
