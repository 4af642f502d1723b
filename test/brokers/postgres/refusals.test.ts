/** What servers and poolers refuse: each refusal is a typed error that says what to do, and loses nothing. */
import { assert, describe } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { writeFileSync } from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import { Broker, putRequest } from "../../../src/Broker.ts"
import type { BrokerErrorReason } from "../../../src/BrokerError.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { bytes, reasonOf, take, text, uniqueQueue } from "../../conformance/Harness.ts"
import { certificates } from "../../support/certificates.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withServers } from "../../support/limits.ts"
import { scripted } from "../../support/network.ts"
import { cluster, isMissing, real, shared } from "../../support/postgres.ts"

allow(withServers)

const request = (body: string) => Result.getOrThrow(putRequest(bytes(body), { ttr: "1 hour" }))

const refused = (options: PostgresBroker.Options) => reasonOf(Effect.scoped(PostgresBroker.make(options)))

const works = (options: PostgresBroker.Options) =>
  Effect.scoped(Effect.flatMap(PostgresBroker.make(options), ({ broker }) => broker.put("q", request("a"))))

/** Nothing was sent, and the message says what to do. */
const assertNotSent = (reason: BrokerErrorReason, says: RegExp) => {
  assert.include(reason, { _tag: "Unavailable", fate: "NotSent" })
  assert.match(reason.message, says)
}

const withEnvironment = (env: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))

/** Who may connect, and how. Everybody else is refused. */
const rules = `
hostssl all encrypted all trust
hostssl all certified all trust clientcert=verify-ca
host all keyed all scram-sha-256
host all postgres,crowd all trust
`

/** A server with TLS and these rules. */
const guarded = Effect.gen(function*() {
  const made = yield* certificates
  const server = yield* cluster({
    password: "of the superuser",
    files: {
      "server.crt": made.server.cert,
      "server.key": made.server.key,
      "ca.crt": made.ca,
      "hba.conf": rules
    },
    settings: [
      "ssl=on",
      "ssl_cert_file=../server.crt",
      "ssl_key_file=../server.key",
      "ssl_ca_file=../ca.crt",
      // Unlike the others it is looked for where the server starts.
      "hba_file=hba.conf"
    ]
  })
  const urlOf = (user: string, host = "127.0.0.1") => `postgres://${user}@${host}:${server.port}/postgres`
  const workers = ["encrypted", "certified", "keyed", "crowd"]
  yield* server.psql([...workers, "stranger"].map((role) => `CREATE ROLE ${role} LOGIN PASSWORD 'right'`).join(";"))
  yield* PostgresBroker.migrate({ url: urlOf("postgres"), workers })
  return { ...server, made, urlOf }
})

describe.skipIf(isMissing)("a server refuses", () => {
  const server = shared(guarded)

  real("a wrong password, and no message shows it", () =>
    Effect.gen(function*() {
      const { urlOf } = server()
      const failure = yield* Effect.flip(PostgresBroker.make({ url: urlOf("keyed:verysecret") }))
      assertNotSent(failure.reason, /check user and password/)
      assert.notInclude(JSON.stringify(failure) + failure.message + String(failure.stack), "verysecret")
      assertNotSent(yield* refused({ url: urlOf("keyed") }), /set PGPASSWORD, or give it in the URL/)
      assertNotSent(yield* refused({ url: urlOf("").replace("@", "") }), /name the user in the URL, as in postgres:/)
      const { broker } = yield* PostgresBroker.make({ url: urlOf("keyed:right") })
      assert.notInclude(broker.name, "right")
    }))

  real("no password of the URL, the option, or else PGPASSWORD", () =>
    Effect.gen(function*() {
      const { urlOf } = server()
      yield* withEnvironment({ PGPASSWORD: "right" })(works({ url: urlOf("keyed") }))
      yield* withEnvironment({ PGPASSWORD: "wrong" })(works({ url: urlOf("keyed:right") }))
      const password = Redacted.make("right")
      yield* withEnvironment({ PGPASSWORD: "wrong" })(works({ url: urlOf("keyed"), password }))
      assertNotSent(
        yield* withEnvironment({ PGPASSWORD: "wrong" })(refused({ url: urlOf("keyed") })),
        /check user and password/
      )
    }))

  real("no password that changed: it is asked for at every connect", () =>
    Effect.gen(function*() {
      const { psql, urlOf } = server()
      let current = "right"
      let asked = 0
      const password = Effect.sync(() => {
        asked++
        return Redacted.make(current)
      })
      const { broker } = yield* PostgresBroker.make({ url: urlOf("keyed"), password })
      const queue = uniqueQueue()
      const consumer = yield* broker.consume([queue])
      const waiting = yield* Effect.forkChild(take(consumer))
      yield* eventually("a worker waits", Effect.map(broker.idleWorkers(queue), (count) => count === 1))
      current = "rotated"
      const before = asked
      yield* psql(
        "ALTER ROLE keyed PASSWORD 'rotated'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyed'"
      )
      yield* eventually("a put works", Effect.map(Effect.result(broker.put(queue, request("a"))), Result.isSuccess))
      assert.strictEqual(text(yield* Fiber.join(waiting)), "a")
      assert.isAtLeast(asked - before, 2)
      yield* psql("ALTER ROLE keyed PASSWORD 'right'")
    }))

  real(
    "who is in no line of pg_hba.conf, who comes without TLS, and who shows no certificate",
    () =>
      Effect.gen(function*() {
        const { made, urlOf } = server()
        assertNotSent(yield* refused({ url: urlOf("stranger") }), /pg_hba\.conf.*user "stranger"/)
        assertNotSent(
          yield* refused({ url: urlOf("encrypted") }),
          /pg_hba\.conf, and sslmode in the URL.*no encryption/
        )
        yield* works({ url: urlOf("encrypted"), sslmode: "require" })
        const url = urlOf("certified", "localhost")
        const { cert, key } = made.client
        const tls = { ca: made.ca }
        assertNotSent(yield* refused({ url, sslmode: "verify-full", tls }), /cert=FILE and key=FILE/)
        yield* works({ url, sslmode: "verify-full", tls: { ...tls, cert, key: Redacted.make(key) } })
      })
  )

  real("a database that is not there", () =>
    Effect.gen(function*() {
      const url = server().urlOf("crowd").replace(/postgres$/, "nowhere")
      assertNotSent(yield* refused({ url }), /create the database, or name another/)
    }))

  real("one connection too many, and workers go on as soon as there is room", () =>
    Effect.gen(function*() {
      const { psql, urlOf } = server()
      const url = urlOf("crowd")
      const { broker } = yield* PostgresBroker.make({ url })
      const queue = uniqueQueue()
      const consumer = yield* broker.consume([queue])
      const waiting = yield* Effect.forkChild(take(consumer))
      yield* eventually("a worker waits", Effect.map(broker.idleWorkers(queue), (count) => count === 1))
      yield* psql(
        "ALTER ROLE crowd CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'crowd'"
      )
      assertNotSent(yield* refused({ url }), /up to 3 connections for each process: raise max_connections/)
      yield* eventually(
        "its sessions are gone",
        Effect.map(reasonOf(broker.put(queue, request("a"))), (reason) =>
          reason._tag === "Unavailable" && reason.fate === "NotSent" &&
          reason.message.includes("raise max_connections"))
      )
      assert.isUndefined(waiting.pollUnsafe())
      yield* psql("ALTER ROLE crowd CONNECTION LIMIT -1")
      yield* eventually("a put works", Effect.map(Effect.result(broker.put(queue, request("b"))), Result.isSuccess))
      assert.strictEqual(text(yield* Fiber.join(waiting)), "b")
    }))
})

/** What a server says, with the number of version 12 in place of its own. Returns the port. */
const older = Effect.fnUntraced(function*(port: number, version: number) {
  const [now, then] = [version, 120_022].map((number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(number)
    return bytes
  })
  return yield* scripted((inner) => {
    const outer = Net.connect(port, "127.0.0.1")
    inner.pipe(outer)
    outer.on("data", (data) => {
      const at = data.indexOf(now!)
      if (at >= 0) then!.copy(data, at)
      inner.write(data)
    })
    outer.on("close", () => inner.destroy())
    inner.on("close", () => outer.destroy())
  })
})

describe.skipIf(isMissing)("a program refuses", () => {
  const server = shared(cluster({ settings: ["max_connections=8", "superuser_reserved_connections=3"] }))

  const through = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`

  real("a server without TLS, where it is asked for", () =>
    Effect.gen(function*() {
      const { url } = server()
      for (const sslmode of ["require", "verify-ca", "verify-full"] as const) {
        assertNotSent(yield* refused({ url, sslmode }), /turn TLS on in the server, or set sslmode=disable/)
      }
    }))

  real("a server that is older than 13", () =>
    Effect.gen(function*() {
      const { port, psql } = server()
      const old = yield* older(port, Number(yield* psql("SHOW server_version_num")))
      const reason = yield* refused({ url: through(old), schema: "elder" })
      assert.include(reason, { _tag: "Unsupported" })
      assert.match(reason.message, /13 or newer: upgrade the server/)
      assert.strictEqual(yield* psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'elder'"), "0")
    }))

  real("a body above the limit, and the job before it stays", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const { broker } = yield* PostgresBroker.make({ url, schema: "limited", maxJobSize: 1000 })
      yield* broker.put("q", request("a".repeat(1000)))
      const reason = yield* reasonOf(broker.put("q", request("a".repeat(1001))))
      assert.strictEqual(reason._tag, "JobTooBig")
      assert.include(reason.message, "max-job-size")
      assert.strictEqual(yield* psql("SELECT count(*) FROM limited.job"), "1")
    }))

  real("max_connections is reached: says how many connections it needs", () =>
    Effect.gen(function*() {
      const { psql, urlOf } = server()
      yield* psql("CREATE ROLE guest LOGIN; GRANT CREATE ON DATABASE postgres TO guest")
      // Each of these holds one of the five connections that are not kept for superusers.
      yield* Effect.forEach([1, 2, 3, 4, 5], () =>
        PostgresBroker.make({ url: urlOf("guest"), schema: "held" }).pipe(
          Effect.tap(({ broker }) => broker.ping)
        ))
      assertNotSent(
        yield* refused({ url: urlOf("guest"), schema: "held" }),
        /up to 3 connections.*raise max_connections/
      )
    }))

  // The last, since the server takes no writes after it.
  real("a read-only replica, and workers go on at its promotion", () =>
    Effect.gen(function*() {
      const { folder, psql, start, stop, url } = server()
      const { broker } = yield* PostgresBroker.make({ url, schema: "copied" })
      yield* broker.put("q", request("a"))
      const consumer = yield* broker.consume(["q"])
      yield* take(consumer)
      const waiting = yield* Effect.forkChild(take(consumer))
      yield* stop("SIGINT")
      writeFileSync(join(folder, "data", "standby.signal"), "")
      yield* start
      assertNotSent(yield* refused({ url, schema: "copied" }), /a standby or read-only: name the primary, or all hosts/)
      assertNotSent(yield* reasonOf(broker.put("q", request("b"))), /name the primary/)
      assert.isUndefined(waiting.pollUnsafe())
      yield* psql("SELECT pg_promote()")
      yield* eventually("a put works", Effect.map(Effect.result(broker.put("q", request("c"))), Result.isSuccess))
      assert.strictEqual(text(yield* Fiber.join(waiting)), "c")
    }))
})

describe.skipIf(isMissing)("PostgresBroker.layerConfig", () => {
  const server = shared(cluster())

  const layer = PostgresBroker.layerConfig({
    url: Config.Redacted("DATABASE_URL"),
    schema: Config.String("SCHEMA"),
    migrate: Config.Boolean("MIGRATE"),
    history: Config.Duration("HISTORY")
  })

  real("reads every option from the configuration", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      const env = { DATABASE_URL: url, SCHEMA: "configured", MIGRATE: "true", HISTORY: "1 hour" }
      const used = Broker.use((broker) => Effect.as(broker.put("q", request("a")), broker))
      const broker = yield* Effect.provide(used, layer).pipe(withEnvironment(env))
      assert.include(broker.name, "?schema=configured")
      assert.isTrue(broker.features.keepsDone)
      assert.strictEqual(yield* psql("SELECT count(*) FROM configured.job"), "1")
      const absent = Effect.provide(used, layer).pipe(withEnvironment({ ...env, SCHEMA: "absent", MIGRATE: "false" }))
      assert.include(String(yield* Effect.flip(absent)), "run backq migrate")
    }))

  real("names a variable that is missing or wrong", () =>
    Effect.gen(function*() {
      const env = { DATABASE_URL: server().url, SCHEMA: "configured", MIGRATE: "true", HISTORY: "1 hour" }
      const failing = (env: Record<string, string>) =>
        Effect.map(Effect.flip(Effect.provide(Broker, layer).pipe(withEnvironment(env))), String)
      const { DATABASE_URL: _, ...rest } = env
      assert.include(yield* failing(rest), "DATABASE_URL")
      assert.include(yield* failing({ ...env, HISTORY: "long" }), "HISTORY")
      assert.include(yield* failing({ ...env, SCHEMA: "No" }), "schema must be")
    }))
})
