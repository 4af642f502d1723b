/** Publishing within the transactions of any client. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { Client, Pool } from "pg"
import { Broker, putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { Inspector, Job, Publisher } from "../../../src/index.ts"
import { bytes, reasonOf, take, text } from "../../conformance/Harness.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"
import { clients, names } from "./clients.ts"

allow(withServers)

const server = sharedCluster()

const Welcome = Job.make("welcome", { payload: Schema.Struct({ user: Schema.Int }) })

const request = (body: string, options = {}) => Result.getOrThrow(putRequest(bytes(body), options))

const empty = "DROP SCHEMA IF EXISTS backq CASCADE"

const queueOf = (name: string) => name.replace(/\W/g, "")

const users = Effect.gen(function*() {
  const inspector = yield* Inspector.Inspector
  const { jobs } = yield* inspector.list("welcome", { state: "ready", limit: 1000 })
  return jobs.map((job) => JSON.parse(text(job)).payload.user as number)
})

describe.skipIf(isMissing)("A publish within a transaction", () => {
  real(
    "is there when it commits, and is not when it rolls back, whichever client has it",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        for (const name of names) {
          yield* psql(`${empty}; DROP TABLE IF EXISTS users; CREATE TABLE users (id int)`)
          const { broker, transaction } = yield* clients[name](url)
          const insideOf = (user: number, isKept: boolean) =>
            transaction(({ query, within }) =>
              Effect.gen(function*() {
                yield* query(`INSERT INTO users VALUES (${user})`)
                yield* within(Publisher.publish(Welcome, { user }))
                yield* within(Publisher.publishAll(Welcome, [{ user: -user }]))
                if (!isKept) return yield* Effect.fail("undone")
              })
            )
          yield* Effect.gen(function*() {
            const exits = yield* Effect.forEach([1, 2, 3, 4], (user) => Effect.exit(insideOf(user, user % 2 === 0)))
            assert.deepStrictEqual(exits.map(Exit.isSuccess), [false, true, false, true], name)
            assert.deepStrictEqual(yield* users, [2, -2, 4, -4], name)
          }).pipe(Effect.provide(Layer.provideMerge(Publisher.layer, broker)))
        }
      })
  )

  real("keeps every byte of a body, its options, and the order of many", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      const bodies = [all, new Uint8Array(0), bytes("\\x{}\",'\0")]
      const options = { priority: 7, delay: "1 hour", ttr: "2 minutes" } as const
      for (const name of names) {
        yield* psql(empty)
        const { broker, transaction } = yield* clients[name](url)
        yield* Effect.gen(function*() {
          const { put, putAll } = yield* Broker
          const inspector = yield* Inspector.Inspector
          yield* transaction(({ within }) =>
            within(Effect.gen(function*() {
              yield* putAll("q", bodies.map((body) => Result.getOrThrow(putRequest(body))))
              yield* putAll("many", Array.from({ length: 1200 }, (_, i) => request(String(i))))
              const id = yield* put("later", request("x", options))
              assert.match(id, /^\d+$/)
            }))
          )
          const { jobs } = yield* inspector.list("q", { state: "ready" })
          assert.deepStrictEqual(jobs.map(({ body }) => Uint8Array.from(body)), bodies, name)
          const many = yield* inspector.list("many", { state: "ready", limit: 1000 })
          assert.deepStrictEqual(many.jobs.map(text), Array.from({ length: 1000 }, (_, i) => String(i)), name)
          const [delayed] = (yield* inspector.list("later", { state: "delayed" })).jobs
          const { priority, ttr } = yield* inspector.statsJob(delayed!.id)
          assert.deepStrictEqual([priority, Duration.toMinutes(ttr)], [7, 2], name)
        }).pipe(Effect.provide(broker))
      }
    }))

  real("fails with what to do in an aborted transaction, after its end, and on a pool", () =>
    Effect.gen(function*() {
      const { url } = server()
      const { broker } = yield* PostgresBroker.make({ url })
      const put = broker.put("q", request("a"))
      const client = new Client({ connectionString: url })
      yield* Effect.acquireRelease(Effect.promise(() => client.connect()), () => Effect.promise(() => client.end()))
      const within = PostgresBroker.within(PostgresBroker.fromPg(client))
      const query = (sql: string) => Effect.promise(() => client.query(sql).catch(() => {}))

      assert.include(yield* reasonOf(within(put)), { _tag: "OptionInvalid", option: "fromPg" })
      yield* query("BEGIN")
      yield* query("SELECT no_such_function()")
      const aborted = yield* reasonOf(within(put))
      assert.include(aborted, { _tag: "Unavailable", fate: "NotSent" })
      assert.include(aborted.message, "roll back")
      yield* query("ROLLBACK")

      yield* query("BEGIN")
      const late = yield* within(Effect.forkDetach(Effect.andThen(Effect.sleep("50 millis"), reasonOf(put))))
      assert.include((yield* Fiber.join(late)).message, "has ended")
      yield* query("COMMIT")

      const pool = new Pool({ connectionString: url })
      // @ts-expect-error a pool is not in a transaction
      const onPool = PostgresBroker.within(PostgresBroker.fromPg(pool))
      assert.include(yield* reasonOf(onPool(put)), { _tag: "OptionInvalid" })
      yield* Effect.promise(() => pool.end())
      const thrown = PostgresBroker.within(() => {
        throw new Error("no client")
      })
      assert.include((yield* reasonOf(thrown(put))).message, "no client")
    }))

  real("an executor that does not return the rows is refused, and says what to return", () =>
    Effect.gen(function*() {
      const { broker } = yield* PostgresBroker.make({ url: server().url })
      const put = broker.put("q", request("a"))
      const wrong: ReadonlyArray<unknown> = [
        undefined,
        null,
        "id",
        { rows: [{ id: "1" }] },
        [],
        [null],
        [["1"]],
        [{}],
        [{ id: {} }],
        [{ id: "1" }, { id: "2" }],
        [{
          get id() {
            throw new Error("unreadable")
          }
        }]
      ]
      for (const rows of wrong) {
        const executor = (() => Promise.resolve(rows)) as PostgresBroker.Executor
        const reason = yield* reasonOf(PostgresBroker.within(executor)(put))
        assert.include(reason, { _tag: "OptionInvalid", option: "the executor of within" })
        assert.include(reason.message, "must return the rows")
      }
      const strange = [undefined, Object.create(null), Symbol("no"), { message: 1 }]
      for (const thrown of strange) {
        const executor = () => Promise.reject(thrown)
        assert.include(yield* reasonOf(PostgresBroker.within(executor)(put)), { _tag: "Unavailable", fate: "NotSent" })
      }
    }))

  real("makes a queue outside of it, so that two transactions never wait for each other", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql(empty)
      const { broker, transaction } = yield* clients.pg(url)
      yield* Effect.gen(function*() {
        const { put } = yield* Broker
        yield* transaction((one) =>
          transaction((other) =>
            Effect.gen(function*() {
              yield* one.within(put("a", request("1")))
              yield* other.within(put("b", request("2")))
              yield* one.within(put("b", request("3")))
              yield* other.within(put("a", request("4")))
            })
          )
        ).pipe(Effect.timeout("10 seconds"))
        assert.strictEqual(yield* psql("SELECT count(*) FROM backq.job"), "4")
      }).pipe(Effect.provide(broker))
    }))

  real("works in a transaction that sees the database as it was before the queue", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql(empty)
      for (const name of names) {
        const { broker, transaction } = yield* clients[name](url)
        yield* transaction(({ query, within }) =>
          Effect.gen(function*() {
            yield* query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            yield* query("SELECT 1 FROM pg_class LIMIT 1")
            yield* within(Broker.use(({ put }) => put(queueOf(name), request("a"))))
          })
        ).pipe(Effect.provide(broker))
      }
      assert.strictEqual(yield* psql("SELECT count(*) FROM backq.job"), String(names.length))
    }))

  real("needs no more rights than to add jobs", () =>
    Effect.gen(function*() {
      const { port, psql, url } = server()
      yield* psql(empty)
      const { broker } = yield* PostgresBroker.make({ url })
      yield* psql(`DROP ROLE IF EXISTS publisher; CREATE ROLE publisher LOGIN; GRANT USAGE ON SCHEMA backq TO publisher;
        GRANT INSERT ON backq.tally, backq.job TO publisher; GRANT SELECT (id) ON backq.job TO publisher`)
      const { transaction } = yield* clients.pg(`postgres://publisher@127.0.0.1:${port}/postgres`)
      yield* transaction(({ within }) => within(broker.put("q", request("a"))))
      assert.strictEqual(yield* psql("SELECT count(*) FROM backq.job"), "1")
    }))
})

describe.skipIf(isMissing)("A publish within a transaction of a worker's database", () => {
  real("wakes a worker at the commit, by one notification for each queue at most", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql(empty)
      const listener = new Client({ connectionString: url })
      yield* Effect.acquireRelease(Effect.promise(() => listener.connect()), () => Effect.promise(() => listener.end()))
      const heard: Array<string> = []
      listener.on("notification", ({ payload }) => heard.push(payload ?? ""))
      yield* Effect.promise(() => listener.query("LISTEN \"backq.backq\""))
      const worker = yield* PostgresBroker.make({ url })
      for (const name of ["@effect/sql-pg", "pg", "postgres"] as const) {
        const { broker, transaction } = yield* clients[name](url)
        const queue = queueOf(name)
        const consumer = yield* worker.broker.consume([queue])
        yield* Effect.gen(function*() {
          const { idleWorkers, put, putAll } = yield* Broker
          const waiting = yield* Effect.forkChild(take(consumer))
          yield* Effect.repeat(Effect.delay(idleWorkers(queue), "20 millis"), { until: (count) => count === 1 })
          // Until its looks are a second apart.
          yield* Effect.sleep("700 millis")
          heard.length = 0
          yield* transaction(({ within }) =>
            within(Effect.gen(function*() {
              yield* put(queue, request("a"))
              yield* putAll(queue, Array.from({ length: 600 }, () => request("b")))
              yield* put(queue, request("c"))
              yield* Effect.sleep("100 millis")
              assert.deepStrictEqual(heard, [])
            }))
          )
          const [took, lease] = yield* Effect.timed(Effect.timeout(Fiber.join(waiting), "10 seconds"))
          assert.strictEqual(text(lease), "a", name)
          assert.isBelow(Duration.toMillis(took), 600, name)
          // The listener may hear of the commit after the worker.
          yield* Effect.repeat(Effect.promise(() => listener.query("SELECT 1")), { until: () => heard.includes(queue) })
          assert.deepStrictEqual(heard.filter((one) => one !== ""), [queue], name)
        }).pipe(Effect.provide(broker))
      }
    }))
})

describe.skipIf(isMissing)("A broker with connections of its own", () => {
  real(
    "warns once when it publishes inside a transaction of a client that it does not know",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* psql(empty)
        const lines: Array<string> = []
        const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
        yield* Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const { put, putAll } = yield* Broker
          yield* put("q", request("outside"))
          assert.deepStrictEqual(lines, [])
          const undone = Effect.gen(function*() {
            yield* put("q", request("a"))
            yield* put("q", request("b"))
            yield* putAll("q", [request("c")])
            return yield* Effect.fail("undone")
          })
          yield* Effect.exit(sql.withTransaction(undone))
          assert.strictEqual(yield* psql("SELECT count(*) FROM backq.job"), "4")
        }).pipe(
          Effect.provide(
            Layer.mergeAll(PostgresBroker.layer({ url }), PgClient.layer({ url: Redacted.make(url) }), logger)
          )
        )
        assert.strictEqual(lines.length, 1)
        assert.include(lines[0]!, "layerSql")
        assert.include(lines[0]!, "within")
      })
  )
})
