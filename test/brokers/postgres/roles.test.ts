/** What the roles of docs/postgres.md can do, what they can't, and what a role that lacks a right is told. */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { currentVersion, migrations } from "../../../src/brokers/postgres/schema.ts"
import { bury, bytes, done, reasonOf, take } from "../../conformance/Harness.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body)))

describe.skipIf(isMissing)("roles of PostgreSQL", () => {
  const server = sharedCluster()

  real("a publisher puts jobs, and can't read, run, change or delete any", () =>
    Effect.gen(function*() {
      const { psql, refused, url, urlOf } = server()
      const schema = "published"
      yield* psql("CREATE ROLE \"Publi\"\"sher\" LOGIN")
      yield* PostgresBroker.migrate({ url, schema, publishers: ["Publi\"sher"] })
      const role = "Publi\"sher"
      const { broker, inspector } = yield* PostgresBroker.make({
        url: urlOf(encodeURIComponent(role)),
        schema
      })
      const id = yield* broker.put("q", request("a"))
      for (const result of yield* broker.putAll("q", ["b", "c"].map(request))) yield* Effect.fromResult(result)
      yield* psql(`SELECT ${schema}.publish('q', 'job', '1')`, role)
      assert.strictEqual(yield* broker.idleWorkers("q"), 0)
      assert.strictEqual(yield* psql(`SELECT count(*) FROM ${schema}.job`), "4")

      const consumer = yield* broker.consume(["q"])
      for (
        const attempt of [
          Effect.asVoid(consumer.reserve(1)),
          Effect.asVoid(inspector.peek(id)),
          Effect.asVoid(inspector.list("q", { state: "ready" })),
          inspector.delete(id),
          inspector.buryJob(id, "no"),
          inspector.pause("q", Duration.minutes(1)),
          Effect.asVoid(inspector.moveJob(id, "other"))
        ]
      ) {
        const reason = yield* reasonOf(attempt)
        assert.strictEqual(reason._tag, "Unsupported")
        assert.match(reason.message, /permission denied for (table|sequence) \w+: run GRANT /)
      }
      for (const sql of [`SELECT body FROM ${schema}.job`, `DELETE FROM ${schema}.job`, `DROP TABLE ${schema}.job`]) {
        assert.match(yield* refused(sql, role), /permission denied|must be owner/)
      }
      assert.strictEqual(yield* psql(`SELECT count(*) FROM ${schema}.job WHERE state = 0`), "4")
    }))

  real("the owner of a schema can be named as a worker, and still migrates", () =>
    Effect.gen(function*() {
      const { psql, url, urlOf } = server()
      const schema = "owned"
      yield* psql("CREATE ROLE keeper LOGIN; GRANT CREATE ON DATABASE postgres TO keeper")
      yield* PostgresBroker.migrate({ url: urlOf("keeper"), schema, workers: ["keeper"] })
      yield* PostgresBroker.migrate({ url, schema, workers: ["keeper"] })
      yield* psql(yield* PostgresBroker.migrationScript({ schema, workers: ["keeper"] }), "keeper")
      assert.deepStrictEqual(yield* PostgresBroker.migrate({ url: urlOf("keeper"), schema, workers: ["keeper"] }), {
        schema,
        from: currentVersion,
        to: currentVersion
      })
      yield* psql("UPDATE owned.meta SET version = version", "keeper")
    }))

  real("put and publish are granted one by one, and need no other right", () =>
    Effect.gen(function*() {
      const { psql, refused, url } = server()
      yield* PostgresBroker.migrate({ url, schema: "narrow" })
      yield* psql(
        `CREATE ROLE putter LOGIN; CREATE ROLE composer LOGIN; GRANT USAGE ON SCHEMA narrow TO putter, composer;
        GRANT EXECUTE ON FUNCTION narrow.put TO putter; GRANT EXECUTE ON FUNCTION narrow.publish TO composer`
      )
      yield* psql("SELECT narrow.put('q', 'a')", "putter")
      yield* psql("SELECT narrow.publish('q', 'job')", "composer")
      assert.include(yield* refused("SELECT narrow.publish('q', 'job')", "putter"), "permission denied for function")
      assert.include(yield* refused("SELECT narrow.put('q', 'a')", "composer"), "permission denied for function")
      assert.include(yield* refused("SELECT * FROM narrow.job", "putter"), "permission denied for table")
      assert.strictEqual(yield* psql("SELECT count(*) FROM narrow.job"), "2")
    }))

  real("a worker publishes, works and operates, and can't change the schema", () =>
    Effect.gen(function*() {
      const { psql, refused, urlOf } = server()
      yield* psql("CREATE ROLE worker LOGIN")
      yield* psql(yield* PostgresBroker.migrationScript({ schema: "worked", workers: ["worker"] }))
      for (const migrate of [true, false]) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { broker, inspector } = yield* PostgresBroker.make({ url: urlOf("worker"), schema: "worked", migrate })
          const consumer = yield* broker.consume(["q"])
          yield* broker.putAll("q", ["a", "b"].map(request))
          yield* done(consumer, yield* take(consumer))
          yield* bury(consumer, yield* take(consumer))
          assert.strictEqual(yield* inspector.kick("q", 1), 1)
          yield* done(consumer, yield* take(consumer))
          yield* inspector.pause("q", Duration.minutes(1))
          yield* inspector.resume("q")
          assert.include(yield* inspector.stats, { ready: 0, buried: 0 })
        }))
      }
      for (
        const sql of [
          "DROP TABLE worked.job",
          "ALTER TABLE worked.job ADD x int",
          "CREATE TABLE worked.x (x int)",
          "TRUNCATE worked.job",
          "UPDATE worked.meta SET version = 0",
          "CREATE OR REPLACE FUNCTION worked.put() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        ]
      ) {
        assert.match(yield* refused(sql, "worker"), /permission denied|must be owner/, sql)
      }

      // Neither an older schema, nor one that is not there.
      yield* psql(`CREATE SCHEMA aged; CREATE TABLE aged.meta AS SELECT 1 AS version;
        GRANT USAGE ON SCHEMA aged TO worker; GRANT SELECT ON aged.meta TO worker;
        ${migrations("aged")[0]!.join(";\n")}`)
      const told = {
        aged:
          `it is of version 1, this backq needs version ${currentVersion}, and the role of the URL may not bring it ` +
          "there: run backq migrate",
        nowhere: "run GRANT CREATE ON DATABASE ... TO it, or backq migrate"
      }
      for (const [schema, said] of Object.entries(told)) {
        const reason = yield* reasonOf(Effect.scoped(PostgresBroker.make({ url: urlOf("worker"), schema })))
        assert.strictEqual(reason._tag, "Unsupported")
        assert.include(reason.message, said)
      }
      assert.strictEqual(yield* psql("SELECT version FROM aged.meta"), "1")
    }))

  real("a role that lacks a right is told which GRANT to run", () =>
    Effect.gen(function*() {
      const { psql, url, urlOf } = server()
      yield* psql("CREATE ROLE poor LOGIN")
      yield* PostgresBroker.migrate({ url, schema: "guarded", workers: ["poor"] })
      const { broker } = yield* PostgresBroker.make({ url, schema: "guarded" })
      yield* broker.put("q", request("a"))
      const attempt = Effect.scoped(Effect.gen(function*() {
        const { broker } = yield* PostgresBroker.make({ url: urlOf("poor"), schema: "guarded" })
        const consumer = yield* broker.consume(["q"])
        yield* bury(consumer, yield* take(consumer))
      }))
      const rights: Record<string, string> = {
        "USAGE ON SCHEMA guarded": "GRANT USAGE ON SCHEMA \"guarded\" TO ROLE",
        "SELECT ON guarded.meta": "GRANT SELECT ON \"guarded\".meta TO ROLE",
        "SELECT ON guarded.queue": "GRANT SELECT, INSERT, UPDATE, DELETE ON \"guarded\".queue TO ROLE",
        "UPDATE ON guarded.job": "GRANT SELECT, INSERT, UPDATE, DELETE ON \"guarded\".job TO ROLE",
        "USAGE ON SEQUENCE guarded.burial": "GRANT USAGE ON SEQUENCE \"guarded\".burial TO ROLE",
        "USAGE ON SEQUENCE guarded.process_id": "GRANT USAGE ON SEQUENCE \"guarded\".process_id TO ROLE"
      }
      for (const [right, told] of Object.entries(rights)) {
        yield* psql(`REVOKE ${right} FROM poor`)
        const reason = yield* reasonOf(attempt)
        assert.strictEqual(reason._tag, "Unsupported", right)
        assert.include(reason.message, told)
        yield* psql(`GRANT ${right} TO poor`)
      }
      yield* attempt
    }))

  real("names that can't be roles are refused", () =>
    Effect.gen(function*() {
      for (const name of ["", "a\0b", "x".repeat(64), "é".repeat(32)]) {
        assert.include(yield* reasonOf(PostgresBroker.migrationScript({ workers: [name] })), { _tag: "OptionInvalid" })
      }
      const script = yield* PostgresBroker.migrationScript({ publishers: ["a\"; DROP TABLE x; --"] })
      assert.include(script, "TO \"a\"\"; DROP TABLE x; --\"")
    }))
})
