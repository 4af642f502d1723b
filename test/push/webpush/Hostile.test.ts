/** Push services of strangers that answer slowly, endlessly, or nothing that makes sense. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Http2 from "node:http2"
import type { AddressInfo, Socket } from "node:net"
import * as Tls from "node:tls"
import { Http2Error } from "../../../src/http2/index.ts"
import { providerOf } from "../../../src/push/webpush/answer/provider.ts"
import { AddressGuard, Reason, VapidKey, WebPush, WebPushError } from "../../../src/push/webpush/index.ts"
import { Certificate } from "../../../src/testing/webpush/index.ts"
import { allow, withServers } from "../../support/limits.ts"
import { browser, subscribe } from "./browser.ts"

allow(withServers)

interface Server {
  readonly port: number
  readonly ca: string
}

const listening = Effect.fnUntraced(function*(make: (tls: Tls.TlsOptions) => Tls.Server | Http2.Http2SecureServer) {
  const authority = yield* Certificate.makeAuthority
  const { cert, key } = yield* authority.issue({ names: ["push.example.com"] })
  const sockets = new Set<Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Tls.Server | Http2.Http2SecureServer>((resume) => {
      const server = make({ cert, key })
      server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => {})))
      server.on("tlsClientError", () => {})
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  return { port: (server.address() as AddressInfo).port, ca: authority.cert } satisfies Server
})

/** A server without HTTP/2 that answers a request by writing to the socket. */
const plain = (answer: (socket: Socket) => void) =>
  listening((tls) =>
    Tls.createServer({ ...tls, ALPNProtocols: ["http/1.1"] }, (socket) => {
      socket.on("error", () => {})
      socket.once("data", () => answer(socket))
    })
  )

/** A server with HTTP/2. */
const modern = (answer: (stream: Http2.ServerHttp2Stream) => void) =>
  listening((tls) =>
    Http2.createSecureServer(tls).on("stream", (stream) => {
      stream.on("error", () => {})
      answer(stream)
    })
  )

const reply = (text: string) => (socket: Socket) => void socket.write(text)

/** Writes a part again and again. */
const repeat = (start: string, part: string, millis: number) => (socket: Socket) => {
  socket.write(start)
  const timer = setInterval(() => socket.write(part), millis)
  socket.on("close", () => clearInterval(timer))
}

const network = Layer.merge(
  AddressGuard.layer((address) => address === "127.0.0.1"),
  Layer.succeed(AddressGuard.Resolver, () => Effect.succeed(["127.0.0.1"]))
)

/** The failure of a message to a server, and how long it took. */
const failureAt = Effect.fnUntraced(function*({ ca, port }: Server, queueTimeout: Duration.Input = "2 seconds") {
  const { privateKey } = yield* VapidKey.generate
  const layer = WebPush.layer({
    keys: { privateKey: Redacted.make(Redacted.value(privateKey)) },
    subject: "mailto:ops@example.com",
    allow: ["push.example.com:*"],
    ca,
    requestTimeout: "300 millis",
    queueTimeout,
    drainTimeout: 0
  })
  const context = yield* Layer.build(Layer.provide(layer, network))
  const sent = Context.get(context, WebPush.WebPush).send(
    { body: "hello", ttl: 60 },
    subscribe(browser(), `https://push.example.com:${port}/push/an-endpoint`)
  )
  const [duration, error] = yield* Effect.timed(Effect.flip(sent))
  return { error, millis: Duration.toMillis(duration) }
})

const created = "HTTP/1.1 201 Created\r\n"

const hostile: ReadonlyArray<readonly [what: string, answer: (socket: Socket) => void, tag: string]> = [
  ["nothing", () => {}, "Timeout"],
  ["a head that never ends", repeat(created, "x: y\r\n", 100), "Timeout"],
  ["provisional answers without end", repeat("", "HTTP/1.1 103 Early Hints\r\n\r\n", 100), "Timeout"],
  [
    "a body that never ends, slowly",
    repeat(`${created}transfer-encoding: chunked\r\n\r\n`, "1\r\nx\r\n", 100),
    "Timeout"
  ],
  ["a body that never ends, fast", repeat(`${created}\r\n`, "x".repeat(4096), 20), "Unknown"],
  ["a head that is too large", reply(`${created}${"x: y\r\n".repeat(20_000)}\r\n`), "Unknown"],
  ["no HTTP", reply("hello\r\n\r\n"), "Unknown"],
  ["its end", (socket) => void socket.end(), "Unknown"],
  ["a redirect", reply("HTTP/1.1 307 x\r\nlocation: https://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"), "Rejected"]
]

const hostileStreams: ReadonlyArray<
  readonly [what: string, answer: (stream: Http2.ServerHttp2Stream) => void, tag: string]
> = [
  ["nothing", () => {}, "Timeout"],
  ["a body that never ends, slowly", (stream) => {
    stream.respond({ ":status": 201 })
    const timer = setInterval(() => stream.write("x"), 100)
    stream.on("close", () => clearInterval(timer))
  }, "Timeout"],
  ["provisional answers without end", (stream) => {
    const timer = setInterval(() => stream.additionalHeaders({ ":status": 103 }), 100)
    stream.on("close", () => clearInterval(timer))
  }, "Timeout"],
  ["a body that never ends, fast", (stream) => {
    stream.respond({ ":status": 201 })
    const more = () => void stream.write("x".repeat(65_536), (error) => error ?? setImmediate(more))
    more()
  }, "Unknown"],
  [
    "a redirect",
    (stream) => stream.respond({ ":status": 308, location: "https://127.0.0.1:1/" }, { endStream: true }),
    "Rejected"
  ]
]

const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** SETTINGS that allow no stream. */
const noStreams = frame(4, 0, 0, Buffer.from("000300000000", "hex"))

const refusing: ReadonlyArray<
  readonly [what: string, make: (tls: Tls.TlsOptions) => Tls.Server | Http2.Http2SecureServer]
> = [
  [
    "refuses each stream",
    (tls) => Http2.createSecureServer(tls).on("stream", (stream) => stream.on("error", () => {}).close(7))
  ],
  ["allows no stream", (tls) =>
    Tls.createServer({ ...tls, ALPNProtocols: ["h2"] }, (socket) => {
      socket.on("error", () => {})
      socket.write(Buffer.concat([noStreams, frame(4, 1, 0, Buffer.alloc(0))]))
    })],
  [
    "closes each connection",
    (tls) => Tls.createServer({ ...tls, ALPNProtocols: ["h2"] }, (socket) => void socket.end())
  ]
]

describe("a push service of a stranger", () => {
  it.live.each(refusing)("that %s does not keep a job without end", ([, make]) =>
    Effect.gen(function*() {
      const { error } = yield* failureAt(yield* listening(make), "1500 millis")
      assert.strictEqual(error.reason._tag, "Unreachable")
      assert.strictEqual(error.action, "RetryLater")
    }).pipe(Effect.scoped, Effect.timeout("4 seconds"), Effect.provide(Logger.layer([]))))

  it.each(["a..push.apple.com", "made-up.push.apple.com", "made-up.notify.windows.com", "push.example.com"])(
    "at %s need not exist",
    (host) => {
      const { failures, judgeDial } = providerOf({ host })
      const missing = Http2Error.make(new Http2Error.HostNotFound({ host, detail: "ENOTFOUND" }))
      const untrusted = Http2Error.make(
        new Http2Error.TlsRejected({ server: host, kind: "Untrusted", detail: "no certificate" })
      )
      assert.isUndefined(judgeDial(untrusted))
      for (const failure of [failures.unanswered(missing), failures.notSent("x"), failures.unprocessed("x")]) {
        assert.strictEqual(failure.action, "RetryLater")
      }
    }
  )

  it("may be one that exists: then jobs wait for it", () => {
    for (const host of ["fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com"]) {
      const { failures, judgeDial } = providerOf({ host })
      const untrusted = Http2Error.make(
        new Http2Error.TlsRejected({ server: host, kind: "Untrusted", detail: "no certificate" })
      )
      assert.strictEqual(judgeDial(untrusted)?.action, "FixConfiguration")
      assert.strictEqual(failures.notSent("x").action, "Retry")
      assert.strictEqual(failures.unprocessed("x").action, "Retry")
    }
  })

  it("is no fault of the configuration if it refuses the authorization and nobody has listed it", () => {
    const about = { host: "push.example.com", subscription: "x", key: "default", bytes: 0 }
    for (const status of [401, 403]) {
      const refusal = Reason.classify("Other", { status, headers: [], body: Buffer.alloc(0) }, 0)
      assert.strictEqual(WebPushError.fromRefusal(refusal, about).action, "FixConfiguration")
      assert.strictEqual(WebPushError.fromRefusal(refusal, { ...about, isStranger: true }).action, "RetryLater")
    }
  })

  it.live.each(hostile)("that answers over HTTP/1.1 with %s", ([, answer, tag]) =>
    Effect.gen(function*() {
      const { error, millis } = yield* failureAt(yield* plain(answer))
      assert.strictEqual(error.reason._tag, tag)
      assert.isBelow(millis, 2500)
    }).pipe(Effect.scoped, Effect.timeout("4 seconds"), Effect.provide(Logger.layer([]))))

  it.live.each(hostileStreams)("that answers over HTTP/2 with %s", ([, answer, tag]) =>
    Effect.gen(function*() {
      const { error, millis } = yield* failureAt(yield* modern(answer))
      assert.strictEqual(error.reason._tag, tag)
      assert.isBelow(millis, 2500)
    }).pipe(Effect.scoped, Effect.timeout("4 seconds"), Effect.provide(Logger.layer([]))))
})
