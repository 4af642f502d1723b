/** The broker while its server is killed, restarted, cut off, drained or broken. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { connect } from "node:net"
import { Broker as BrokerService, type Lease, type PutOptions, putRequest } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import { Job, Worker } from "../../../src/index.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { folder } from "../../support/folder.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

const request = (text: string, options: PutOptions = {}) =>
  Result.getOrThrow(putRequest(new TextEncoder().encode(text), options))

const text = (lease: Lease) => new TextDecoder().decode(lease.body)

const brokerOn = (port: number, options: BeanstalkBroker.Options = {}) =>
  BeanstalkBroker.make(Native.driver({ port, ...options }), options)

const reasonOf = <A>(effect: Effect.Effect<A, BrokerError>) => Effect.map(Effect.flip(effect), (error) => error.reason)

/** Asks again until the server is back. */
const persist = <A>(effect: Effect.Effect<A, BrokerError>) =>
  Effect.retry(effect, {
    while: (error) => error.reason._tag === "Unavailable",
    schedule: Schedule.spaced("10 millis")
  })

const waiting = (broker: BrokerService["Service"], queue: string, count: number) =>
  persist(Effect.repeat(broker.idleWorkers(queue), { until: (waiting) => waiting === count }))

describe("a server that goes away", () => {
  for (const [name, driver] of [["native", Native.driver], ["fivebeans", Fivebeans.driver]] as const) {
    Servers.real(
      `${name}: a restart with -b loses no accepted job, and both sides reconnect by themselves`,
      () =>
        Effect.gen(function*() {
          const server = yield* Servers.beanstalkd(["-b", yield* folder, "-f", "0"])
          const { broker, inspector } = yield* BeanstalkBroker.make(driver({ port: server.port }))
          assert.isTrue((yield* inspector.stats).durable)
          const consumer = yield* broker.consume(["q"])
          const worker = yield* Effect.forkChild(consumer.reserve(10))
          yield* waiting(broker, "q", 1)
          yield* server.kill
          yield* server.start
          yield* waiting(broker, "q", 1)
          const id = yield* persist(broker.put("q", request("a")))
          const [lease] = yield* Fiber.join(worker)
          assert.deepStrictEqual([lease.id, text(lease)], [id, "a"])

          yield* server.kill
          assert.deepStrictEqual((yield* consumer.leasesLost).map((lease) => lease.id), [id])
          const [late] = yield* consumer.settle([{ _tag: "Delete", lease }])
          assert(late !== undefined && Result.isFailure(late))
          assert.strictEqual(late.failure.reason._tag, "LeaseLost")
          yield* server.start
          const [again] = yield* consumer.reserve(10)
          assert.strictEqual(again.id, id)
          assert.deepStrictEqual(yield* consumer.settle([{ _tag: "Delete", lease: again }]), [
            Result.succeed(undefined)
          ])
        })
    )
  }

  Servers.real(
    "after a restart without -b an old lease does not affect the new job of the same id",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const { broker } = yield* brokerOn(server.port)
        const consumer = yield* broker.consume(["q"])
        yield* broker.put("q", request("old"))
        const [old] = yield* consumer.reserve(1)
        yield* server.kill
        yield* server.start
        const id = yield* persist(broker.put("q", request("new")))
        assert.strictEqual(id, old.id)
        for (const _tag of ["Delete", "Requeue"] as const) {
          const [result] = yield* consumer.settle([{ _tag, lease: old }])
          assert(result !== undefined && Result.isFailure(result))
          assert.strictEqual(result.failure.reason._tag, "LeaseLost")
        }
        const [lease] = yield* consumer.reserve(1)
        assert.strictEqual(text(lease), "new")
      })
  )

  Servers.real(
    "fails puts at once, and reserve waits for reconnectFor",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const { broker } = yield* brokerOn(server.port, { reconnectFor: "500 millis" })
        const consumer = yield* broker.consume(["q"])
        yield* broker.ping
        yield* server.kill
        const reason = yield* reasonOf(consumer.reserve(1))
        assert(reason._tag === "Unavailable")
        const put = yield* reasonOf(broker.put("q", request("a")))
        assert.deepInclude({ ...put }, { _tag: "Unavailable", fate: "NotSent" })
        const [bulk] = yield* broker.putAll("q", [request("a")])
        assert(bulk !== undefined && Result.isFailure(bulk))
        assert.strictEqual(bulk.failure.reason._tag, "Unavailable")
      })
  )

  it.live("at the start does not block consume or put, and reserve works once the server is there", () =>
    Effect.gen(function*() {
      const { broker } = yield* brokerOn(yield* Network.freePort, { reconnectFor: "300 millis" })
      const put = yield* reasonOf(broker.put("q", request("a")))
      assert.strictEqual(put._tag, "Unavailable")
      const consumer = yield* broker.consume(["q"])
      assert.strictEqual((yield* reasonOf(consumer.reserve(1)))._tag, "Unavailable")
    }))

  it.live("a server that is not beanstalkd is reported at once, without a wait", () =>
    Effect.gen(function*() {
      const port = yield* Network.scripted((socket) =>
        socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      )
      const { broker } = yield* brokerOn(port)
      assert.strictEqual((yield* reasonOf(broker.ping))._tag, "ProtocolViolation")
      const consumed = yield* reasonOf(Effect.scoped(broker.consume(["q"])))
      assert.strictEqual(consumed._tag, "ProtocolViolation")
    }))

  it.live("the error mentions a proxy that may be in between", () =>
    Effect.gen(function*() {
      const ask = (script: Network.Script) =>
        Effect.flatMap(Network.scripted(script), (port) =>
          Effect.flatMap(brokerOn(port), ({ broker }) =>
            Effect.map(Effect.flip(broker.ping), ({ message }) => message)))
      // its server is down
      assert.match(
        yield* ask((socket) =>
          socket.end()
        ),
        /if a proxy listens there, check that beanstalkd runs behind it/
      )
      // it sends its own header first (PROXY protocol)
      const unknown = yield* ask((socket) => socket.once("data", () => socket.write("UNKNOWN_COMMAND\r\n")))
      assert.match(unknown, /a proxy .*PROXY protocol/)
      assert.notInclude(unknown, "1.12")
    }))

  Servers.real(
    "the reply timeout notices a network that drops all packets",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const relay = yield* Network.relay(server.port)
        const { broker } = yield* brokerOn(relay.port, { replyTimeout: "200 millis" })
        yield* broker.ping
        yield* relay.hold
        const reason = yield* reasonOf(broker.put("q", request("a")))
        assert.deepInclude({ ...reason }, { _tag: "Unavailable", fate: "Unknown" })
      })
  )

  Servers.real(
    "a connection that is reset loses its leases at once, and their jobs are served again",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const relay = yield* Network.relay(server.port)
        const { broker: direct } = yield* brokerOn(server.port)
        const consumer = yield* (yield* brokerOn(relay.port)).broker.consume(["q"])
        for (const body of ["a", "b", "c"]) yield* direct.put("q", request(body))
        const leases = yield* consumer.reserve(3)
        assert.lengthOf(leases, 3)
        yield* relay.cut
        assert.sameMembers((yield* consumer.leasesLost).map(text), ["a", "b", "c"])
        const [again] = yield* consumer.reserve(1)
        assert.strictEqual(text(again), "a")
        assert.deepInclude({ ...again.info }, { attempt: 2, abandoned: 1 })
      })
  )
})

describe("a server that refuses", () => {
  Servers.real("drain mode: puts fail, everything else works", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const { broker, inspector } = yield* brokerOn(server.port)
      yield* broker.put("q", request("before"))
      yield* server.signal("SIGUSR1")
      yield* Effect.repeat(inspector.stats, { until: (stats) => stats.draining })
      const [result] = yield* broker.putAll("q", [request("after")])
      assert(result !== undefined && Result.isFailure(result))
      assert.strictEqual(result.failure.reason._tag, "Draining")
      const consumer = yield* broker.consume(["q"])
      assert.deepStrictEqual((yield* consumer.reserve(10)).map(text), ["before"])
    }))

  Servers.real("a body above the limit fails alone, without being sent", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd(["-z", "10"])
      const { broker, inspector } = yield* brokerOn(server.port)
      const results = yield* broker.putAll("q", [request("small"), request("much too big"), request("small")])
      assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true])
      const [, big] = results
      assert(big !== undefined && Result.isFailure(big))
      assert.deepInclude({ ...big.failure.reason }, { _tag: "JobTooBig", queue: "q", size: 12, limit: 10 })
      assert.strictEqual((yield* inspector.statsQueue("q")).total, 2)
    }))

  it.live("a put that the server buries for lack of memory is undone and fails", () =>
    Effect.gen(function*() {
      const deleted = yield* Deferred.make<void>()
      const { port } = yield* Servers.answering((line) => {
        if (line.startsWith("use")) return "USING q\r\n"
        if (line.startsWith("put")) return "BURIED 7\r\n"
        if (line === "delete 7") Deferred.doneUnsafe(deleted, Effect.void)
        return "DELETED\r\n"
      })
      const { broker } = yield* brokerOn(port)
      assert.strictEqual((yield* reasonOf(broker.put("q", request("a"))))._tag, "OutOfMemory")
      yield* Deferred.await(deleted)
    }))

  it.live("a use that fails undoes the puts behind it, and fails them", () =>
    Effect.gen(function*() {
      let id = 0
      let uses = 0
      const { port, told } = yield* Servers.answering((line) => {
        if (line.startsWith("use")) return ++uses === 1 ? "OUT_OF_MEMORY\r\n" : "USING q\r\n"
        return line.startsWith("put") ? `INSERTED ${++id}\r\n` : "DELETED\r\n"
      })
      const { broker } = yield* brokerOn(port)
      yield* Effect.forEach(["a", "b"], (body) =>
        Effect.map(
          reasonOf(broker.put("q", request(body))),
          (reason) => assert.strictEqual(reason._tag, "OutOfMemory")
        ), { concurrency: 2 })
      assert.strictEqual(yield* broker.put("q", request("c")), "3")
      assert.includeMembers(told, ["delete 1", "delete 2"])
      assert.notInclude(told, "delete 3")
    }))

  it.live("a reply of the wrong kind is a violation, not a success", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.answering((line) => line.startsWith("use") ? "USING q\r\n" : "TOUCHED\r\n")
      const { broker } = yield* brokerOn(port)
      assert.strictEqual((yield* reasonOf(broker.put("q", request("a"))))._tag, "ProtocolViolation")
    }))
})

describe("an idle consumer, and one at its limits", () => {
  Servers.real(
    "a waiting reserve fails when its consumer is closed, and so does every later one",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const { broker } = yield* brokerOn(server.port)
        const { consumer, fiber } = yield* Effect.scoped(Effect.gen(function*() {
          const consumer = yield* broker.consume(["q"])
          const fiber = yield* Effect.forkDetach(consumer.reserve(1))
          yield* waiting(broker, "q", 1)
          return { consumer, fiber }
        }))
        assert.strictEqual((yield* reasonOf(Fiber.join(fiber)))._tag, "Unavailable")
        assert.strictEqual((yield* reasonOf(consumer.reserve(1)))._tag, "Unavailable")
        yield* waiting(broker, "q", 0)
      })
  )

  Servers.real("sends nothing while it waits", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const relay = yield* Network.relay(server.port)
      const { broker: direct } = yield* brokerOn(server.port)
      const onTestClock = Effect.provide(yield* Layer.build(TestClock.layer()))
      const fiber = yield* Effect.gen(function*() {
        const { broker } = yield* brokerOn(relay.port)
        const consumer = yield* broker.consume(["q"])
        // both connections are there: no other answer is awaited while time passes
        yield* broker.ping
        return yield* Effect.forkScoped(consumer.reserve(16))
      }).pipe(onTestClock)
      yield* waiting(direct, "q", 1)
      const before = relay.bytes()
      // the broker asks the server again every 30 seconds
      yield* onTestClock(TestClock.adjust("29 seconds"))
      yield* Effect.addFinalizer(() => Effect.forkDetach(onTestClock(Effect.forever(TestClock.adjust("1 second")))))
      // until the relay would have heard of it
      yield* Effect.repeat(direct.ping, { times: 10 })
      assert.strictEqual(relay.bytes(), before)
      yield* direct.put("q", request("a"))
      assert.lengthOf(yield* Fiber.join(fiber), 1)
    }))

  Servers.real("does not spin when a held job is about to expire", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const relay = yield* Network.relay(server.port)
      const { broker: direct } = yield* brokerOn(server.port)
      const consumer = yield* (yield* brokerOn(relay.port)).broker.consume(["q"])
      yield* direct.put("q", request("a", { ttr: "1 second" }))
      const [lease] = yield* consumer.reserve(1)
      const before = relay.bytes()
      const [again] = yield* consumer.reserve(1)
      assert.strictEqual(again.id, lease.id)
      assert.isBelow(relay.bytes() - before, 1000)
    }))

  Servers.real(
    "a trickle of long jobs starts without delay, and idle connections close",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.beanstalkd()
        const { broker } = yield* brokerOn(server.port)
        const consumer = yield* broker.consume(["q"])
        const held: Array<Lease> = []
        for (let i = 0; i < 6; i++) {
          const fiber = yield* Effect.forkChild(consumer.reserve(8))
          yield* waiting(broker, "q", 1)
          yield* broker.put("q", request(String(i)))
          held.push(...yield* Fiber.join(fiber))
        }
        assert.lengthOf(held, 6)
        const results = yield* consumer.settle(held.map((lease) => ({ _tag: "Delete", lease })))
        assert.isTrue(results.every(Result.isSuccess))
        yield* broker.put("q", request("last"))
        yield* consumer.reserve(1)
        const connection = yield* Native.driver({ port: server.port }).connect
        const few = Effect.map(connection.request([{ _tag: "Stats" }]), ([answer]) => {
          assert(answer?._tag === "Ok")
          return Number(/current-connections: (\d+)/.exec(Buffer.from(answer.body).toString())![1])
        })
        // Two of the consumer, the broker's own, and the one that asks.
        yield* Effect.repeat(few, { until: (count) => count <= 4 })
      })
  )

  Servers.real("settlements of leases on several connections go to the right connection", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const { broker, inspector } = yield* brokerOn(server.port)
      const consumer = yield* broker.consume(["q"])
      const held: Array<Lease> = []
      for (let i = 0; i < 4; i++) {
        const fiber = yield* Effect.forkChild(consumer.reserve(1))
        yield* waiting(broker, "q", 1)
        yield* broker.put("q", request(String(i)))
        held.push(...yield* Fiber.join(fiber))
      }
      const [a, b, c, d] = held
      const results = yield* consumer.settle([
        { _tag: "Delete", lease: d! },
        { _tag: "Bury", lease: a!, reason: "x" },
        { _tag: "Delete", lease: d! },
        { _tag: "Requeue", lease: c! },
        { _tag: "Release", lease: b!, delay: request("").ttr, priority: -1 }
      ])
      assert.deepStrictEqual(
        results.map((result) => Result.isSuccess(result) ? "ok" : result.failure.reason._tag),
        ["ok", "ok", "LeaseLost", "ok", "OptionInvalid"]
      )
      const stats = yield* inspector.statsQueue("q")
      assert.include(stats, { ready: 1, reserved: 1, buried: 1 })
    }))
})

describe("workers", () => {
  const Small = Job.make("small", { payload: Schema.Int, queue: "q" })
  const handler = Worker.handler(Small, () => Effect.void)

  it.live("an idle timeout does not hide that the server is away", () =>
    Effect.gen(function*() {
      const { broker } = yield* brokerOn(yield* Network.freePort, { reconnectFor: "1 second" })
      const reason = yield* Worker.run({ idleTimeout: "200 millis" }, handler).pipe(
        Effect.provideService(BrokerService, broker),
        reasonOf
      )
      assert.strictEqual(reason._tag, "Unavailable")
    }))

  Servers.real("jobs that were abandoned together all count as abandoned", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const { broker, inspector } = yield* brokerOn(server.port)
      const ids = [yield* broker.put("q", request("a")), yield* broker.put("q", request("b"))]
      for (let i = 0; i < 3; i++) {
        // a worker that is killed with both in hand
        yield* Effect.callback<void>((resume) => {
          const socket = connect(server.port, "127.0.0.1")
          let received = ""
          socket.write("watch q\r\nreserve\r\nreserve\r\n")
          socket.on("data", (data) => {
            received += data.toString()
            if (received.split("RESERVED").length === 3) socket.resetAndDestroy()
          })
          socket.on("close", () => resume(Effect.void))
        })
        yield* persist(Effect.repeat(inspector.statsQueue("q"), { until: ({ ready }) => ready === 2 }))
      }
      const consumer = yield* broker.consume(["q"])
      const leases: Array<Lease> = []
      while (leases.length < 2) leases.push(...(yield* consumer.reserve(2 - leases.length)))
      assert.deepStrictEqual(leases.map((lease) => [lease.id, lease.info?.abandoned]), ids.map((id) => [id, 3]))
    }))
})
