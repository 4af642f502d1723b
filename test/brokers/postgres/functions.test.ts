/** What other languages publish by SQL is what workers take. */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Broker, JobId } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { Envelope, Inspector, Job, Publisher, Worker } from "../../../src/index.ts"
import { take, text } from "../../conformance/Harness.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const literal = (value: string): string => `'${value.replaceAll("'", "''")}'`

/** Payloads as JSON, and as a worker has to see them where that differs. */
const payloads: ReadonlyArray<string> = [
  "null",
  "true",
  "0",
  "\"\"",
  "[]",
  "{}",
  JSON.stringify({ name: "Zoë \"Ωmega\" 🚀 \\ / \b\f\n\r\t \u007f \u2028 '; DROP TABLE job; --" }),
  JSON.stringify({ deep: [[[{ a: [1, "b", null, false] }]]] }),
  "{\"big\": 123456789012345678901234567890, \"small\": 0.12345678901234567890123456789, \"exact\": 9007199254740993}",
  JSON.stringify({ long: "é".repeat(60_000) })
]

const envelopeOf = (body: Uint8Array) => Result.getOrThrow(Envelope.decode(body))

const put = (schema: string, rest: string) => `SELECT ${schema}.put(${rest})`

describe.skipIf(isMissing)("the functions of PostgreSQL", () => {
  const server = sharedCluster()

  real("publish makes the envelope that a worker decodes, whatever is in it", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker } = yield* PostgresBroker.make({ url, schema: "envelopes", maxJobSize: 1_000_000 })
      const consumer = yield* broker.consume(["q"])
      const before = Date.now()
      for (const payload of payloads) {
        yield* psql(`SELECT envelopes.publish('q', 'a "job" 🚀', ${literal(payload)})`)
      }
      for (const payload of payloads) {
        const { body } = yield* take(consumer)
        const envelope = envelopeOf(body)
        assert.strictEqual(envelope.job, "a \"job\" 🚀")
        assert.deepStrictEqual(envelope.payload, JSON.parse(payload))
        // The digits of numbers are as they were published.
        const exact = JSON.stringify(Envelope.exactPayload(body, envelope))
        for (const digits of payload.match(/\d{10,}/g) ?? []) assert.include(exact, digits)
        assert.match(envelope.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        const millis = parseInt(envelope.id.replaceAll("-", "").slice(0, 12), 16)
        assert.strictEqual(envelope.publishedAt, millis)
        assert.isAtLeast(millis, before)
        assert.isAtMost(millis, Date.now())
        assert.isUndefined(envelope.version)
      }
    }))

  real("publish takes null for what is left out, and an id and a version", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker, inspector } = yield* PostgresBroker.make({ url, schema: "defaults" })
      const consumer = yield* broker.consume(["q"])
      const id = yield* psql("SELECT defaults.publish('q', 'job', NULL, NULL, NULL, NULL, NULL, NULL)")
      const stats = yield* inspector.statsJob(JobId.make(id))
      assert.include(stats, { queue: "q", state: "ready", priority: 1024, attempt: 0 })
      const lease = yield* take(consumer)
      assert.strictEqual(Duration.toSeconds(lease.info!.ttr), 60)
      assert.isNull(envelopeOf(lease.body).payload)
      yield* psql(
        "SELECT defaults.publish('q', 'job', '1', priority => 7, ttr => '1.5 s', id => 'order\"1', version => 3)"
      )
      const other = yield* take(consumer)
      assert.include(envelopeOf(other.body), { id: "order\"1", version: 3 })
      assert.include(other.info, { priority: 7 })
      assert.strictEqual(Duration.toMillis(other.info!.ttr), 1500)
      yield* psql("SELECT defaults.publish('later', 'job', delay => '1 day')")
      const [delayed] = (yield* inspector.list("later", { state: "delayed" })).jobs
      assert.isAtMost(Math.abs(Duration.toMillis(delayed!.timeLeft) - 86_400_000), 60_000)
    }))

  real("put takes any bytes", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker, inspector } = yield* PostgresBroker.make({ url, schema: "bytes" })
      const consumer = yield* broker.consume(["q"])
      yield* psql(put("bytes", "'q', '\\x00ff0a'"))
      assert.deepStrictEqual(Array.from((yield* take(consumer)).body), [0, 255, 10])
      yield* psql(put("bytes", "'q', ''"))
      assert.strictEqual(text(yield* take(consumer)), "")
      assert.include(yield* inspector.statsQueue("q"), { total: 2, reserved: 2 })
    }))

  real("a worker of this package runs a job that psql published", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const Welcome = Job.make("welcome", {
        payload: Schema.Struct({ name: Schema.String, since: Schema.Date, amount: Schema.BigInt })
      })
      const seen: Array<unknown> = []
      const outcomes = yield* Effect.gen(function*() {
        yield* Inspector.Inspector
        yield* psql(`SELECT worked.publish('welcome', 'welcome',
          '{"name": "Zoë", "since": "2026-01-02T03:04:05.000Z", "amount": "12345678901234567890"}')`)
        return yield* Stream.runCollect(Worker.stream(
          { maxJobs: 1 },
          Worker.handler(Welcome, (payload) => Effect.sync(() => void seen.push(payload)))
        ))
      }).pipe(Effect.provide(Publisher.layer.pipe(Layer.provideMerge(PostgresBroker.layer({ url, schema: "worked" })))))
      assert.deepStrictEqual(Array.from(outcomes, ({ _tag }) => _tag), ["Done"])
      assert.deepStrictEqual(seen, [
        { name: "Zoë", since: new Date("2026-01-02T03:04:05.000Z"), amount: 12345678901234567890n }
      ])
    }))

  real(
    "a job exists if and only if the caller's transaction committed, and then wakes a worker",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* Effect.gen(function*() {
          const broker = yield* Broker
          const inspector = yield* Inspector.Inspector
          yield* psql("BEGIN; SELECT joined.publish('q', 'undone'); SELECT joined.put('q', 'undone'); ROLLBACK")
          assert.strictEqual(yield* psql("SELECT count(*) FROM joined.job"), "0")
          const consumer = yield* broker.consume(["q"])
          const waiting = yield* Effect.forkChild(take(consumer))
          // Until its looks are a second apart.
          yield* Effect.sleep("1500 millis")
          yield* psql("BEGIN; SELECT joined.publish('q', 'kept'); SELECT joined.publish('q', 'kept'); COMMIT")
          const [took, lease] = yield* Effect.timed(Fiber.join(waiting))
          assert.isBelow(Duration.toMillis(took), 600)
          assert.strictEqual(envelopeOf(lease.body).job, "kept")
          assert.include(yield* inspector.statsQueue("q"), { total: 2 })
        }).pipe(Effect.provide(PostgresBroker.layer({ url, schema: "joined" })))
      })
  )

  real("what a publisher of this package would refuse is refused, with the same limits", () =>
    Effect.gen(function*() {
      const { psql, refused, url } = server()
      yield* Effect.scoped(PostgresBroker.make({ url, schema: "strict" }))
      const bad: Record<string, string> = {
        "NULL, 'a'": "queue must be",
        "'', 'a'": "queue must be",
        "'-q', 'a'": "queue must be",
        "'ä', 'a'": "queue must be",
        "E'a\\nb', 'a'": "queue must be",
        [`'${"q".repeat(201)}', 'a'`]: "queue must be",
        "'q', NULL": "body must be",
        "'q', 'a', '-1 s'": "delay must be from 0 to 4294967295 seconds, not -00:00:01",
        "'q', 'a', '200 years'": "delay must be",
        "'q', 'a', priority => -1": "priority must be from 0 to 4294967295, not -1",
        "'q', 'a', priority => 4294967296": "priority must be",
        "'q', 'a', ttr => '0'": "ttr must be more than 0",
        "'q', 'a', ttr => '200 years'": "ttr must be"
      }
      for (const [call, message] of Object.entries(bad)) {
        assert.include(yield* refused(put("strict", call)), `ERROR:  ${message}`)
      }
      assert.include(yield* refused("SELECT strict.publish('q', NULL, '1')"), "job must be")
      yield* psql(put("strict", `'${"q".repeat(200)}', 'a', priority => 4294967295, delay => '136 years'`))
      assert.strictEqual(yield* psql("SELECT count(*) FROM strict.job"), "1")
    }))
})
