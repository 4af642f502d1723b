/** The broker behind a pooler. */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import { putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { bytes, done, take, text } from "../../conformance/Harness.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { isMissing, type Options, pgbouncer } from "../../support/pgbouncer.ts"
import { cluster } from "../../support/postgres.ts"

allow(withPrograms)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body), { ttr: "1 hour" }))

/** The server of these tests: each has a schema and a pooler of its own. */
class Server extends Context.Service<Server, Effect.Success<ReturnType<typeof cluster>>>()("test/Server") {}

/** Runs with the warnings that are logged. */
const warned = <A, E, R>(run: (warnings: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const warnings: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    if (logLevel === "Warn") warnings.push(String(message))
  })
  return Effect.provide(run(warnings), Logger.layer([logger]))
}

/** A worker waits, and another process publishes: how long until it has the job? */
const handOver = Effect.fnUntraced(function*(options: PostgresBroker.Options) {
  const worker = yield* PostgresBroker.make(options)
  const publisher = yield* PostgresBroker.make(options)
  const consumer = yield* worker.broker.consume(["q"])
  const waiting = yield* Effect.forkChild(take(consumer))
  // Until the first looks of the worker are over.
  yield* Effect.sleep("1 second")
  yield* publisher.broker.put("q", request("a"))
  const [took, lease] = yield* Effect.timed(Fiber.join(waiting))
  assert.strictEqual(text(lease), "a")
  yield* done(consumer, lease)
  return Duration.toMillis(took)
})

/** What pgbouncer drops without a word. */
const dropped = "ignore_startup_parameters = " + [
  "search_path",
  "plan_cache_mode",
  "enable_seqscan",
  "enable_bitmapscan",
  "enable_hashjoin",
  "enable_mergejoin",
  "jit",
  "default_transaction_isolation",
  "statement_timeout",
  "lock_timeout",
  "idle_in_transaction_session_timeout",
  "synchronous_commit",
  "tcp_keepalives_idle",
  "tcp_keepalives_interval",
  "tcp_keepalives_count",
  "tcp_user_timeout"
].join(",")

const servers = Layer.effect(Server, cluster())

describe.skipIf(isMissing)(
  "behind pgbouncer",
  () =>
    layer(servers, { concurrent: true, excludeTestServices: true })("PostgresBroker", (it) => {
      const kinds: ReadonlyArray<readonly [does: string, schema: string, options: Options]> = [
        ["refuses", "refuses", {}],
        ["drops", "drops", { lines: [dropped] }]
      ]
      it.effect.each(kinds)("that %s the settings of a session: polls, and says so once", ([, schema, options]) =>
        warned((warnings) =>
          Effect.gen(function*() {
            const server = yield* Server
            const { url } = yield* pgbouncer(server.port, options)
            assert.isBelow(yield* handOver({ url, schema }), 900)
            // Two brokers.
            assert.strictEqual(warnings.length, 2)
            assert.include(warnings[0], "pooler in transaction mode")
            // No lock is left on a session that others use.
            assert.strictEqual(yield* server.psql(`SELECT count(*) FROM ${schema}.process WHERE id > 0`), "0")
          })
        ))

      it.effect("with a URL of the server in listen: is told of jobs, and says nothing", () =>
        warned((warnings) =>
          Effect.gen(function*() {
            const server = yield* Server
            const { url } = yield* pgbouncer(server.port)
            const options = {
              url,
              schema: "listens",
              pooler: "transaction",
              listen: server.url,
              poll: "1 hour"
            } as const
            assert.isBelow(yield* handOver(options), 900)
            assert.deepStrictEqual(warnings, [])
          })
        ))

      it.effect("with another database in listen: finds that nothing is heard there, and polls", () =>
        warned((warnings) =>
          Effect.gen(function*() {
            const server = yield* Server
            const listen = server.url.replace(/postgres$/, "template1")
            yield* handOver({ url: server.url, schema: "astray", listen })
            assert.include(warnings[0], "listen must be a URL of the same database")
          })
        ))

      it.effect("in session mode, with pooler=none: has sessions of its own", () =>
        Effect.gen(function*() {
          const server = yield* Server
          const { url } = yield* pgbouncer(server.port, { mode: "session", lines: [dropped] })
          assert.isBelow(yield* handOver({ url, schema: "sessions", pooler: "none", poll: "1 hour" }), 900)
          assert.strictEqual(yield* server.psql("SELECT count(*) FROM sessions.process WHERE id < 0"), "0")
        }))

      it.effect("that refuses settings, with pooler=none: says what to do", () =>
        Effect.gen(function*() {
          const { url } = yield* pgbouncer((yield* Server).port)
          const { message } = yield* Effect.flip(PostgresBroker.make({ url, pooler: "none" }))
          assert.include(message, "leave pooler at auto")
        }))
    })
)
