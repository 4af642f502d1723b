/** Servers that change their part, are away, or say nothing: the broker finds the primary, and asks in moderation. */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { bytes, reasonOf, take, text } from "../../conformance/Harness.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withServers } from "../../support/limits.ts"
import { relay } from "../../support/network.ts"
import { cluster, isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body), { ttr: "1 hour" }))

/** A worker that waits for a job, and is known to wait. */
const waiting = Effect.fnUntraced(function*({ broker }: Effect.Success<ReturnType<typeof PostgresBroker.make>>) {
  const consumer = yield* broker.consume(["q"])
  const fiber = yield* Effect.forkChild(take(consumer))
  yield* eventually("a worker waits", Effect.map(broker.idleWorkers("q"), (count) => count === 1))
  return fiber
})

describe.skipIf(isMissing)("PostgreSQL, seen by a broker", () => {
  const server = sharedCluster()

  real("a demoted primary is left at its first refusal, and workers go along", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* cluster(), yield* cluster()]
      const readOnly = Effect.fnUntraced(function*({ psql }: typeof first, isReadOnly: boolean) {
        yield* psql(`ALTER SYSTEM SET default_transaction_read_only = ${isReadOnly ? "on" : "off"}`)
        yield* psql("SELECT pg_reload_conf()")
        const shown = Effect.map(psql("SHOW transaction_read_only"), (answer) => (answer === "on") === isReadOnly)
        yield* eventually("the setting is in force", shown)
      })
      yield* PostgresBroker.migrate({ url: second.url })
      yield* readOnly(second, true)
      const made = yield* PostgresBroker.make({
        hosts: [{ host: "127.0.0.1", port: first.port }, { host: "127.0.0.1", port: second.port }],
        user: "postgres",
        database: "postgres"
      })
      yield* made.broker.put("other", request("a"))
      const fiber = yield* waiting(made)
      yield* readOnly(second, false)
      yield* readOnly(first, true)
      const refused = yield* reasonOf(made.broker.put("q", request("b")))
      assert.include(refused, { _tag: "Unavailable", fate: "NotSent" })
      yield* made.broker.put("q", request("c"))
      assert.strictEqual(text(yield* Fiber.join(fiber)), "c")
      assert.strictEqual(yield* first.psql("SELECT count(*) FROM backq.job"), "1")
    }))

  real(
    "a server that is away is asked a few times a second, however many programs' fibers ask",
    () =>
      Effect.gen(function*() {
        const { port, start, stop } = yield* cluster()
        const way = yield* relay(port)
        const made = yield* PostgresBroker.make({ url: `postgres://postgres@127.0.0.1:${way.port}/postgres` })
        const fiber = yield* waiting(made)
        yield* stop("SIGQUIT")
        const before = way.connections()
        const from = yield* Clock.currentTimeMillis
        const refused = Effect.andThen(reasonOf(made.broker.put("q", request("a"))), Effect.sleep("1 millis"))
        const until = Effect.map(Clock.currentTimeMillis, (now) => now - from > 1500)
        yield* Effect.forEach(
          Array.from({ length: 50 }),
          () => Effect.repeat(Effect.andThen(refused, until), { until: (isOver) => isOver }),
          { concurrency: "unbounded", discard: true }
        )
        // Three sessions, each 50, 100, 200, 400 and then 500 ms apart, give or take.
        assert.isBelow(way.connections() - before, 40)
        yield* start
        yield* eventually(
          "a put works",
          Effect.map(Effect.result(made.broker.put("q", request("b"))), Result.isSuccess)
        )
        assert.strictEqual(text(yield* Fiber.join(fiber)), "b")
      })
  )

  real("a job that nobody told of is found by polling", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const fiber = yield* waiting(yield* PostgresBroker.make({ url, schema: "silent", poll: "200 millis" }))
      // Until the first looks are over.
      yield* Effect.sleep("700 millis")
      yield* psql(`INSERT INTO silent.job (queue, state, priority, ttr, body)
        SELECT id, 0, 1, 60000, 'a' FROM silent.queue WHERE name = 'q'`)
      const [took, lease] = yield* Effect.timed(Fiber.join(fiber))
      assert.strictEqual(text(lease), "a")
      assert.isBelow(Duration.toMillis(took), 1000)
    }))

  real("a listener that was lost listens again", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const options = { url, schema: "heard", poll: "1 hour" } as const
      const fiber = yield* waiting(yield* PostgresBroker.make(options))
      const publisher = yield* PostgresBroker.make(options)
      // The session that listens has the lock of its process.
      const listener = psql("SELECT string_agg(pid::text, ',') FROM pg_locks WHERE locktype = 'advisory'")
      const before = yield* listener
      yield* psql(`SELECT pg_terminate_backend(${before})`)
      yield* eventually("another listens", Effect.map(listener, (pid) => pid !== "" && pid !== before))
      // Until its first looks are over.
      yield* Effect.sleep("700 millis")
      yield* publisher.broker.put("q", request("a"))
      const [took, lease] = yield* Effect.timed(Fiber.join(fiber))
      assert.strictEqual(text(lease), "a")
      assert.isBelow(Duration.toMillis(took), 1000)
    }))

  real("what 64 fibers put in one turn is one statement, or two", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker } = yield* PostgresBroker.make({ url, schema: "grouped" })
      yield* broker.put("q", request("first"))
      yield* Effect.forEach(
        Array.from({ length: 64 }),
        () => broker.put("q", request("a")),
        { concurrency: "unbounded", discard: true }
      )
      // Each statement adds a row to the tally.
      const [statements, jobs] = (yield* psql("SELECT count(*), sum(jobs) FROM grouped.tally")).split("|").map(Number)
      assert.strictEqual(jobs, 65)
      assert.isAtMost(statements!, 3)
    }))
})
