/** Opening a connection, and every way in which that fails. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import type * as Tls from "node:tls"
import * as Connection from "../../src/http2/Connection.ts"
import { Flag, Type } from "../../src/http2/frame/frame.ts"
import { makeAuthority } from "../../src/testing/push/Certificate.ts"
import { certificates } from "../support/certificates.ts"
import * as Servers from "../support/http2Servers.ts"
import { allow, withServers } from "../support/limits.ts"
import { freePort, scripted } from "../support/network.ts"
import * as Peer from "./peer.ts"

allow(withServers)

const hour = 3_600_000

/** Answers each request with 200. */
const polite = (socket: Tls.TLSSocket): void => {
  socket.write(Peer.settings())
  Servers.frames(socket, (type, flags, stream) => {
    if (type === Type.headers && (flags & Flag.endStream) !== 0) socket.write(Peer.answer(stream))
  })
}

const server = Effect.fnUntraced(function*(
  options: Tls.TlsOptions = {},
  script: (socket: Tls.TLSSocket, number: number) => void = polite
) {
  const authority = yield* makeAuthority
  const identity = yield* authority.issue()
  const port = yield* Servers.scriptedTls({ ...identity, ...options }, script)
  return { port, authority, tls: { ca: authority.cert, servername: "localhost" } }
})

const attempt = (options: Omit<Connection.Options, "host"> & { readonly host?: string }) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* Connection.make({ host: "127.0.0.1", connectTimeout: "3 seconds", ...options })
    return yield* connection.request({ method: "GET", path: "/" })
  }))

const failure = (options: Parameters<typeof attempt>[0]) =>
  Effect.map(Effect.flip(attempt(options)), (error) => {
    assert.strictEqual(error.fate, "NotProcessed")
    return error.reason
  })

describe("TCP and DNS", () => {
  it.live("a port without a listener", () =>
    Effect.gen(function*() {
      const reason = yield* failure({ port: yield* freePort })
      assert.strictEqual(reason._tag, "Unreachable")
      assert.include(reason.message, "refused")
    }))

  it.live("a name without an address", () =>
    Effect.gen(function*() {
      const lookup = () => Effect.succeed([])
      const reason = yield* failure({ host: "nowhere.test", lookup })
      assert.strictEqual(reason._tag, "HostNotFound")
      assert.include(reason.message, "nowhere.test")
    }))

  it.live("an address that the options refuse is not dialled, nor another address of its host", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const looked: Array<string> = []
      const refuseAddress = (address: string) => {
        looked.push(address)
        return address === "127.0.0.9" ? "is a private address" : undefined
      }
      const lookup = () => Effect.succeed(["127.0.0.1", "127.0.0.9"])
      const reason = yield* failure({ host: "mixed.test", port, tls, lookup, refuseAddress })
      assert.strictEqual(reason._tag, "AddressRefused")
      assert.strictEqual(
        reason.message,
        "no connection to mixed.test: its address 127.0.0.9 is a private address"
      )
      const literal = yield* failure({ host: "127.0.0.9", port, tls, refuseAddress })
      assert.strictEqual(literal._tag, "AddressRefused")
      assert.strictEqual(
        (yield* attempt({ host: "good.test", port, tls, lookup: () => Effect.succeed(["127.0.0.1"]), refuseAddress }))
          .status,
        200
      )
      assert.strictEqual(looked.at(-1), "127.0.0.1")
    }))

  it.live("a new connection looks at the addresses again, as a name may change its address", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const answers = [["127.0.0.1"], ["127.0.0.9"]]
      const lookup = () => Effect.sync(() => answers.shift()!)
      const options = {
        host: "rebind.test",
        port,
        tls,
        lookup,
        refuseAddress: (address: string) => address === "127.0.0.9" ? "is a private address" : undefined
      }
      assert.strictEqual((yield* attempt(options)).status, 200)
      assert.strictEqual((yield* failure(options))._tag, "AddressRefused")
    }))

  it.live("a proxy resolves the name itself, so its addresses can't be looked at", () =>
    Effect.gen(function*() {
      const reason = yield* failure({
        host: "x.test",
        proxy: { host: "127.0.0.1", port: 1 },
        refuseAddress: () => undefined
      })
      assert.include(reason.message, "the option refuseAddress must not be set with a proxy")
    }))

  it.live("each connection resolves the name again and skips addresses that refuse", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const asked: Array<string> = []
      const lookup = (host: string) =>
        Effect.sync(() => {
          asked.push(host)
          // Only the first of them listens.
          return ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        })
      for (let i = 0; i < 5; i++) yield* attempt({ host: "localhost", port, tls, lookup })
      assert.deepStrictEqual(asked, Array.from({ length: 5 }, () => "localhost"))
    }))

  it.live("connections spread over the addresses", () =>
    Effect.gen(function*() {
      const authority = yield* makeAuthority
      const reached = new Set<string>()
      const script = (socket: Tls.TLSSocket) => {
        reached.add(socket.localAddress!)
        polite(socket)
      }
      const port = yield* Servers.scriptedTls(yield* authority.issue(), script, "0.0.0.0")
      const lookup = () => Effect.succeed(["127.0.0.1", "127.0.0.2"])
      // One seed after the other, so that it is the same each time.
      for (let seed = 0; seed < 10; seed++) {
        yield* attempt({ host: "localhost", port, tls: { ca: authority.cert }, lookup }).pipe(Random.withSeed(seed))
      }
      assert.deepStrictEqual([...reached].toSorted(), ["127.0.0.1", "127.0.0.2"])
    }))

  it.live.skipIf(Servers.isPythonMissing)(
    "a silent address does not use up the deadline, and the other sockets are closed",
    () =>
      Effect.gen(function*() {
        const { port, tls } = yield* server()
        const silent = yield* Servers.silent("127.0.0.2", port)
        const lookup = () => Effect.succeed(["127.0.0.1", silent, silent, silent])
        for (let seed = 0; seed < 4; seed++) {
          const answer = yield* attempt({ host: "localhost", port, tls, lookup }).pipe(Random.withSeed(seed))
          assert.strictEqual(answer.status, 200)
        }
        assert.notInclude(process.getActiveResourcesInfo(), "TCPConnectWrap")
      })
  )

  it.live.skipIf(Servers.isPythonMissing)("the last address may take until the deadline", () =>
    Effect.gen(function*() {
      const { port } = yield* server()
      const silent = yield* Servers.silent("127.0.0.2", port)
      const reason = yield* failure({
        host: "localhost",
        port,
        lookup: () => Effect.succeed([silent, silent]),
        connectTimeout: "1 second"
      })
      assert.deepInclude(reason, { _tag: "ConnectTimeout", stage: "connect" })
    }))

  it.live("IPv6 addresses are connected to", () =>
    Effect.gen(function*() {
      const authority = yield* makeAuthority
      const port = yield* Servers.scriptedTls(yield* authority.issue(), polite, "::1")
      const tls = { ca: authority.cert, servername: "localhost" }
      assert.strictEqual((yield* attempt({ host: "::1", port, tls })).status, 200)
    }))

  it.live("the system's DNS resolves names", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      assert.strictEqual((yield* attempt({ host: "localhost", port, tls })).status, 200)
    }))
})

describe("TLS", () => {
  it.live("a certificate of an untrusted authority is rejected", () =>
    Effect.gen(function*() {
      const { port } = yield* server()
      const reason = yield* failure({ port, tls: { servername: "localhost" } })
      assert.deepInclude(reason, { _tag: "TlsRejected", kind: "Untrusted" })
      assert.include(reason.message, "set tls.ca to the authority")
    }))

  it.live("a certificate for another name is rejected", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const reason = yield* failure({ port, tls: { ...tls, servername: "api.example.org" } })
      assert.deepInclude(reason, { _tag: "TlsRejected", kind: "WrongHost" })
      assert.include(reason.message, "tls.servername")
    }))

  it.live("an expired certificate is rejected", () =>
    Effect.gen(function*() {
      const authority = yield* makeAuthority
      const now = Date.now()
      const expired = yield* authority.issue({
        notBefore: new Date(now - 2 * hour),
        notAfter: new Date(now - hour)
      })
      const port = yield* Servers.scriptedTls(expired, polite)
      const reason = yield* failure({ port, tls: { ca: authority.cert, servername: "localhost" } })
      assert.deepInclude(reason, { _tag: "TlsRejected", kind: "Expired" })
    }))

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.live(`a client certificate is presented over ${version}`, () =>
      Effect.gen(function*() {
        const trusted = yield* makeAuthority
        const stranger = yield* makeAuthority
        const { port, tls } = yield* server({
          ca: trusted.cert,
          requestCert: true,
          rejectUnauthorized: true,
          minVersion: version,
          maxVersion: version
        })
        const using = ({ cert, key }: { readonly cert: string; readonly key: string }) => ({
          port,
          tls: { ...tls, cert, key: Redacted.make(key) }
        })
        assert.strictEqual((yield* attempt(using(yield* trusted.issue()))).status, 200)
        // Node.js's server cuts the connection without an alert where others send one.
        for (const options of [using(yield* stranger.issue()), { port, tls }]) {
          const reason = yield* failure(options)
          assert.include(["TlsRejected", "Unreachable"], reason._tag)
          assert.include(reason.message, "certificate")
        }
      }))
  }

  it.live.skipIf(Servers.isMissing("nghttpd"))(
    "a server's reason for rejecting the client certificate reaches the error",
    () =>
      Effect.gen(function*() {
        const { certs, port } = yield* Servers.nghttpd({ "index.html": "" }, "-V")
        const reason = yield* failure({ port, tls: { ca: certs.ca, servername: "localhost" } })
        assert.deepInclude(reason, { _tag: "TlsRejected", kind: "ClientCertificate" })
        assert.include(reason.message, "tls.cert")
      })
  )

  it.live("certificate and key may come in one file", () =>
    Effect.gen(function*() {
      const certs = yield* certificates
      execFileSync(
        "openssl",
        "pkcs12 -export -inkey client.key -in client.crt -out client.p12 -passout pass:secret".split(" "),
        { cwd: certs.path(".") }
      )
      const port = yield* Servers.scriptedTls({
        ...certs.server,
        ca: certs.ca,
        requestCert: true,
        rejectUnauthorized: true
      }, polite)
      const pfx = Redacted.make(readFileSync(certs.path("client.p12")))
      const tls = { ca: certs.ca, servername: "localhost", pfx }
      assert.strictEqual((yield* attempt({ port, tls: { ...tls, passphrase: Redacted.make("secret") } })).status, 200)
      const reason = yield* failure({ port, tls: { ...tls, passphrase: Redacted.make("s3cr3t") } })
      assert.strictEqual(reason._tag, "OptionInvalid")
      assert.notInclude(JSON.stringify(reason), "s3cr3t")
    }))

  it.live("an invalid PEM is refused", () =>
    Effect.gen(function*() {
      const reason = yield* failure({ tls: { cert: "not a PEM" } })
      assert.deepInclude(reason, { _tag: "OptionInvalid", option: "tls" })
    }))

  it.live("a server without a common TLS version is rejected", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server({ maxVersion: "TLSv1.2" })
      const reason = yield* failure({ port, tls: { ...tls, minVersion: "TLSv1.3" } })
      assert.deepInclude(reason, { _tag: "TlsRejected", kind: "Handshake" })
    }))

  it.live("a server that does not choose h2 is rejected", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server({ ALPNProtocols: undefined })
      const reason = yield* failure({ port, tls })
      assert.strictEqual(reason._tag, "NotHttp2")
      assert.include(reason.message, "requireAlpn")
      assert.strictEqual((yield* attempt({ port, tls: { ...tls, requireAlpn: false } })).status, 200)
    }))

  it.live("a server that refuses h2 is rejected", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server({ ALPNProtocols: ["http/1.1"] })
      const reason = yield* failure({ port, tls })
      assert.strictEqual(reason._tag, "NotHttp2")
    }))

  it.live("a port without TLS is recognised", () =>
    Effect.gen(function*() {
      const port = yield* scripted((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      const reason = yield* failure({ port })
      assert.deepInclude(reason, { _tag: "TlsRejected", kind: "Handshake" })
    }))

  it.live("a server of HTTP/1.1 and a closing server are different errors", () =>
    Effect.gen(function*() {
      const old = yield* server({}, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      assert.strictEqual((yield* failure(old))._tag, "NotHttp2")
      const closing = yield* server({}, (socket) => socket.end())
      assert.strictEqual((yield* failure(closing))._tag, "Unreachable")
    }))
})

describe("time", () => {
  const stageOf = (options: Parameters<typeof attempt>[0]) =>
    Effect.map(failure({ ...options, connectTimeout: "300 millis" }), (reason) => {
      assert.strictEqual(reason._tag, "ConnectTimeout")
      return reason._tag === "ConnectTimeout" ? reason.stage : undefined
    })

  it.live("one deadline covers every stage", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* stageOf({ host: "x.test", lookup: () => Effect.never }), "lookup")
      const silent = yield* scripted(() => {})
      assert.strictEqual(yield* stageOf({ port: silent }), "tls")
      assert.strictEqual(yield* stageOf({ port: 443, proxy: { host: "127.0.0.1", port: silent } }), "proxy")
      const { port, tls } = yield* server({}, () => {})
      assert.strictEqual(yield* stageOf({ port, tls }), "settings")
    }))

  it.live("a failed attempt closes its sockets at once, not with the caller's scope", () =>
    Effect.gen(function*() {
      let closed = 0
      const port = yield* scripted((socket) => socket.on("close", () => closed++).resume())
      yield* Effect.flip(Connection.make({ host: "127.0.0.1", port, connectTimeout: "100 millis" }))
      yield* Servers.eventually(() => closed === 1)
    }))
})

describe("options", () => {
  const bad: ReadonlyArray<readonly [string, Partial<Connection.Options>]> = [
    ["port", { port: 0 }],
    ["port", { port: 65_536 }],
    ["host", { host: "" }],
    ["host", { host: "a\r\nX: y" }],
    ["host", { host: "[::1]" }],
    ["proxy.host", { proxy: { host: "a b", port: 1 } }],
    ["connectTimeout", { connectTimeout: 0 }],
    ["connectTimeout", { connectTimeout: NaN }],
    ["requestTimeout", { requestTimeout: -1 }],
    ["requestTimeout", { requestTimeout: "soon" as "1 second" }],
    ["requestTimeout", { requestTimeout: "0 seconds" }],
    ["pingTimeout", { pingTimeout: 0 }],
    ["idlePing", { idlePing: 0 }],
    ["maxStreams", { maxStreams: 0 }],
    ["maxResponseSize", { maxResponseSize: 1.5 }]
  ]

  it.live.each(bad)("%s out of range is refused: %j", ([option, options]) =>
    Effect.gen(function*() {
      assert.deepInclude(yield* failure(options), { _tag: "OptionInvalid", option })
    }))
})

describe("a proxy", () => {
  /** A proxy that connects, if it is asked as it should be. */
  const proxy = Effect.fnUntraced(function*(credentials?: string, answer?: string) {
    const asked: Array<string> = []
    const port = yield* scripted((inner) => {
      inner.once("data", (chunk) => {
        const head = chunk.toString()
        asked.push(head.split("\r\n")[0]!)
        const wanted = credentials === undefined || head.includes(`Proxy-Authorization: Basic ${btoa(credentials)}\r\n`)
        if (!wanted) {
          inner.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
          return
        }
        const [host, target] = /CONNECT \[?([^\s\]]+)\]?:(\d+) /.exec(head)!.slice(1) as [string, string]
        const outer = Net.connect(Number(target), host === "localhost" ? "127.0.0.1" : host, () => {
          if (answer === undefined) {
            inner.write("HTTP/1.1 200 Connection ")
            setImmediate(() => inner.write("established\r\nVia: test\r\n\r\n"))
          } else inner.write(answer)
          inner.pipe(outer)
          outer.pipe(inner)
        })
        outer.on("error", () => inner.destroy())
        inner.on("close", () => outer.destroy())
      })
    })
    return { asked, port }
  })

  it.live("that connects", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const { asked, port: at } = yield* proxy()
      const options = { host: "localhost", port, tls: { ca: tls.ca }, proxy: { host: "127.0.0.1", port: at } }
      assert.strictEqual((yield* attempt(options)).status, 200)
      assert.deepStrictEqual(asked, [`CONNECT localhost:${port} HTTP/1.1`])
    }))

  it.live("that connects to an IPv6 address", () =>
    Effect.gen(function*() {
      const authority = yield* makeAuthority
      const port = yield* Servers.scriptedTls(yield* authority.issue(), polite, "::1")
      const { asked, port: at } = yield* proxy()
      const tls = { ca: authority.cert, servername: "localhost" }
      const options = { host: "::1", port, tls, proxy: { host: "127.0.0.1", port: at } }
      assert.strictEqual((yield* attempt(options)).status, 200)
      assert.deepStrictEqual(asked, [`CONNECT [::1]:${port} HTTP/1.1`])
    }))

  it.live.each([
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\nVia: test\n\n",
    "HTTP/1.0 200\r\n\r\n"
  ])("that answers %j", (answer) =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const { port: at } = yield* proxy(undefined, answer)
      const options = { host: "localhost", port, tls: { ca: tls.ca }, proxy: { host: "127.0.0.1", port: at } }
      assert.strictEqual((yield* attempt(options)).status, 200)
    }))

  it.live("that asks for a password", () =>
    Effect.gen(function*() {
      const { port, tls } = yield* server()
      const { port: at } = yield* proxy("me:s3cr3t")
      const via = (password: string) => ({
        port,
        tls,
        proxy: { host: "127.0.0.1", port: at, username: "me", password: Redacted.make(password) }
      })
      assert.strictEqual((yield* attempt(via("s3cr3t"))).status, 200)
      const reason = yield* failure(via("wr0ng"))
      assert.deepInclude(reason, { _tag: "ProxyRefused", status: 407 })
      assert.notInclude(JSON.stringify(reason), "wr0ng")
    }))

  const answers: ReadonlyArray<readonly [string, string, number]> = [
    ["does not want to", "HTTP/1.1 403 Forbidden\r\n\r\n", 403],
    ["can't reach the server", "HTTP/1.0 502 Bad Gateway\r\n\r\n", 502],
    ["is none", "220 smtp.example.org\r\n\r\n", 0],
    ["talks without an end", "HTTP/1.1 200 ".padEnd(20_000, "x"), 0],
    ["closes", "", 0]
  ]

  it.live.each(answers)("that %s", ([, bytes, status]) =>
    Effect.gen(function*() {
      const port = yield* scripted((socket) => socket.once("data", () => socket.end(bytes)))
      const reason = yield* failure({ host: "localhost", proxy: { host: "127.0.0.1", port } })
      assert.deepInclude(reason, { _tag: "ProxyRefused", status })
    }))

  const may: ReadonlyArray<readonly [string, (socket: Net.Socket) => void, boolean]> = [
    ["closes", (socket) => socket.end(), true],
    ["resets", (socket) => socket.resetAndDestroy(), true],
    ["closes within its answer", (socket) => socket.end("HTTP/1.1 200 Conn"), true],
    ["closes after information", (socket) => socket.end("HTTP/1.1 100 Continue\r\n\r\n"), true],
    ["sends something else", (socket) => socket.write("220 smtp.example.org\r\n"), true],
    ["waits too long", (socket) => socket.write("HTTP/1.0 408 Request Time-out\r\n\r\n"), true],
    ["has too much to do", (socket) => socket.write("HTTP/1.1 429 Too Many Requests\r\n\r\n"), true],
    ["can't reach the server", (socket) => socket.write("HTTP/1.1 502 Bad Gateway\r\n\r\n"), true],
    ["is being restarted", (socket) => socket.write("HTTP/1.1 503 Unavailable\r\n\r\n"), true],
    ["gets no answer", (socket) => socket.write("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), true],
    [
      "connects, and says in clear that it failed",
      (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Unavailable\r\n\r\n"),
      true
    ],
    [
      "connects, and says in clear that it is forbidden",
      (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n<html>"),
      false
    ],
    ["wants a password", (socket) => socket.write("HTTP/1.1 407 Who\r\n\r\n"), false],
    ["wants a login", (socket) => socket.write("HTTP/1.1 401 Who\r\n\r\n"), false],
    ["forbids it", (socket) => socket.write("HTTP/1.1 403 Forbidden\r\n\r\n"), false],
    ["does not connect", (socket) => socket.write("HTTP/1.1 405 Method Not Allowed\r\n\r\n"), false],
    ["can't connect", (socket) => socket.write("HTTP/1.1 501 Not Implemented\r\n\r\n"), false],
    ["is a portal", (socket) => socket.write("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"), false]
  ]

  it.live.each(may)("that %s is transient or not", ([, script, isTransient]) =>
    Effect.gen(function*() {
      const port = yield* scripted((socket) => socket.once("data", () => script(socket)))
      const reason = yield* failure({ host: "localhost", proxy: { host: "127.0.0.1", port } })
      assert.strictEqual(reason._tag === "ProxyRefused" && reason.isTransient, isTransient)
    }))

  it.live("that sends endless informational responses is left at once, and its text is escaped", () =>
    Effect.gen(function*() {
      const endless = yield* scripted((socket) =>
        socket.once("data", () => {
          const more = () => {
            while (!socket.destroyed && socket.write("HTTP/1.1 102 Processing\r\n\r\n".repeat(100)));
          }
          socket.on("drain", more)
          more()
        })
      )
      const given = yield* failure({
        host: "localhost",
        proxy: { host: "127.0.0.1", port: endless },
        connectTimeout: "1 minute"
      })
      assert.include(given.message, "informational responses")
      const hostile = yield* scripted((socket) =>
        socket.once("data", () => socket.end("HTTP/1.1 403 \u001b]0;x\u0007 no\u009b31m\r\n\r\n"))
      )
      const reason = yield* failure({ host: "localhost", proxy: { host: "127.0.0.1", port: hostile } })
      assert.include(reason.message, "403 \\x1b]0;x\\x07 no")
      assert.notMatch(reason.message, /\p{Cc}/u)
    }))

  it.live("that is not there", () =>
    Effect.gen(function*() {
      const reason = yield* failure({ host: "localhost", proxy: { host: "127.0.0.1", port: yield* freePort } })
      assert.strictEqual(reason._tag, "Unreachable")
      assert.include(reason.message, "the proxy")
    }))
})
