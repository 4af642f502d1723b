/** A connection to servers that others wrote. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Connection from "../../src/http2/Connection.ts"
import * as Servers from "./servers.ts"

const to = (server: { readonly port: number; readonly certs: { readonly ca: string } }): Connection.Options => ({
  host: "127.0.0.1",
  port: server.port,
  tls: { ca: server.certs.ca, servername: "localhost" },
  connectTimeout: "5 seconds"
})

const text = (body: Uint8Array): string => Buffer.from(body).toString()

const ok = (answer: Connection.Answer): number => Result.isSuccess(answer) ? answer.success.status : -1

describe.skipIf(Servers.isMissing("nghttpd"))("nghttpd", () => {
  it.live("answers one request, and many", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nghttpd({ "hello": "hello, world" }, "-m", "100")
      const connection = yield* Connection.make(to(server))
      const answer = yield* connection.request({ method: "GET", path: "/hello" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(text(answer.body), "hello, world")
      assert.isDefined(answer.headers.find(([name, value]) => name === "content-length" && value === "12"))
      assert.strictEqual((yield* connection.request({ method: "GET", path: "/none" })).status, 404)
      assert.strictEqual(connection.room(), 100)

      const shared = [{ name: "apns-topic", value: "org.example.app", index: true }]
      const answers = yield* connection.requestAll(Array.from({ length: 5000 }, (_, i) => ({
        method: "POST",
        path: "/hello",
        shared,
        headers: [{ name: "apns-id", value: String(i) }],
        body: Buffer.from(`body of ${i}`)
      })))
      assert.deepStrictEqual(answers.filter((answer) => ok(answer) !== 200), [])
      assert.strictEqual(answers.length, 5000)
      assert.isBelow(Duration.toMillis(yield* connection.ping), 1000)
      yield* connection.retire
      assert.isFalse(connection.isOpen())
    }))
})
