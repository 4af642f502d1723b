/** A connection to servers that others wrote: GOAWAY, limits, windows, tables, cut and silent networks. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Connection from "../../src/http2/Connection.ts"
import * as Servers from "../support/http2Servers.ts"
import { allow, withServers } from "../support/limits.ts"
import { relay } from "../support/network.ts"
import { brief } from "./peer.ts"

allow(withServers)

const to = (
  server: { readonly port: number; readonly certs: { readonly ca: string } },
  options: Partial<Connection.Options> = {}
) =>
  Connection.make({
    host: "127.0.0.1",
    port: server.port,
    tls: { ca: server.certs.ca, servername: "localhost" },
    ...options
  })

const text = (body: Uint8Array): string => Buffer.from(body).toString()

const shared = [
  { name: "apns-topic", value: "org.example.app", index: true },
  { name: "authorization", value: "bearer token", index: true }
]

const push = (id: number, path = "/3/device/ab"): Connection.Request => ({
  method: "POST",
  path,
  shared,
  headers: [{ name: "apns-id", value: String(id) }],
  body: Buffer.from(`{"aps":{"badge":${id}}}`)
})

const pushes = (count: number, path?: string) => Array.from({ length: count }, (_, i) => push(i, path))

/** How many answers of each kind there are. */
const tally = (answers: ReadonlyArray<Connection.Answer>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const answer of answers) counts[brief(answer)] = (counts[brief(answer)] ?? 0) + 1
  return counts
}

describe.skipIf(Servers.isMissing("nghttpd"))("nghttpd", () => {
  it.live("one request, many requests, a PING and the end succeed", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "hello": "hello, world" }, "-m", "100")
      const connection = yield* to(server)
      const answer = yield* connection.request({ method: "GET", path: "/hello" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(text(answer.body), "hello, world")
      assert.deepInclude(answer.headers, ["content-length", "12"])
      assert.strictEqual((yield* connection.request({ method: "GET", path: "/none" })).status, 404)
      assert.strictEqual(connection.room(), 100)
      assert.deepStrictEqual(tally(yield* connection.requestAll(pushes(5000, "/hello"))), { "200": 5000 })
      assert.deepStrictEqual(yield* connection.requestAll([]), [])
      const [passed, measured] = yield* Effect.timed(connection.ping)
      assert.isAbove(Duration.toMillis(measured), 0)
      assert.isAtMost(Duration.toMillis(measured), Duration.toMillis(passed))
      yield* connection.retire
      assert.isFalse(connection.isOpen())
      assert.strictEqual((yield* Effect.flip(connection.request(push(1)))).reason._tag, "NotSent")
    }))

  it.live("bodies larger than every window arrive in both directions", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "echo": "" }, "--echo-upload", "-w", "14", "-W", "14", "-b", "200")
      const connection = yield* to(server)
      const bodies = Array.from({ length: 20 }, (_, i) => Buffer.alloc(300_000 + i, `${i} `))
      const answers = yield* connection.requestAll(bodies.map((body) => ({ method: "POST", path: "/echo", body })))
      answers.forEach((answer, i) => {
        const { body } = Result.getOrThrow(answer)
        assert.isTrue(bodies[i]!.equals(body))
      })
    }))

  it.live("many answers with padding and another table size arrive", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "a": "x".repeat(100) }, "-b", "255", "-c", "128")
      const connection = yield* to(server)
      assert.deepStrictEqual(tally(yield* connection.requestAll(pushes(2000, "/a"))), { "200": 2000 })
    }))
})

describe.skipIf(Servers.isMissing("nginx"))("nginx", () => {
  it.live("with a GOAWAY after each 50 requests, no request is lost or processed twice", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(50)
      const total = 3000
      const todo = Array.from({ length: total }, (_, i) => i)
      const answered: Array<number> = []
      let connections = 0
      while (answered.length < total) {
        connections++
        yield* Effect.scoped(Effect.gen(function*() {
          const connection = yield* to(server)
          const ids = todo.splice(0, connection.room())
          const answers = yield* connection.requestAll(ids.map((id) => push(id)))
          answers.forEach((answer, i) => {
            if (Result.isSuccess(answer)) {
              assert.deepInclude(answer.success.headers, ["apns-id", String(ids[i])])
              answered.push(ids[i]!)
            } else {
              assert.strictEqual(answer.failure.fate, "NotProcessed", answer.failure.message)
              todo.push(ids[i]!)
            }
          })
        }))
      }
      assert.isAbove(connections, 20)
      const sorted = (ids: ReadonlyArray<number>) => ids.toSorted((a, b) => a - b)
      const all = Array.from({ length: total }, (_, i) => i)
      assert.deepStrictEqual(sorted(answered), all)
      assert.deepStrictEqual(sorted(server.ids().map(Number)), all)
    }))

  it.live("a status with a body arrives", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.nginx(1000))
      const answer = yield* connection.request(push(1, "/gone"))
      assert.strictEqual(answer.status, 410)
      assert.strictEqual(text(answer.body), `{"reason":"Unregistered"}`)
    }))
})

describe.skipIf(Servers.isMissing("haproxy"))("haproxy", () => {
  it.live("answers of several kinds arrive at once, within the limit of streams", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.haproxy(20))
      assert.strictEqual(connection.room(), 20)
      const answers = yield* connection.requestAll(
        Array.from({ length: 600 }, (_, i) => push(i, i % 3 === 0 ? "/busy" : "/3/device/ab"))
      )
      assert.deepStrictEqual(tally(answers), { "200": 400, "429": 200 })
      const busy = Result.getOrThrow(answers[3]!)
      assert.strictEqual(text(busy.body), `{"reason":"TooManyRequests"}`)
      assert.deepInclude(busy.headers, ["apns-id", "3"])
    }))

  it.live("a window update per request before the first answer is not a flood", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.haproxy(1500), { maxStreams: 1500 })
      assert.deepStrictEqual(tally(yield* connection.requestAll(pushes(1500, "/late"))), { "503": 1500 })
    }))

  it.live("a request that it cuts off is unknown or refused, never answered", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.haproxy(20))
      const [answer] = yield* connection.requestAll([push(1, "/reject")])
      assert.match(brief(answer), /^(Unknown|Refused)/)
    }))
})

describe.skipIf(Servers.isPythonMissing)("python3-h2", () => {
  it.live("its changing limit of streams is always kept", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("changing_limits")
      const connection = yield* to(server)
      assert.strictEqual(connection.room(), 1)
      const answers = yield* connection.requestAll([...pushes(399), push(399, "/last")])
      assert.deepStrictEqual(tally(answers), { "200": 400 }, server.said())
      assert.strictEqual(server.said(), "")
    }))

  it.live("windows of seven bytes let bodies through", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("narrow_windows")
      const connection = yield* to(server)
      const answers = yield* connection.requestAll(pushes(50))
      assert.deepStrictEqual(
        answers.map((answer) => text(Result.getOrThrow(answer).body)),
        pushes(50).map(({ body }) => text(body!))
      )
      assert.strictEqual(server.said(), "")
    }))

  it.live("a dynamic table that shrinks soon stays in step", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.python("tables"))
      const answers = yield* connection.requestAll(pushes(300))
      answers.forEach((answer, i) => {
        const { headers } = Result.getOrThrow(answer)
        assert.deepInclude(headers, ["x-same", "always"])
        assert.deepInclude(headers, ["x-count", String(i)])
      })
    }))

  it.live("a GOAWAY with an error code and then the end fail its requests", () =>
    Effect.gen(function*() {
      const connection = yield* to(yield* Servers.python("goaway"))
      const answers = yield* connection.requestAll(pushes(10))
      assert.deepStrictEqual(answers.map((answer) => brief(answer).split(" ")[0]), [
        ...Array.from({ length: 5 }, () => "200"),
        ...Array.from({ length: 2 }, () => "Unknown"),
        ...Array.from({ length: 3 }, () => "Refused")
      ])
      const ending = yield* connection.closed
      assert.strictEqual(ending.goaway?.code, 11)
      assert.strictEqual(ending.goaway?.debug, `{"reason":"TooManyProviderTokenUpdates"}`)
      assert.strictEqual(connection.room(), 0)
    }))
})

describe.skipIf(Servers.isMissing("nghttpd"))("a network that fails", () => {
  const throughRelay = Effect.fnUntraced(function*(options: Partial<Connection.Options>) {
    const server = yield* Servers.nghttpd({ "a": "" }, "-m", "10")
    const between = yield* relay(server.port)
    const connection = yield* to({ ...server, port: between.port }, options)
    assert.strictEqual((yield* connection.request(push(0, "/a"))).status, 200)
    return { between, connection }
  })

  it.live("silence is noticed by PING: sent requests are unknown, the others not sent", () =>
    Effect.gen(function*() {
      const { between, connection } = yield* throughRelay({ idlePing: "200 millis", pingTimeout: "300 millis" })
      yield* between.hold
      const answers = yield* connection.requestAll(pushes(15, "/a"))
      assert.deepStrictEqual(tally(answers), { Unknown: 10, NotSent: 5 })
      assert.include((yield* connection.closed).detail, "PING")
    }))

  it.live("silence under load is noticed long before the deadlines of the requests", () =>
    Effect.gen(function*() {
      const deadline = Duration.seconds(30)
      const { between, connection } = yield* throughRelay({ pingTimeout: "400 millis", requestTimeout: deadline })
      yield* between.hold
      const [time, answers] = yield* Effect.timed(connection.requestAll(pushes(15, "/a")))
      assert.deepStrictEqual(tally(answers), { Unknown: 10, NotSent: 5 })
      assert.isBelow(Duration.toMillis(time), Duration.toMillis(deadline) / 10)
    }))

  it.live("silence ends each request at its own deadline too", () =>
    Effect.gen(function*() {
      const { between, connection } = yield* throughRelay({ requestTimeout: "300 millis" })
      yield* between.hold
      const answers = yield* connection.requestAll(pushes(15, "/a"))
      assert.deepStrictEqual(tally(answers), { "Timeout sent": 10, "Timeout waiting": 5 })
      assert.isTrue(connection.isOpen())
    }))

  it.live("a cut connection is noticed at once", () =>
    Effect.gen(function*() {
      const { between, connection } = yield* throughRelay({})
      yield* between.hold
      const waiting = yield* Effect.forkChild(connection.requestAll(pushes(15, "/a")))
      yield* Effect.yieldNow
      yield* between.cut
      assert.deepStrictEqual(tally(yield* Fiber.join(waiting)), { Unknown: 10, NotSent: 5 })
      assert.isFalse(connection.isOpen())
    }))

  it.live("closing the scope fails the open requests and says why", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "a": "" })
      const between = yield* relay(server.port)
      const answers: Array<Connection.Answer> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* to({ ...server, port: between.port })
        yield* between.hold
        connection.submit(push(1, "/a"), (answer) => answers.push(answer))
        yield* Effect.yieldNow
      }))
      assert.deepStrictEqual(answers.map(brief), ["Unknown"])
    }))
})

describe.skipIf(Servers.isMissing("nghttpd"))("interruption and room", () => {
  it.live("an interrupted request frees its stream", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "a": "" }, "-m", "1")
      const between = yield* relay(server.port)
      const connection = yield* to({ ...server, port: between.port })
      yield* between.hold
      const one = yield* Effect.forkChild(connection.request(push(1, "/a")))
      const all = yield* Effect.forkChild(connection.requestAll(pushes(3, "/a")))
      yield* Effect.yieldNow
      assert.strictEqual(connection.pending(), 4)
      yield* Fiber.interrupt(one)
      yield* Fiber.interrupt(all)
      assert.strictEqual(connection.pending(), 0)
      assert.strictEqual(connection.room(), 1)
    }))

  it.live("the listener is called when room grows and when the connection ends", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "a": "" }, "-m", "10")
      const connection = yield* to(server)
      const total = 500
      let sent = 0
      let most = 0
      let answered = 0
      const done = yield* Effect.callback<number>((resume) => {
        const fill = () => {
          if (!connection.isOpen()) return
          while (sent < total && connection.room() > 0) {
            connection.submit(push(sent++, "/a"), () => {
              if (++answered === total) resume(Effect.succeed(answered))
            })
          }
          most = Math.max(most, connection.pending())
        }
        connection.onRoom(fill)
        fill()
      })
      assert.strictEqual(done, total)
      assert.strictEqual(most, 10)
      let told = 0
      connection.onRoom(() => told++)
      yield* connection.retire
      assert.isAtLeast(told, 1)
    }))
})
