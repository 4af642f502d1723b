/** Schemas of every version are brought up to date by any number of programs at once, and by an administrator. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Client } from "pg"
import { putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { currentVersion, migrations, script } from "../../../src/brokers/postgres/schema.ts"
import { assertInfo, bytes, done, reasonOf, take, text } from "../../conformance/Harness.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body)))

const noRoles = { workers: [], publishers: [] }

/** A schema as an older backq left it, with a job in each state. */
const older = (schema: string, version: number): string => `
  CREATE SCHEMA "${schema}";
  CREATE TABLE "${schema}".meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL);
  INSERT INTO "${schema}".meta (version) VALUES (${version});
  ${migrations(schema).slice(0, version).flat().map((statement) => `${statement};`).join("\n")}
  INSERT INTO "${schema}".queue (name) VALUES ('q');
  INSERT INTO "${schema}".tally VALUES (1, 4);
  INSERT INTO "${schema}".job (queue, state, priority, ttr, due, holder, lease, deliveries, burial, body) VALUES
    (1, 0, 5, 60000, NULL, NULL, NULL, 0, NULL, 'ready'),
    (1, 1, 6, 60000, now() - interval '1 second', NULL, NULL, 0, NULL, 'delayed'),
    (1, 2, 7, 60000, now() - interval '1 second', 1, 1, 1, NULL, 'reserved'),
    (1, 3, 8, 60000, NULL, NULL, NULL, 1, 1, 'buried')`

/** Names that would be something else without quotes, and names of the schema's own tables. */
const strange = ["select", "job", "x".repeat(48)]

describe.skipIf(isMissing)("migrations of PostgreSQL", () => {
  const server = sharedCluster()

  for (let version = 1; version < currentVersion; version++) {
    real(
      `a schema of version ${version} keeps every job, even if 12 programs migrate it at once`,
      () =>
        Effect.gen(function*() {
          const { psql, url } = server()
          const schema = `from_${version}`
          yield* psql(older(schema, version))
          const made = yield* Effect.all(Array.from({ length: 12 }, () => PostgresBroker.make({ url, schema })), {
            concurrency: "unbounded"
          })
          assert.strictEqual(yield* psql(`SELECT version FROM ${schema}.meta`), String(currentVersion))
          const { broker, inspector } = made[0]!
          assert.include(yield* inspector.statsQueue("q"), { ready: 3, delayed: 0, reserved: 0, buried: 1, total: 4 })
          const consumer = yield* broker.consume(["q"])
          for (const body of ["ready", "delayed", "reserved"]) {
            const lease = yield* take(consumer)
            assert.strictEqual(text(lease), body)
            if (body === "reserved") yield* assertInfo(consumer, lease, { attempt: 2, abandoned: 1 })
            yield* done(consumer, lease)
          }
        })
    )
  }

  real(
    "the script of an administrator makes a schema, upgrades it, and can be run again",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* psql(older("by_hand", 1))
        for (const schema of ["by_hand", "fresh", "fresh"]) yield* psql(script(schema, noRoles))
        for (const schema of ["by_hand", "fresh"]) {
          assert.strictEqual(yield* psql(`SELECT version FROM ${schema}.meta`), String(currentVersion))
          const { broker } = yield* PostgresBroker.make({ url, schema, migrate: false })
          yield* broker.put("other", request("a"))
          assert.strictEqual(text(yield* take(yield* broker.consume(["other"]))), "a")
        }
      })
  )

  real("12 migrations at once make one schema", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { migrate } = PostgresBroker
      const results = yield* Effect.all(Array.from({ length: 12 }, () => migrate({ url, schema: "many" })), {
        concurrency: "unbounded"
      })
      assert.isTrue(results.every(({ to }) => to === currentVersion))
      assert.strictEqual(yield* psql("SELECT count(*) FROM many.meta"), "1")
    }))

  real(
    "migrate: false refuses a missing and an older schema untouched, and names backq migrate",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        const refused = (schema: string) =>
          reasonOf(Effect.scoped(PostgresBroker.make({ url, schema, migrate: false })))
        const absent = yield* refused("absent")
        assert.strictEqual(absent._tag, "Unsupported")
        assert.match(absent.message, /there is no such schema, .*: run backq migrate$/)
        assert.strictEqual(yield* psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'absent'"), "0")
        yield* psql(older("old", 1))
        assert.match((yield* refused("old")).message, /it is of version 1, and .*: run backq migrate$/)
        assert.strictEqual(yield* psql("SELECT version FROM old.meta"), "1")
      })
  )

  real("a newer schema is refused untouched, by a program and by the script", () =>
    Effect.gen(function*() {
      const { psql, refused, url } = server()
      yield* psql("CREATE SCHEMA newer; CREATE TABLE newer.meta AS SELECT 99 AS version")
      for (const migrate of [true, false]) {
        const reason = yield* reasonOf(Effect.scoped(PostgresBroker.make({ url, schema: "newer", migrate })))
        assert.include(reason, { _tag: "Unsupported" })
        assert.match(reason.message, /version 99, .*update backq/)
      }
      assert.include(yield* reasonOf(PostgresBroker.migrate({ url, schema: "newer" })), { _tag: "Unsupported" })
      assert.include(yield* refused(script("newer", noRoles)), "update backq")
      assert.strictEqual(yield* psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'newer'"), "1")
    }))

  real("a migration that fails leaves nothing behind", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      // A table in the way of one that the migration makes.
      yield* psql("CREATE SCHEMA taken; CREATE TABLE taken.done (x int)")
      assert.include(yield* reasonOf(Effect.scoped(PostgresBroker.make({ url, schema: "taken" }))), {
        _tag: "Unavailable"
      })
      assert.strictEqual(yield* psql("SELECT tablename FROM pg_tables WHERE schemaname = 'taken'"), "done")
      yield* psql("DROP TABLE taken.done")
      yield* Effect.scoped(PostgresBroker.make({ url, schema: "taken" }))
    }))

  real("every name that is allowed for a schema works", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      for (const schema of strange) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { broker } = yield* PostgresBroker.make({ url, schema })
          const consumer = yield* broker.consume(["q"])
          yield* psql(`SELECT "${schema}".put('q', 'a')`)
          yield* done(consumer, yield* take(consumer))
          assert.strictEqual(yield* psql(`SELECT count(*) FROM "${schema}".job`), "0")
        }))
        yield* psql(script(schema, noRoles))
      }
    }))

  real("nothing of a search path is used, whatever is in it", () =>
    Effect.gen(function*() {
      const { psql, refused, urlOf } = server()
      // What an unqualified name would find first: tables of others, and functions that fail.
      const functions = [
        "clock_timestamp() RETURNS timestamptz",
        "pg_notify(text, text) RETURNS void",
        "hashtextextended(text, bigint) RETURNS bigint",
        "octet_length(bytea) RETURNS int",
        "cardinality(anyarray) RETURNS int",
        "pg_advisory_lock(int, int) RETURNS void",
        "pg_advisory_xact_lock(bigint) RETURNS void"
      ].map((one) => `CREATE FUNCTION evil.${one} LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil was used'; END $$`)
      const tables = ["job", "queue", "meta", "tally", "process", "waiting", "done", "pg_tables", "pg_namespace"]
        .map((name) => `CREATE TABLE evil.${name} (evil int)`)
      yield* psql([
        "CREATE ROLE tricked LOGIN",
        "GRANT CREATE ON DATABASE postgres TO tricked",
        "ALTER ROLE tricked SET search_path = evil, pg_catalog",
        "CREATE SCHEMA evil",
        "GRANT USAGE ON SCHEMA evil TO PUBLIC",
        ...functions,
        ...tables
      ].join(";"))
      assert.include(yield* refused("SELECT clock_timestamp()", "tricked"), "evil was used")
      const { broker, inspector } = yield* PostgresBroker.make({
        url: urlOf("tricked"),
        schema: "safe",
        history: "1 hour"
      })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      yield* psql("SELECT safe.publish('q', 'job', '1')", "tricked")
      yield* psql(script("safe_too", noRoles), "tricked")
      yield* done(consumer, yield* take(consumer))
      const lease = yield* take(consumer)
      // In a transaction of the program's own client.
      const client = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Client({ connectionString: urlOf("tricked") })
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.end())
      )
      yield* Effect.promise(() => client.query("BEGIN"))
      yield* PostgresBroker.within(PostgresBroker.fromPg(client))(
        Effect.andThen(broker.put("q", request("b")), PostgresBroker.done({ lease }))
      )
      yield* Effect.promise(() => client.query("COMMIT"))
      yield* done(consumer, lease)
      assert.include(yield* inspector.statsQueue("q"), { ready: 1, reserved: 0, total: 3 })
    }))
})
