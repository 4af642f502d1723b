/** Connections that the other side closes, as proxies do with idle ones, or that fall silent. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { find } from "../../../scripts/test/servers.ts"
import { putRequest } from "../../../src/Broker.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { folder } from "../../support/folder.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

const request = Result.getOrThrow(putRequest(Buffer.from("a")))

const drivers = [["native", Native.driver], ["fivebeans", Fivebeans.driver]] as const

/** Runs something, and gives what it logged. */
const logging = <E, R>(run: (lines: ReadonlyArray<string>) => Effect.Effect<void, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel} ${Array.isArray(message) ? message.join(" ") : String(message)}`)
  })
  return Effect.as(Effect.provide(run(lines), Logger.layer([logger])), lines)
}

/** Waits in real time, also on the test clock. */
const turn = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
const eventually = (holds: () => boolean) => Effect.repeat(turn, { until: holds })

for (const [name, driver] of drivers) {
  describe(`${name}: a proxy that closes idle connections`, () => {
    Servers.real("a put just after the close succeeds, and nothing is logged", () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const relay = yield* Network.relay(server.port)
        const lines = yield* logging(() =>
          Effect.gen(function*() {
            const { broker, inspector } = yield* BeanstalkBroker.make(driver({ port: relay.port }))
            yield* broker.ping
            for (const close of [relay.close, relay.close, relay.close]) {
              yield* close
              const results = yield* Effect.forEach(
                [broker.put("q", request), broker.put("r", request), broker.ping, inspector.queues],
                (ask) => Effect.result(ask as typeof broker.ping),
                { concurrency: "unbounded" }
              )
              assert.deepStrictEqual(results.filter(Result.isFailure), [])
            }
            assert.strictEqual((yield* inspector.statsQueue("q")).ready, 3)
          })
        )
        assert.deepStrictEqual(lines, [])
      }))

    Servers.real("a put at the same instant succeeds, or fails with the fate Unknown", () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const relay = yield* Network.relay(server.port)
        const { broker, inspector } = yield* BeanstalkBroker.make(driver({ port: relay.port }))
        let accepted = 0
        let unknown = 0
        for (let i = 0; i < 4; i++) {
          yield* broker.ping
          yield* relay.cut
          const result = yield* Effect.result(broker.put("q", request))
          if (Result.isSuccess(result)) accepted++
          else {
            assert.deepInclude({ ...result.failure.reason }, { _tag: "Unavailable", fate: "Unknown" })
            unknown++
          }
        }
        const { ready } = yield* inspector.statsQueue("q").pipe(
          Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed({ ready: 0 }))
        )
        assert.isAtLeast(ready, accepted)
        assert.isAtMost(ready, accepted + unknown)
      }))

    Servers.real("a waiting worker goes on waiting, and its leases are lost once", () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const relay = yield* Network.relay(server.port)
        const { broker: direct } = yield* BeanstalkBroker.make(Native.driver({ port: server.port }))
        const idle = (count: number) =>
          Effect.repeat(direct.idleWorkers("q"), { until: (waiting) => waiting === count })
        const lines = yield* logging(() =>
          Effect.gen(function*() {
            const { broker } = yield* BeanstalkBroker.make(driver({ port: relay.port }))
            const consumer = yield* broker.consume(["q"])
            const first = yield* Effect.forkChild(consumer.reserve(1))
            for (let i = 0; i < 3; i++) {
              yield* idle(1)
              yield* broker.ping
              yield* relay.close
            }
            yield* idle(1)
            yield* direct.put("q", request)
            const [lease] = yield* Fiber.join(first)
            yield* broker.ping
            yield* relay.close
            assert.deepStrictEqual((yield* consumer.leasesLost).map(({ id }) => id), [lease.id])
            const [again] = yield* consumer.reserve(1)
            assert.strictEqual(again.id, lease.id)
            assert.deepStrictEqual(yield* consumer.settle([{ _tag: "Delete", lease: again }]), [Result.void])
          })
        )
        assert.deepStrictEqual(lines, [])
      }))

    it.live("a proxy that closes every connection at its first use causes no busy loop", () =>
      Effect.gen(function*() {
        const server = yield* Servers.answering((line, socket) => {
          if (/^(use|reserve)/.test(line)) socket.end()
          return undefined
        })
        const { broker } = yield* BeanstalkBroker.make(driver({ port: server.port }))
        const consumer = yield* broker.consume(["q"])
        yield* Effect.raceAll([
          Effect.forever(Effect.ignore(broker.put("q", request))),
          consumer.reserve(1),
          Effect.sleep("600 millis")
        ])
        assert.isAtMost(server.connections(), 14)
      }))
  })
}

describe("a server that answers waiting reserves at once", () => {
  it.live.each(["TIMED_OUT", "DEADLINE_SOON"])("with %s, causes no busy loop", (word) =>
    Effect.gen(function*() {
      const { port, told } = yield* Servers.answering((line) => line.startsWith("reserve") ? `${word}\r\n` : undefined)
      const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const consumer = yield* broker.consume(["q"])
      yield* Effect.timeoutOption(consumer.reserve(1), "400 millis")
      assert.isAtMost(told.filter((line) => line.startsWith("reserve")).length, 12)
    }))
})

describe("the log", () => {
  Servers.real("has one line when the server is away, and one when it is back", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const lines = yield* logging((lines) =>
        Effect.gen(function*() {
          const { broker } = yield* BeanstalkBroker.make(Native.driver({ port: server.port }))
          yield* broker.ping
          yield* server.kill
          yield* eventually(() => lines.length > 0)
          yield* Effect.flip(broker.ping)
          yield* server.start
          yield* Effect.retry(broker.ping, Schedule.spaced("10 millis"))
          yield* eventually(() => lines.length > 1)
        })
      )
      assert.lengthOf(lines, 2)
      assert.match(lines[0]!, /^Warn reconnecting: .*refused/)
      assert.match(lines[1]!, /^Info .*is reachable again$/)
    }))

  Servers.real(
    "reports that a consumer's server is away, even if its calls are interrupted",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const { canReserveJob, connect, name } = Native.driver({ port: server.port })
        const lines = yield* logging(() =>
          Effect.gen(function*() {
            let broken = false
            const { broker } = yield* BeanstalkBroker.make({
              name,
              canReserveJob,
              connect: Effect.suspend(() => broken ? Native.driver({ port: 1 }).connect : connect)
            })
            yield* broker.ping
            const consumer = yield* broker.consume(["q"])
            broken = true
            yield* server.kill
            for (let i = 0; i < 3; i++) yield* Effect.timeoutOption(consumer.reserve(1), "150 millis")
            broken = false
            yield* server.start
            yield* Effect.retry(broker.put("q", request), Schedule.spaced("10 millis"))
            yield* consumer.reserve(1)
          })
        )
        const count = (level: string) => lines.filter((line) => line.startsWith(level)).length
        // one for the broker's connection, one for the consumer's
        assert.deepStrictEqual([count("Warn"), count("Info")], [2, 2])
      })
  )

  it.effect("reports a connection that fell silent, of the broker and of a waiting worker", () =>
    Effect.gen(function*() {
      let mute = true
      const answers: Record<string, string> = {
        "list-tube-used": "USING default\r\n",
        "reserve-with-timeout 30": "RESERVED 1 1\r\na\r\n",
        "stats-job 1": Servers.jobReply("1"),
        "delete 1": "DELETED\r\n"
      }
      const server = yield* Servers.answering((line) => mute ? undefined : answers[line])
      const running = logging((lines) =>
        Effect.gen(function*() {
          const { broker } = yield* BeanstalkBroker.make(Native.driver({ port: server.port }))
          const consumer = yield* broker.consume(["q"])
          const ping = yield* Effect.forkChild(Effect.flip(broker.ping), { startImmediately: true })
          const reserve = yield* Effect.forkChild(consumer.reserve(1), { startImmediately: true })
          yield* Fiber.join(ping)
          yield* eventually(() => lines.length > 0)
          assert.match(lines[0]!, /^Warn .*did not answer "ListTubeUsed" within 10s/)
          mute = false
          const [lease] = yield* Fiber.join(reserve)
          yield* consumer.settle([{ _tag: "Delete", lease }])
          yield* eventually(() => lines.filter((line) => line.startsWith("Info")).length === 2)
        })
      )
      const fiber = yield* Effect.forkChild(Effect.scoped(running), { startImmediately: true })
      // in small steps: connections that open meanwhile take real time
      yield* Effect.repeat(Effect.andThen(TestClock.adjust("500 millis"), turn), {
        until: () => fiber.pollUnsafe() !== undefined
      })
      const lines = yield* Fiber.join(fiber)
      assert.lengthOf(lines.filter((line) => /^Warn .*did not answer "ReserveWithTimeout" within 40s/.test(line)), 1)
    }))
})

const haproxy = find("haproxy")

describe.skipIf(haproxy === undefined && process.env["CI"] !== "true")("haproxy", () => {
  Servers.real("a client timeout costs no job and no line in the log", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const relay = yield* Network.relay(server.port)
      const port = yield* Network.freePort
      const config = join(yield* folder, "haproxy.cfg")
      writeFileSync(
        config,
        [
          "defaults",
          "  mode tcp",
          "  timeout connect 1s",
          "  timeout server 1m",
          "  timeout client 250ms",
          "listen beanstalkd",
          `  bind 127.0.0.1:${port}`,
          `  server one 127.0.0.1:${relay.port}`,
          ""
        ].join("\n")
      )
      yield* Effect.acquireRelease(
        Effect.sync(() => spawn(haproxy ?? "haproxy", ["-f", config], { stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill())
      )
      yield* Network.listening(port)
      const lines = yield* logging(() =>
        Effect.gen(function*() {
          const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
          const consumer = yield* broker.consume(["q"])
          for (let i = 0; i < 4; i++) {
            yield* broker.put("q", request)
            const [lease] = yield* consumer.reserve(1)
            yield* consumer.settle([{ _tag: "Delete", lease }])
            const before = relay.connections()
            // both connections are idle, and were replaced
            const waits = yield* Effect.forkChild(consumer.reserve(1))
            yield* eventually(() => relay.connections() >= before + 2)
            yield* Fiber.interrupt(waits)
          }
        })
      )
      assert.deepStrictEqual(lines, [])
    }))
})
