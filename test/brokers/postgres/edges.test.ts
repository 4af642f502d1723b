/** What becomes of jobs when the server, the connection or a process ends. */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { type Consumer, putRequest } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { currentVersion } from "../../../src/brokers/postgres/schema.ts"
import { bytes, done, reasonOf, take, text, uniqueQueue } from "../../conformance/Harness.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { relay } from "../../support/network.ts"
import { cluster, isMissing, real } from "../../support/postgres.ts"

allow(withPrograms)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body), { ttr: "1 hour" }))

/** What a machine that has much else to do may take longer. */
const slack = 1.5

const through = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`

/** A process that holds jobs. Comes back when it has them. */
const holder = Effect.fnUntraced(function*(url: string, queue: string, max: number) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [join(import.meta.dirname, "child.ts"), url, queue, String(max)], {
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const count = yield* Effect.callback<number>((resume) => {
    child.stdout.once("data", (data: Buffer) => resume(Effect.succeed(Number(data.toString()))))
  })
  return { child, count }
})

const waitFor = <A, E, R>(ask: Effect.Effect<A, E, R>, wanted: (answer: A) => boolean) =>
  ask.pipe(
    Effect.tap(() => Effect.sleep("20 millis")),
    Effect.repeat({ until: wanted, times: 1000 }),
    Effect.tap((answer) => Effect.sync(() => assert.isTrue(wanted(answer))))
  )

describe.skipIf(isMissing)("PostgresBroker when something ends", () => {
  real(
    "a killed worker's jobs are ready again within 2 seconds, those of a machine that was cut off within 10",
    () =>
      Effect.gen(function*() {
        const server = yield* cluster()
        const way = yield* relay(server.port)
        const { broker } = yield* PostgresBroker.make({ url: server.url })
        const kinds = ["killed", "cut"] as const
        yield* Effect.forEach(kinds, (queue) => broker.putAll(queue, ["a", "b", "c"].map(request)))
        const { child } = yield* holder(server.url, "killed", 3)
        yield* holder(through(way.port), "cut", 3)
        const waiting = yield* Effect.forEach(kinds, (queue) =>
          Effect.flatMap(broker.consume([queue]), (consumer) =>
            Effect.forkChild(Effect.timed(consumer.reserve(3)))))
        // Nobody is judged in the first 5 seconds.
        yield* Effect.sleep("5500 millis")
        const from = yield* Clock.currentTimeMillis
        const since = Effect.map(Clock.currentTimeMillis, (now) =>
          now - from)
        child.kill("SIGKILL")
        yield* way.hold
        const [killed, cutOff] = waiting
        const [, leases] = yield* Fiber.join(killed!)
        assert.isBelow(yield* since, 2000 * slack)
        assert.strictEqual(leases.length, 3)
        assert.include(leases[0].info, { attempt: 2, abandoned: 1 })
        yield* Fiber.join(cutOff!)
        assert.isBelow(yield* since, 10_000)
      })
  )

  real("a job of another process starts at once, and is counted as waited for there", () =>
    Effect.gen(function*() {
      const { url } = yield* cluster()
      const worker = yield* PostgresBroker.make({ url })
      const publisher = yield* PostgresBroker.make({ url })
      const consumer = yield* worker.broker.consume(["q"])
      const fiber = yield* Effect.forkChild(consumer.reserve(1))
      yield* waitFor(publisher.broker.idleWorkers("q"), (count) => count === 1)
      // Until its looks are a second apart.
      yield* Effect.sleep("1500 millis")
      yield* publisher.broker.put("q", request("a"))
      const [took] = yield* Effect.timed(Fiber.join(fiber))
      assert.isBelow(Duration.toMillis(took), 600)
    }))

  real("a process that ended is not counted as one with idle workers, and leaves no row", () =>
    Effect.gen(function*() {
      const { psql, url } = yield* cluster()
      const publisher = yield* PostgresBroker.make({ url })
      const idle = publisher.broker.idleWorkers("q")
      yield* Effect.scoped(Effect.gen(function*() {
        const { broker } = yield* PostgresBroker.make({ url })
        const consumer = yield* broker.consume(["q"])
        yield* Effect.forkScoped(consumer.reserve(1))
        yield* waitFor(idle, (count) => count === 1)
      }))
      assert.strictEqual(yield* idle, 0)
      assert.strictEqual(yield* psql("SELECT count(*) FROM backq.process"), "0")
    }))

  real(
    "a dead process that nobody has found yet is not counted as one with idle workers",
    () =>
      Effect.gen(function*() {
        const { psql, url } = yield* cluster()
        const { broker, inspector } = yield* PostgresBroker.make({ url })
        yield* broker.put("q", request("a"))
        // What a process leaves behind that was killed while its worker waited.
        yield* psql(`INSERT INTO backq.process SELECT 77, clock_timestamp() - interval '1 second'`)
        yield* psql(`INSERT INTO backq.waiting SELECT 77, id, 3 FROM backq.queue`)
        assert.strictEqual(yield* broker.idleWorkers("q"), 0)
        assert.include(yield* inspector.statsQueue("q"), { idleWorkers: 0 })
        assert.include(yield* inspector.stats, { idleWorkers: 0 })
      })
  )

  real(
    "a process that ends with jobs in its hands is still known to those that take them back",
    () =>
      Effect.gen(function*() {
        const { psql, url } = yield* cluster()
        const leases = yield* Effect.scoped(Effect.gen(function*() {
          const scope = yield* Scope.make()
          const { broker } = yield* Scope.provide(PostgresBroker.make({ url }), scope)
          const consumer = yield* broker.consume(["q"])
          yield* broker.put("q", request("a"))
          const leases = yield* consumer.reserve(1)
          yield* Scope.close(scope, Exit.void)
          return leases
        }))
        assert.strictEqual(leases.length, 1)
        assert.strictEqual(yield* psql("SELECT count(*) FROM backq.process JOIN backq.job ON holder = process.id"), "1")
      })
  )

  real(
    "a server that is killed and started again loses nothing, and workers go on by themselves",
    () =>
      Effect.gen(function*() {
        const server = yield* cluster({ settings: ["fsync=on"] })
        const { broker, inspector } = yield* PostgresBroker.make({ url: server.url })
        const consumer = yield* broker.consume(["q"])
        yield* broker.put("q", request("held"))
        const lease = yield* take(consumer)
        const waiting = yield* Effect.forkChild(take(consumer))
        // A reserve does not wait for the disk.
        yield* Effect.sleep("1500 millis")
        yield* server.stop("SIGQUIT")
        const away = yield* reasonOf(broker.put("q", request("lost?")))
        assert.strictEqual(away._tag, "Unavailable")
        yield* server.start
        yield* waitFor(Effect.result(broker.put("q", request("after"))), Result.isSuccess)
        assert.strictEqual(text(yield* Fiber.join(waiting)), "after")
        yield* done(consumer, lease)
        assert.include(yield* inspector.statsQueue("q"), { ready: 0, reserved: 1, total: 2 })
      })
  )

  real("a connection that is cut is opened again, and leases hold", () =>
    Effect.gen(function*() {
      const server = yield* cluster()
      const way = yield* relay(server.port)
      const { broker } = yield* PostgresBroker.make({ url: through(way.port) })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      for (let i = 0; i < 3; i++) {
        yield* way.cut
        yield* waitFor(Effect.result(broker.ping), Result.isSuccess)
      }
      yield* done(consumer, lease)
      yield* broker.put("q", request("b"))
      yield* done(consumer, yield* take(consumer))
    }))

  real(
    "a session that the server ends is an unknown fate at most, and the next operation works",
    () =>
      Effect.gen(function*() {
        const server = yield* cluster()
        const { broker } = yield* PostgresBroker.make({ url: server.url })
        yield* broker.put("q", request("a"))
        yield* server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backq'")
        yield* waitFor(Effect.result(broker.put("q", request("b"))), Result.isSuccess)
      })
  )

  real("a worker gives up when the server is away for longer than reconnectFor", () =>
    Effect.gen(function*() {
      const server = yield* cluster()
      const { broker } = yield* PostgresBroker.make({ url: server.url, reconnectFor: "300 millis" })
      const consumer = yield* broker.consume(["q"])
      const fiber = yield* Effect.forkChild(reasonOf(consumer.reserve(1)))
      yield* Effect.sleep("100 millis")
      yield* server.stop("SIGQUIT")
      const reason = yield* Effect.timeout(Fiber.join(fiber), "10 seconds")
      assert.include(reason, { _tag: "Unavailable", fate: "NotSent" })
    }))

  real("a consumer that closes while the server is away does not wait for it for long", () =>
    Effect.gen(function*() {
      const server = yield* cluster()
      const { broker } = yield* PostgresBroker.make({ url: server.url })
      const scope = yield* Scope.make()
      const consumer: Consumer = yield* Scope.provide(broker.consume(["q"]), scope)
      yield* broker.put("q", request("a"))
      yield* take(consumer)
      yield* server.stop("SIGQUIT")
      const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(Duration.toMillis(took), 4000)
    }))

  real("twelve programs that start together find one schema", () =>
    Effect.gen(function*() {
      const { psql, url } = yield* cluster()
      const made = yield* Effect.all(
        Array.from({ length: 12 }, () => PostgresBroker.make({ url, schema: "jobs" })),
        { concurrency: "unbounded" }
      )
      yield* Effect.forEach(made, ({ broker }) => broker.put("q", request("a")), { concurrency: "unbounded" })
      assert.strictEqual(yield* psql("SELECT count(*) FROM jobs.job"), "12")
      assert.strictEqual(yield* psql("SELECT version FROM jobs.meta"), String(currentVersion))
    }))
})

describe.skipIf(isMissing)("PostgresBroker refuses", () => {
  const refused = (options: PostgresBroker.Options) => reasonOf(Effect.scoped(PostgresBroker.make(options)))

  real("a server that is not there", () =>
    Effect.gen(function*() {
      assert.include((yield* refused({ url: through(1) })).message, "the connection was refused")
    }))

  real("a server that takes no writes, and finds the one of several that does", () =>
    Effect.gen(function*() {
      const standby = yield* cluster({ settings: ["default_transaction_read_only=on"] })
      const primary = yield* cluster()
      assert.include((yield* refused({ url: standby.url })).message, "name the primary")
      const url = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`
      const { broker } = yield* PostgresBroker.make({ url })
      yield* broker.put("q", request("a"))
      assert.strictEqual(yield* primary.psql("SELECT count(*) FROM backq.job"), "1")
    }))

  real("names that could be SQL", () =>
    Effect.gen(function*() {
      for (const schema of ["a\"b", "", "1a", "A", "x".repeat(49)]) {
        assert.include(yield* refused({ url: through(1), schema }), { _tag: "OptionInvalid", option: "schema" })
      }
      const { url } = yield* cluster()
      const { broker } = yield* PostgresBroker.make({ url })
      assert.strictEqual((yield* reasonOf(broker.put("'; DROP", request("a"))))._tag, "QueueNameInvalid")
      yield* broker.put(uniqueQueue(), request("a"))
    }))
})
