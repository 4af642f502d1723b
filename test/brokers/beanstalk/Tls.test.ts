import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { createPrivateKey } from "node:crypto"
import { writeFileSync } from "node:fs"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { find } from "../../../scripts/test/servers.ts"
import { Broker } from "../../../src/Broker.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import type { TlsOptions } from "../../../src/brokers/beanstalk/Connection.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { certificates } from "../../support/certificates.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

/** A TLS server in front of a real beanstalkd. */
const secured = Effect.fnUntraced(function*(options: Tls.TlsOptions) {
  const { port } = yield* Servers.beanstalkd()
  const certs = yield* certificates
  const server = Tls.createServer({ ...certs.server, ...options }, (socket) => {
    const outer = Net.connect(port, "127.0.0.1")
    socket.on("error", () => outer.destroy())
    outer.on("error", () => socket.destroy())
    socket.pipe(outer)
    outer.pipe(socket)
  })
  server.on("tlsClientError", (_, socket) => socket.destroy())
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  return { certs, plain: port, port: (server.address() as Net.AddressInfo).port }
})

const ask = (port: number, tls: TlsOptions | undefined, host = "localhost") =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* Native.driver({ host, port, tls, connectTimeout: "3 seconds" }).connect
    const [answer] = yield* connection.request([{ _tag: "ListTubeUsed" }])
    return answer?._tag === "Unanswered" ? answer.error.reason : answer
  })).pipe(Effect.catchTag("BrokerError", (error) => Effect.succeed(error.reason)))

const detail = (result: object | undefined): string => String((result as { detail?: string }).detail)

describe("TLS", () => {
  Servers.real("connects with the authority that signed the certificate", () =>
    Effect.gen(function*() {
      const { certs, port } = yield* secured({})
      assert.deepInclude({ ...yield* ask(port, { ca: certs.ca }) }, { _tag: "Using", tube: "default" })
      assert.deepInclude({ ...yield* ask(port, { ca: [certs.ca], minVersion: "TLSv1.3" }) }, { _tag: "Using" })
    }))

  Servers.real("refuses a certificate that is not trusted, or for another name", () =>
    Effect.gen(function*() {
      const { certs, port } = yield* secured({})
      const untrusted = yield* ask(port, {})
      assert.strictEqual(untrusted?._tag, "Unavailable")
      assert.include(detail(untrusted), "tls.ca")
      const other = yield* ask(port, { ca: certs.ca, servername: "queue.example.org" })
      assert.include(detail(other), "tls.servername")
      assert.include(detail(yield* ask(port, { ca: certs.ca }, "127.0.0.1")), "tls.servername")
      assert.strictEqual((yield* ask(port, { ca: certs.ca, servername: "localhost" }, "127.0.0.1"))?._tag, "Using")
    }))

  Servers.real(
    "a certificate for another purpose is reported at once, with what to do, and causes no wait",
    () =>
      Effect.gen(function*() {
        const certs = yield* certificates
        for (const wrong of [certs.clientOnly, certs.mailOnly]) {
          const { port } = yield* secured(wrong)
          const options = { host: "localhost", port, tls: { ca: certs.ca } }
          assert.include(detail(yield* ask(port, options.tls)), "serverAuth")
          // forever, if that makes sense
          const { broker } = yield* BeanstalkBroker.make(Native.driver(options))
          const consumer = Effect.flatMap(broker.consume(["q"]), (consumer) => consumer.reserve(1))
          const error = yield* Effect.flip(Effect.timeout(consumer, "5 seconds"))
          assert(error._tag === "BrokerError")
          assert.include(error.message, "serverAuth")
        }
      })
  )

  Servers.real("messages name the keys of a URL", () =>
    Effect.gen(function*() {
      const { certs, plain, port } = yield* secured({})
      const strict = yield* secured({ ca: certs.ca, requestCert: true, rejectUnauthorized: true })
      const ca = `?ca=${certs.path("ca.crt")}`
      writeFileSync(certs.path("none"), "nonsense")
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        [`beanstalks://localhost:${port}`, /not trusted .*set ca in the URL/],
        [`beanstalks://127.0.0.1:${port}${ca}`, /set servername in the URL/],
        [`beanstalks://localhost:${port}?ca=${certs.path("none")}`, /ca in the URL, .* must be PEM/],
        [`beanstalks://localhost:${port}${ca}&cert=${certs.path("none")}`, /cert in the URL, .* must be PEM/],
        [`beanstalks://localhost:${port}${ca}&key=${certs.path("none")}`, /key in the URL, .* must be PEM/],
        [`beanstalks://localhost:${port}?ca=/nowhere/a+b.pem`, /ca=\/nowhere\/a b\.pem can't be read.*write %2B/],
        [`beanstalks://localhost:${port}?ca=/nowhere`, /^"beanstalks:[^"]*" can't be used: ca=\/nowhere can't be read/],
        [`beanstalks://localhost:${port}${ca}&cert=/nowhere`, /cert=\/nowhere can't be read/],
        [
          `beanstalks://localhost:${strict.port}?ca=${strict.certs.path("ca.crt")}`,
          /\(tlsv13 alert certificate required\): check cert in the URL, key in the URL and min-version/
        ],
        [`beanstalk://localhost:${port}`, /a URL that begins with beanstalks:/],
        [`beanstalks://localhost:${plain}${ca}&connect-timeout=300ms`, /speaks TLS on this port/]
      ]
      for (const [url, says] of cases) {
        const error = yield* Broker.use((broker) => broker.ping).pipe(
          Effect.provide(BrokerUrl.layer(url)),
          Effect.flip
        )
        assert.match(error.message, says)
        assert.notMatch(error.message, /tls\.|Timeout\b/, url)
      }
    }))

  Servers.real(
    "files of another kind, or of another certificate, are reported at once by their option",
    () =>
      Effect.gen(function*() {
        const { certs, port } = yield* secured({})
        const write = (name: string, text: string) => {
          writeFileSync(certs.path(name), text)
          return `=${certs.path(name)}`
        }
        const file = (name: string) => `=${certs.path(name)}`
        const oneLine = (pem: string) => pem.replaceAll("\n", "")
        const torn = certs.ca.split("\n").filter((_, i) => i !== 2).join("\n")
        const garbage = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
        const locked = String(
          createPrivateKey(certs.client.key).export({
            type: "pkcs8",
            format: "pem",
            cipher: "aes-128-cbc",
            passphrase: "x"
          })
        )
        const own = `&ca${file("ca.crt")}`
        const cert = `cert${file("client.crt")}`
        const key = `key${file("client.key")}`
        const cases: ReadonlyArray<readonly [string, RegExp]> = [
          [`ca${write("torn.crt", torn)}`, /ca in the URL, .* certificate 1 of it is damaged/],
          [`ca${write("second.crt", certs.ca + garbage)}`, /ca in the URL, .* certificate 2 of it is damaged/],
          [`ca${write("cut.crt", certs.ca.slice(0, 200))}`, /ca in the URL, .* damaged/],
          [`ca${write("line.crt", oneLine(certs.ca))}`, /ca in the URL, .* damaged/],
          [`ca${file("ca.key")}`, /ca in the URL, .* must have a certificate, not only a private key/],
          [`${key}&cert${write("garbage.crt", garbage)}${own}`, /cert in the URL, .* damaged/],
          [
            `cert${file("client.key")}&key${file("client.crt")}${own}`,
            /cert in the URL, .* must have a certificate, not only a private key/
          ],
          [
            `${cert}&key${file("client.crt")}${own}`,
            /key in the URL, .* must have a private key, not only a certificate/
          ],
          [`${cert}&key${write("locked.key", locked)}${own}`, /key in the URL, .* passphrase.*openssl pkey/],
          [
            `${cert}&key${write("torn.key", certs.client.key.replace(/M.{20}/, ""))}${own}`,
            /key in the URL, .* damaged/
          ],
          [`${cert}&key${file("server.key")}${own}`, /key in the URL, .* must be the private key of the certificate/],
          [`${cert}${own}`, /cert in the URL, .* must be given with key in the URL/],
          [`${key}${own}`, /key in the URL, .* must be given with cert in the URL/]
        ]
        for (const [query, says] of cases) {
          const error = yield* Broker.use((broker) => broker.ping).pipe(
            Effect.provide(BrokerUrl.layer(`beanstalks://localhost:${port}?${query}`)),
            Effect.flip
          )
          assert(error._tag === "BrokerError" && error.reason._tag === "OptionInvalid", error.message)
          assert.match(error.message, says)
          assert.notMatch(error.message, /error:|BEGIN .*KEY/, query)
        }
        // other forms of a valid certificate still work
        for (
          const ca of [certs.ca.replaceAll("\n", "\r\n"), `\ufeff# ours\n${certs.ca}`, certs.server.cert + certs.ca]
        ) {
          assert.strictEqual((yield* ask(port, { ca }))?._tag, "Using")
        }
      })
  )

  Servers.real(
    "an address as servername is checked against the certificate, without a warning of Node.js",
    () =>
      Effect.gen(function*() {
        const { certs, port } = yield* secured({})
        const warnings: Array<string> = []
        const warned = (warning: Error) => warnings.push(warning.message)
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("warning", warned)),
          () => Effect.sync(() => process.off("warning", warned))
        )
        for (const servername of ["127.0.0.1", "::1"]) {
          const other = yield* ask(port, { ca: certs.ca, servername })
          assert.include(detail(other), "certificate is for another name")
          assert.include(detail(other), servername)
        }
        const address = yield* secured(certs.address)
        const tls = { ca: certs.ca, servername: "10.0.0.1" }
        assert.strictEqual((yield* ask(address.port, tls))?._tag, "Using")
        assert.deepStrictEqual(warnings, [])
      })
  )

  Servers.real("a client certificate is sent, and its absence is reported", () =>
    Effect.gen(function*() {
      const certs = yield* certificates
      const { certs: own, port } = yield* secured({ ca: certs.ca, requestCert: true, rejectUnauthorized: true })
      const tls = { ca: own.ca, cert: certs.client.cert, key: Redacted.make(certs.client.key) }
      assert.strictEqual((yield* ask(port, tls))?._tag, "Using")
      assert.notStrictEqual((yield* ask(port, { ca: own.ca }))?._tag, "Using")
    }))

  Servers.real("a minimum version that the server lacks is reported", () =>
    Effect.gen(function*() {
      const { certs, port } = yield* secured({ maxVersion: "TLSv1.2" })
      const result = yield* ask(port, { ca: certs.ca, minVersion: "TLSv1.3" })
      assert.include(detail(result), "tls.minVersion")
    }))

  Servers.real("TLS to a plain port is reported, and the reverse", () =>
    Effect.gen(function*() {
      const { certs, plain, port } = yield* secured({})
      const toPlain = yield* ask(plain, { ca: certs.ca })
      assert.include(detail(toPlain), "TLS")
      const toTls = yield* ask(port, undefined)
      assert.include(detail(toTls), "tls option")
    }))
})

const stunnel = find("stunnel4")

describe.skipIf(stunnel === undefined && process.env["CI"] !== "true")("stunnel", () => {
  Servers.real("connects to a beanstalkd behind it", () =>
    Effect.gen(function*() {
      const server = yield* Servers.beanstalkd()
      const certs = yield* certificates
      const port = yield* Network.freePort
      writeFileSync(
        certs.path("stunnel.conf"),
        [
          "foreground = yes",
          "pid =",
          "[beanstalkd]",
          `accept = 127.0.0.1:${port}`,
          `connect = 127.0.0.1:${server.port}`,
          `cert = ${certs.path("server.crt")}`,
          `key = ${certs.path("server.key")}`
        ].join("\n")
      )
      yield* Effect.acquireRelease(
        Effect.sync(() => spawn(stunnel ?? "stunnel4", [certs.path("stunnel.conf")], { stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill())
      )
      yield* Network.listening(port)
      assert.strictEqual((yield* ask(port, { ca: certs.ca }))?._tag, "Using")
    }))
})
