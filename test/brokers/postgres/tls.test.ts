/** Who is believed to be the server. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Broker } from "../../../src/Broker.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { defaultMode } from "../../../src/brokers/postgres/servers.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { certificates } from "../../support/certificates.ts"
import { allow, withServers } from "../../support/limits.ts"
import { cluster, isMissing, real } from "../../support/postgres.ts"

allow(withServers)

describe.skipIf(isMissing)("PostgresBroker over TLS", () => {
  real(
    "believes only a certificate of the authority for the host, unless told otherwise",
    () =>
      Effect.gen(function*() {
        const made = yield* certificates
        const { folder, port } = yield* cluster({
          files: { "server.crt": made.server.cert, "server.key": made.server.key },
          settings: ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key"]
        })
        assert.isAbove(folder.length, 0)
        const url = (host: string) => `postgres://postgres@${host}:${port}/postgres`
        const tls = { ca: made.ca }
        const works = (options: PostgresBroker.Options) =>
          Effect.scoped(Effect.flatMap(PostgresBroker.make(options), ({ broker }) => broker.ping))
        const refuses = (options: PostgresBroker.Options) =>
          Effect.map(Effect.flip(works(options)), ({ message }) => assert.match(message, /ca=FILE|sslmode/))
        yield* works({ url: url("localhost"), sslmode: "verify-full", tls })
        yield* refuses({ url: url("localhost"), sslmode: "verify-full" })
        yield* refuses({ url: url("127.0.0.1"), sslmode: "verify-full", tls })
        yield* works({ url: url("127.0.0.1"), sslmode: "verify-ca", tls })
        yield* refuses({ url: url("127.0.0.1"), sslmode: "verify-ca" })
        yield* works({ url: url("127.0.0.1"), sslmode: "require" })
        const byUrl = `${url("localhost")}?sslmode=verify-full&ca=${made.path("ca.crt")}`
        yield* Effect.provide(Broker.use(({ ping }) => ping), BrokerUrl.layer(byUrl))
      })
  )
})

describe("sslmode", () => {
  real("is verify-full for every host but this machine", () =>
    Effect.sync(() => {
      assert.deepStrictEqual(["localhost", "127.0.0.1", "::1"].map(defaultMode), ["disable", "disable", "disable"])
      assert.deepStrictEqual(
        ["db.example.org", "10.0.0.1", "localhost.example.org", "127.example.org"].map(defaultMode),
        Array.from({ length: 4 }, () => "verify-full")
      )
    }))
})
