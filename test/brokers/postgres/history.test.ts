/** Finished jobs that are kept for some time. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { Pool } from "pg"
import { type Lease, putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { Inspector } from "../../../src/Inspector.ts"
import { assertFails, bury, bytes, done, take, text } from "../../conformance/Harness.ts"
import { assertKept, finishTwo, listDone } from "../../conformance/History.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const request = (body: string, options?: Parameters<typeof putRequest>[1]) =>
  Result.getOrThrow(putRequest(bytes(body), options))

describe.skipIf(isMissing)("history of PostgreSQL", () => {
  const server = sharedCluster()

  real(
    "keeps finished jobs with their figures, the latest first, in pages, for any process",
    () =>
      Effect.gen(function*() {
        const { url } = server()
        const before = Date.now()
        const ids = yield* Effect.scoped(Effect.gen(function*() {
          const services = yield* PostgresBroker.make({ url, schema: "kept", history: "1 hour" })
          assert.isTrue(services.broker.features.keepsDone)
          return yield* finishTwo(services)
        }))
        const { broker, inspector } = yield* PostgresBroker.make({ url, schema: "kept" })
        assert.isFalse(broker.features.keepsDone)
        for (const limit of [1, 2]) {
          assert.deepStrictEqual((yield* listDone(inspector, limit)).map((job) => job.id), ids)
        }
        yield* assertKept(inspector, ids, before - 1)
      })
  )

  real("keeps only finished jobs, and only with the option", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker, inspector } = yield* PostgresBroker.make({ url, schema: "finished", history: Duration.infinity })
      const consumer = yield* broker.consume(["q"])
      yield* inspector.delete(yield* broker.put("q", request("deleted")))
      yield* broker.put("q", request("buried"))
      yield* bury(consumer, yield* take(consumer))
      yield* broker.put("q", request("late", { ttr: "1 millis" }))
      const late = yield* take(consumer)
      yield* Effect.repeat(inspector.statsJob(late.id), { until: ({ state }) => state === "ready" })
      yield* assertFails(done(consumer, late), "LeaseLost")
      assert.deepStrictEqual(yield* listDone(inspector, 10), [])
      yield* inspector.delete(late.id)
      yield* broker.put("q", request("plain"))
      const other = yield* PostgresBroker.make({ url, schema: "finished" })
      const plain = yield* other.broker.consume(["q"])
      yield* done(plain, yield* take(plain))
      assert.strictEqual(yield* psql("SELECT count(*) FROM finished.done"), "0")
      yield* broker.put("q", request("for ever"))
      yield* done(consumer, yield* take(consumer))
      assert.strictEqual(yield* psql("SELECT keep_until FROM finished.done"), "infinity")
    }))

  real("a process without history removes jobs whose time has ended, and no other", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* Effect.gen(function*() {
        yield* psql(`INSERT INTO swept.done (job, finished_at, keep_until, put_at, priority, ttr, queue, deliveries,
            forgiven, lost, buries, body)
          SELECT i, now(), CASE WHEN i <= 1200 THEN now() - interval '1 day' ELSE now() + interval '1 hour' END, now(), 1,
            1, 1, 1, 0, 0, 0, 'a' FROM generate_series(1, 1203) AS i`)
        const { broker } = yield* PostgresBroker.make({ url, schema: "swept" })
        yield* broker.consume(["q"])
        yield* Effect.repeat(Effect.delay(psql("SELECT count(*) FROM swept.done"), "50 millis"), {
          until: (count) => count === "3"
        })
      }).pipe(Effect.provide(BrokerUrl.layer(`${url}?schema=swept&history=1d`)))
    }))

  real(
    "keeps a job that its handler's transaction settled, if it committed, whichever client has it",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* psql("CREATE TABLE written (body text)")
        const client = yield* Layer.build(PgClient.layer({ url: Redacted.make(url) }))
        const sql = Context.get(client, PgClient.PgClient)
        const made = PostgresBroker.makeSql({ schema: "settled", history: "1 hour" })
        const { broker, inspector } = yield* Effect.provide(made, client)
        const pool = yield* Effect.acquireRelease(
          Effect.sync(() => new Pool({ connectionString: url })),
          (pool) => Effect.promise(() => pool.end())
        )
        const byPg = PostgresBroker.within((text, values) => pool.query(text, [...values]).then(({ rows }) => rows))
        const consumer = yield* broker.consume(["q"])
        const settle = (body: string, how: (lease: Lease) => Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            yield* broker.put("q", request(body))
            const lease = yield* take(consumer)
            yield* Effect.exit(how(lease))
            const settled = yield* Effect.exit(done(consumer, lease))
            return Exit.isSuccess(settled)
          })
        const write = (lease: Lease) => sql`INSERT INTO written VALUES (${text(lease)})`
        const settleAndWrite = (lease: Lease) => Effect.andThen(PostgresBroker.done({ lease }), write(lease))
        assert.isTrue(yield* settle("sql", (lease) => sql.withTransaction(settleAndWrite(lease))))
        assert.isTrue(yield* settle("pg", (lease) => byPg(PostgresBroker.done({ lease }))))
        const failing = (lease: Lease) =>
          sql.withTransaction(Effect.andThen(settleAndWrite(lease), Effect.fail("undone")))
        assert.isFalse(yield* settle("undone", failing))
        assert.deepStrictEqual((yield* listDone(inspector, 10)).map(text), ["pg", "sql"])
        assert.strictEqual(yield* psql("SELECT string_agg(body, ' ') FROM written"), "sql")
        assert.include(yield* inspector.statsQueue("q"), { reserved: 1, ready: 0 })
      })
  )

  real("an option of a URL", () =>
    Effect.gen(function*() {
      const { features } = yield* Inspector
      assert.isTrue(features.keepsDone)
    }).pipe((test) => Effect.suspend(() => Effect.provide(test, BrokerUrl.layer(`${server().url}?history=1d`)))))
})
