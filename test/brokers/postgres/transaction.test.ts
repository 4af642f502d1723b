/** Publishing within the transactions of a program's own client. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { Broker, putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { Inspector, Job, Publisher } from "../../../src/index.ts"
import { bytes, reasonOf, take, text } from "../../conformance/Harness.ts"
import { allow, withServers } from "../../support/limits.ts"
import { cluster, isMissing, real } from "../../support/postgres.ts"
import { Random } from "../../support/Random.ts"

allow(withServers)

const Welcome = Job.make("welcome", { payload: Schema.Struct({ user: Schema.Int }) })

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body)))

const onClient = (url: string) =>
  Publisher.layer.pipe(
    Layer.provideMerge(PostgresBroker.layerSql()),
    Layer.provideMerge(PgClient.layer({ url: Redacted.make(url) }))
  )

describe.skipIf(isMissing)("PostgresBroker.layerSql", () => {
  real("a job exists if and only if the transaction of its publish committed", () =>
    Effect.gen(function*() {
      const { url } = yield* cluster()
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE users (id int PRIMARY KEY)`
        const random = new Random(7)
        for (let user = 0; user < 100; user++) {
          const isKept = random.next() < 0.5
          const signUp = Effect.gen(function*() {
            yield* sql`INSERT INTO users VALUES (${user})`
            yield* Publisher.publish(Welcome, { user })
            if (!isKept) return yield* Effect.fail("undone")
          })
          const exit = yield* Effect.exit(sql.withTransaction(signUp))
          assert.strictEqual(Exit.isSuccess(exit), isKept)
        }
        const users = yield* sql<{ id: number }>`SELECT id FROM users ORDER BY id`
        const inspector = yield* Inspector.Inspector
        const { jobs } = yield* inspector.list("welcome", { state: "ready", limit: 1000 })
        assert.deepStrictEqual(
          jobs.map((job) => JSON.parse(text(job)).payload.user),
          users.map(({ id }) => id)
        )
        assert.isAbove(users.length, 20)
      }).pipe(Effect.provide(onClient(url)))
    }))

  real("a job is not there before the commit, and wakes a worker at it", () =>
    Effect.gen(function*() {
      const { url } = yield* cluster()
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const broker = yield* Broker
        const inspector = yield* Inspector.Inspector
        const consumer = yield* broker.consume(["q"])
        const waiting = yield* Effect.forkChild(take(consumer))
        yield* Effect.sleep("1200 millis")
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* broker.putAll("q", ["a", "b"].map(request))
          assert.deepStrictEqual((yield* inspector.list("q", { state: "ready" })).jobs, [])
        }))
        assert.strictEqual(text(yield* Effect.timeout(Fiber.join(waiting), "10 seconds")), "a")
        assert.strictEqual((yield* inspector.statsQueue("q")).total, 2)
      }).pipe(Effect.provide(onClient(url)))
    }))

  real("outside of a transaction a put is one of its own; in an aborted one it says so", () =>
    Effect.gen(function*() {
      const { url } = yield* cluster()
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const broker = yield* Broker
        yield* broker.put("q", request("a"))
        const aborted = Effect.gen(function*() {
          yield* Effect.ignore(sql`SELECT no_such_function()`)
          const reason = yield* reasonOf(broker.put("q", request("b")))
          assert.include(reason.message, "roll back")
          return yield* Effect.fail("undone")
        })
        yield* Effect.exit(sql.withTransaction(aborted))
        assert.strictEqual((yield* Inspector.Inspector.use((inspector) => inspector.statsQueue("q"))).ready, 1)
      }).pipe(Effect.provide(onClient(url)))
    }))
})
