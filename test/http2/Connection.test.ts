/** A connection and its socket: writes, settling, backpressure, with a server that follows a script. */
import { assert, describe, it, vi } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import type * as Tls from "node:tls"
import * as Connection from "../../src/http2/Connection.ts"
import { Code, Flag, Type } from "../../src/http2/frame/frame.ts"
import { blocking } from "../support/blocking.ts"
import * as Servers from "../support/http2Servers.ts"
import { allow, withServers } from "../support/limits.ts"
import * as Sleeps from "../support/sleeps.ts"
import * as Peer from "./peer.ts"

allow(withServers)

const { connect } = Servers

const get = (path: string): Connection.Request => ({ method: "GET", path })

describe("writes", () => {
  it.live("requests of one tick leave in one write", () =>
    Effect.gen(function*() {
      const counts: Array<number> = []
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
        let count = 0
        Servers.frames(socket, (type, _, stream) => {
          if (type !== Type.headers) return
          count++
          socket.write(Peer.answer(stream))
        })
        // After the frames of a piece were counted.
        socket.on("data", () => {
          if (count > 0) counts.push(count)
          count = 0
        })
      })
      for (let round = 0; round < 3; round++) {
        yield* connection.requestAll(Array.from({ length: 100 }, (_, i) => get(`/${i}`)))
      }
      assert.deepStrictEqual(counts, [100, 100, 100])
    }))

  it.live("requests to a peer that does not read stay unsent", () =>
    Effect.gen(function*() {
      const body = new Uint8Array(1_000_000)
      let peer: Tls.TLSSocket | undefined
      const blocked = yield* blocking
      const connection = yield* connect((socket) => {
        peer = socket
        socket.write(Buffer.concat([Peer.settings(), Peer.windowUpdate(0, 2 ** 30)]))
        socket.write(Peer.settings([4, 2 ** 30]))
        socket.pause()
      })
      const requests = yield* Effect.forkChild(connection.requestAll(
        Array.from({ length: 100 }, () => ({ method: "POST", path: "/", body }))
      ))
      yield* blocked(() => peer)
      peer!.destroy()
      const answers = yield* Fiber.join(requests)
      const kinds = new Set(answers.map(Peer.brief))
      assert.deepStrictEqual([...kinds].toSorted(), ["NotSent", "Unknown"])
    }))
})

describe("settle", () => {
  it.live("settle is never called before submit returns, even on a closed connection", () =>
    Effect.gen(function*() {
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
      })
      yield* connection.retire
      const answer = yield* Effect.callback<Connection.Answer>((resume) => {
        let isReturned = false
        connection.submit(get("/"), (answer) => {
          assert.isTrue(isReturned)
          resume(Effect.succeed(answer))
        })
        isReturned = true
      })
      assert.strictEqual(Peer.brief(answer), "NotSent")
    }))

  it.live("settle may submit, cancel and read the state", () =>
    Effect.gen(function*() {
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
        Servers.frames(socket, (type, _, stream) => {
          if (type === Type.headers) socket.write(Peer.answer(stream))
        })
      })
      const seen = yield* Effect.callback<ReadonlyArray<string>>((resume) => {
        const seen: Array<string> = []
        const settle = (answer: Connection.Answer) => {
          seen.push(Peer.brief(answer))
          if (seen.length === 50) return resume(Effect.succeed(seen))
          connection.cancel(connection.submit(get("/cancelled"), () => seen.push("cancelled")))
          connection.submit(get("/next"), settle)
        }
        connection.submit(get("/first"), settle)
      })
      assert.deepStrictEqual(seen, Array.from({ length: 50 }, () => "200"))
      assert.strictEqual(connection.pending(), 0)
    }))

  it.live("a GOAWAY with an error code still lets answers arrive", () =>
    Effect.gen(function*() {
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
        let open: Array<number> = []
        Servers.frames(socket, (type, _, stream) => {
          if (type === Type.headers) open.push(stream)
          if (open.length < 4) return
          socket.write(Peer.goaway(open[2]!, Code.internalError, `{"reason":"Shutdown"}`))
          const answered = open
          open = []
          setTimeout(() => socket.write(Buffer.concat([Peer.answer(answered[0]!), Peer.answer(answered[2]!)])), 50)
          setTimeout(() => socket.end(), 100)
        })
      })
      const answers = yield* connection.requestAll([get("/0"), get("/1"), get("/2"), get("/3")])
      assert.deepStrictEqual(answers.map(Peer.brief), ["200", "Unknown 2", "200", "Refused 2"])
      assert.deepStrictEqual(
        answers.map((answer) => Result.isFailure(answer) ? answer.failure.fate : "Answered"),
        ["Answered", "Unknown", "Answered", "NotProcessed"]
      )
    }))

  it.live("a protocol violation closes the connection with an error code", () =>
    Effect.gen(function*() {
      const left: Array<number> = []
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
        Servers.frames(socket, (type, _, stream, payload) => {
          if (type === Type.headers) socket.write(Peer.frame(Type.pushPromise, Flag.endHeaders, stream, "\0\0\0\x02"))
          if (type === Type.goaway) left.push(payload.readUInt32BE(4))
        })
      })
      const [answer] = yield* connection.requestAll([get("/")])
      assert.strictEqual(Peer.brief(answer), "Unknown 1")
      assert.include((yield* connection.closed).detail, "PUSH_PROMISE")
      assert.isFalse(connection.isOpen())
      yield* Servers.eventually(() => left.length > 0)
      assert.deepStrictEqual(left, [Code.protocolError])
    }))
})

describe("idle", () => {
  it.effect("a closed connection stays silent while its scope is open", () =>
    Effect.gen(function*() {
      // its certificate is checked against the clock of the machine
      yield* TestClock.setTime(Date.now())
      const { clock, count } = yield* Sleeps.make
      let peer: Tls.TLSSocket | undefined
      const connection = yield* connect((socket) => {
        peer = socket
        socket.write(Peer.settings())
      }, { idlePing: "100 millis" }).pipe(Effect.provideService(Clock.Clock, clock))
      yield* TestClock.adjust("50 millis")
      peer!.end()
      yield* connection.closed
      const timers = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(globalThis, "setTimeout")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      const before = count()
      yield* TestClock.adjust("1 minute")
      assert.isAtMost(count() - before + timers.mock.calls.length, 1)
    }))

  it.live.skipIf(Servers.isMissing("nghttpd"))(
    "after a pause of the process, an answer that arrived in time counts",
    () =>
      Effect.gen(function*() {
        const server = yield* Servers.nghttpd({})
        const connection = yield* Connection.make({
          host: "127.0.0.1",
          port: server.port,
          tls: { ca: server.certs.ca, servername: "localhost" },
          requestTimeout: "300 millis"
        })
        const ends: Array<string> = []
        for (let round = 0; round < 3; round++) {
          connection.submit(get("/"), (answer) => ends.push(Peer.brief(answer)))
          // It has left; then nothing is done here for longer than its deadline.
          yield* Effect.sleep("0 millis")
          yield* Effect.sleep("0 millis")
          const until = performance.now() + 500
          while (performance.now() < until);
          yield* Servers.eventually(() => ends.length === round + 1)
        }
        assert.deepStrictEqual(ends, ["404", "404", "404"])
      })
  )

  it.live("an idle connection sends PINGs and stays open", () =>
    Effect.gen(function*() {
      let pings = 0
      const connection = yield* connect((socket) => {
        socket.write(Peer.settings())
        Servers.frames(socket, (type, _, __, payload) => {
          if (type !== Type.ping) return
          pings++
          socket.write(Peer.ping(Flag.ack, payload))
        })
      }, { idlePing: "100 millis", pingTimeout: "2 seconds" })
      yield* Servers.eventually(() => pings >= 3)
      assert.isTrue(connection.isOpen())
    }))
})
