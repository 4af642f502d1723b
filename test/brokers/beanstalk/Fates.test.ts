/** The result of a failed command: `Unknown` only if its bytes may have reached the server. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import { Broker, type JobId, putRequest } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Client from "../../../src/brokers/beanstalk/Client.ts"
import type { Driver } from "../../../src/brokers/beanstalk/Connection.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import type { Services } from "../../../src/Inspector.ts"
import * as Job from "../../../src/Job.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { blocking } from "../../support/blocking.ts"
import { certificates } from "../../support/certificates.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

const request = (body: string | Uint8Array) =>
  Result.getOrThrow(putRequest(typeof body === "string" ? Buffer.from(body) : body))

const fateOf = (error: BrokerError) => "fate" in error.reason ? error.reason.fate : error.reason._tag

const fate = <A, R>(effect: Effect.Effect<A, BrokerError, R>) => Effect.map(Effect.flip(effect), fateOf)

const mail = Job.make("mail", { payload: Schema.String, queue: "q" })
const publishWithWorkers = (broker: Broker["Service"]) =>
  Effect.provideService(
    Effect.flatMap(Publisher.make, (publisher) => publisher.publish(mail, "a", { requireWorkers: true })),
    Broker,
    broker
  )

const drivers = [["native", Native.driver], ["fivebeans", Fivebeans.driver]] as const

const short = { connectTimeout: "300 millis", replyTimeout: "200 millis" } as const

/** Nobody who waits for such a server, or comes between two attempts, has sent anything. */
const nothingWasSent = Effect.fnUntraced(function*(driver: Driver) {
  const { broker, inspector } = yield* BeanstalkBroker.make(driver, { reconnectFor: 0 })
  const waiting = yield* Effect.all(
    [
      fate(broker.put("q", request("a"))),
      Effect.map(broker.putAll("q", [request("a")]), ([result]) => fateOf(Result.getOrThrow(Result.flip(result!)))),
      fate(broker.ping),
      fate(inspector.queues),
      fate(inspector.kick("q", 1)),
      fate(inspector.moveJob("1" as JobId, "r"))
    ],
    { concurrency: "unbounded" }
  )
  assert.deepStrictEqual([...new Set(waiting)], ["NotSent"])
  // the next attempt is yet to come, or under way
  assert.strictEqual(yield* fate(broker.put("q", request("a"))), "NotSent")
  assert.strictEqual(yield* fate(Client.make(driver)), "NotSent")
  const reserving = Effect.flatMap(broker.consume(["q"]), (consumer) => consumer.reserve(1))
  assert.strictEqual(yield* fate(reserving), "NotSent")
}, Effect.provide(Logger.layer([])))

const later = (socket: Net.Socket, reply: () => void) => socket.once("data", reply)

const servers: ReadonlyArray<readonly [string, Network.Script]> = [
  ["a proxy that accepts and closes, because its server is down", (socket) => socket.end()],
  ["a server that resets", (socket) => socket.resetAndDestroy()],
  ["a server that closes after a request", (socket) => later(socket, () => socket.end())],
  ["a server that resets after a request", (socket) => later(socket, () => socket.resetAndDestroy())],
  ["a server that closes in the middle of an answer", (socket) => later(socket, () => socket.end("OK 900\r\n---\n"))],
  ["a silent server", (socket) => socket.resume()],
  ["an HTTP server", (socket) => later(socket, () => socket.end("HTTP/1.1 503 Service Unavailable\r\n\r\n"))],
  ["garbage", (socket) => later(socket, () => socket.write("WHATEVER\r\n"))],
  ["unreadable statistics", (socket) => later(socket, () => socket.write(Servers.ok("nonsense")))],
  ["out of memory", (socket) => later(socket, () => socket.write("INTERNAL_ERROR\r\n"))]
]

describe("before anything was sent", () => {
  for (const [name, driver] of drivers) {
    it.live.each(servers)(`${name}: %s`, ([, script]) =>
      Effect.gen(function*() {
        yield* nothingWasSent(driver({ port: yield* Network.scripted(script), ...short }))
      }))

    it.live(`${name}: a closed port and an unknown host are NotSent`, () =>
      Effect.gen(function*() {
        yield* nothingWasSent(driver({ port: yield* Network.freePort, ...short }))
        yield* nothingWasSent(driver({ host: "no-such-host.invalid", ...short }))
      }))
  }

  const overTls = Effect.fnUntraced(function*(options: Tls.TlsOptions) {
    const server = Tls.createServer(options, (socket) => socket.on("error", () => {}).resume())
    server.on("tlsClientError", () => {})
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    return (server.address() as Net.AddressInfo).port
  })

  it.live("native: over TLS", () =>
    Effect.gen(function*() {
      const certs = yield* certificates
      const port = yield* overTls(certs.server)
      const strict = yield* overTls({ ...certs.server, ca: certs.ca, requestCert: true, rejectUnauthorized: true })
      const silent = yield* Network.scripted((socket) => socket.resume())
      const closing = yield* Network.scripted((socket) => socket.end())
      const cases: ReadonlyArray<readonly [string, Driver]> = [
        ["a certificate that is refused", Native.driver({ host: "localhost", port, tls: {}, ...short })],
        ["a certificate for another name", Native.driver({ port, tls: { ca: certs.ca }, ...short })],
        [
          "our certificate is missing",
          Native.driver({ host: "localhost", port: strict, tls: { ca: certs.ca }, ...short })
        ],
        ["plain TCP to a TLS port", Native.driver({ port, ...short })],
        ["TLS to a plain port", Native.driver({ port: silent, tls: {}, ...short })],
        ["TLS to a proxy that closes", Native.driver({ port: closing, tls: {}, ...short })]
      ]
      for (const [what, driver] of cases) {
        yield* Effect.scoped(nothingWasSent(driver)).pipe(
          Effect.catchDefect((defect) => Effect.die(new Error(what, { cause: defect })))
        )
      }
    }))
})

describe("a query before a change", () => {
  const asks: ReadonlyArray<readonly [string, string, (services: Services) => Effect.Effect<unknown, unknown>]> = [
    ["publish, are there workers", "stats-tube", ({ broker }) => publishWithWorkers(broker)],
    ["buryJob, where the job is", "stats-job", ({ inspector }) => inspector.buryJob("7" as JobId, "")],
    ["moveJob, where the job is", "stats-job", ({ inspector }) => inspector.moveJob("7" as JobId, "q")]
  ]
  for (const [name, driver] of drivers) {
    it.live.each(asks)(
      `${name}: without an answer leaves all unchanged: %s`,
      ([, question, ask]) =>
        Effect.gen(function*() {
          for (const end of ["cut", "silence", "nonsense"] as const) {
            const { port, told } = yield* Servers.answering((line, socket) => {
              if (!line.startsWith(question)) return undefined
              if (end === "cut") socket.resetAndDestroy()
              return end === "nonsense" ? Servers.ok("nonsense") : undefined
            })
            const services = yield* BeanstalkBroker.make(driver({ port, ...short }))
            const error = yield* Effect.flip(ask(services))
            assert.strictEqual(fateOf(error as BrokerError), "NotSent", end)
            assert.notInclude(String((error as BrokerError).message), "may or may not", end)
            assert.deepStrictEqual(told.filter((line) => /^(put|bury|reserve|delete)/.test(line)), [])
          }
        })
    )
  }
})

describe("a command that was written before the connection ended", () => {
  /** Cuts the connection when a line comes that begins in a certain way. */
  const cutAt = (beginning: string, before: (line: string) => string | undefined = () => undefined) =>
    Servers.answering((line, socket) => {
      if (line.startsWith(beginning)) socket.resetAndDestroy()
      return line.startsWith("use ") ? "USING q\r\n" : before(line)
    })

  for (const [name, driver] of drivers) {
    it.live(`${name}: is Unknown`, () =>
      Effect.gen(function*() {
        const { port } = yield* cutAt("put ")
        const { broker, inspector } = yield* BeanstalkBroker.make(driver({ port }))
        yield* inspector.stats
        assert.strictEqual(yield* fate(broker.put("q", request("a"))), "Unknown")
        const results = yield* broker.putAll("q", [request("a"), request("b")])
        assert.deepStrictEqual(results.map((one) => fateOf(Result.getOrThrow(Result.flip(one)))), [
          "Unknown",
          "Unknown"
        ])
      }))

    it.live(`${name}: and so is a put with an impossible answer`, () =>
      Effect.gen(function*() {
        const { port } = yield* Servers.answering((line) =>
          line.startsWith("use ") ? "USING q\r\n" : line.startsWith("put ") ? "TOUCHED\r\n" : undefined
        )
        const { broker } = yield* BeanstalkBroker.make(driver({ port }))
        const error = yield* Effect.flip(broker.put("q", request("a")))
        assert.deepInclude({ ...error.reason }, { _tag: "ProtocolViolation", fate: "Unknown" })
        assert.include(error.message, "may or may not have taken effect")
      }))
  }

  it.live("a partly sent body was not executed, and neither were the commands after it", () =>
    Effect.gen(function*() {
      const blocked = yield* blocking
      const stuck = yield* Deferred.make<Net.Socket>()
      const { port } = yield* Servers.answering((line, socket) => {
        if (line.startsWith("use ")) {
          socket.pause()
          Deferred.doneUnsafe(stuck, Effect.succeed(socket))
          return "USING q\r\n"
        }
        return undefined
      }, { "max-job-size": 100_000_000 })
      const { broker, inspector } = yield* BeanstalkBroker.make(Native.driver({ port }))
      yield* inspector.peekNext("q", "ready").pipe(Effect.forkChild)
      const socket = yield* Deferred.await(stuck)
      const puts = yield* Effect.forEach(
        [request("small"), request(Buffer.alloc(50_000_000)), request("behind")],
        (one) => Effect.forkChild(fate(broker.put("q", one)), { startImmediately: true })
      )
      yield* blocked(() => socket)
      socket.resetAndDestroy()
      assert.deepStrictEqual(yield* Effect.forEach(puts, Fiber.join), ["Unknown", "NotSent", "NotSent"])
    }))

  it.live("fivebeans: writes nothing to a connection that the server has half-closed", () =>
    Effect.gen(function*() {
      const halves = yield* Deferred.make<Net.Socket>()
      // the server never reads, so unsent bytes keep the connection from closing
      const port = yield* Network.scripted((socket) => {
        socket.pause()
        Deferred.doneUnsafe(halves, Effect.succeed(socket))
      })
      const connection = yield* Fivebeans.driver({ port }).connect
      connection.submit([{ _tag: "Put", priority: 0, delay: 0, ttr: 1, body: Buffer.alloc(20_000_000) }], () => {})
      const socket = yield* Deferred.await(halves)
      socket.end()
      yield* Effect.timeout(connection.closed, "2 seconds")
      const [answer] = yield* connection.request([{ _tag: "ListTubeUsed" }])
      assert(answer?._tag === "Unanswered")
      assert.strictEqual(fateOf(answer.error), "NotSent")
    }))

  it.live("a job that was copied and not deleted may or may not have been moved", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.answering((line) => {
        if (line === "stats-job 7") return Servers.jobReply("7", { state: "ready" })
        if (line === "reserve-job 7") return "RESERVED 7 1\r\na\r\n"
        return line.startsWith("use ") ? "USING q\r\n" : line.startsWith("put ") ? "INSERTED 8\r\n" : undefined
      })
      const { canReserveJob, connect, name } = Native.driver({ port })
      // its connection ends just before the delete, which is not sent
      const { inspector } = yield* BeanstalkBroker.make({
        name,
        canReserveJob,
        connect: Effect.map(connect, (connection) => ({
          ...connection,
          request: (commands) => {
            if (commands[0]?._tag === "Delete") connection.giveUp("for the test")
            return connection.request(commands)
          }
        }))
      })
      assert.strictEqual(yield* fate(inspector.moveJob("7" as JobId, "q")), "Unknown")
    }))

  it.live("a command behind a failed use has its own fate", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.answering((line, socket) => {
        if (line.startsWith("put ")) socket.resetAndDestroy()
        return line.startsWith("use ") ? "OUT_OF_MEMORY\r\n" : undefined
      })
      const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
      assert.strictEqual(yield* fate(broker.put("q", request("a"))), "Unknown")
    }))
})
