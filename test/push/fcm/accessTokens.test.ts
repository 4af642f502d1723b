/** Access tokens: what a program or the token server gives instead of one, and what it costs. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as Http2 from "node:http2"
import type { AddressInfo, Socket } from "node:net"
import * as AccessTokens from "../../../src/push/fcm/credential/accessTokens.ts"
import { parse } from "../../../src/push/fcm/credential/serviceAccount.ts"
import * as Account from "../../../src/testing/fcm/Account.ts"
import { Certificate } from "../../../src/testing/push/index.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const inAnHour = 3_600_000

describe("a program's own source of tokens", () => {
  const ask = Effect.fnUntraced(function*(given: unknown) {
    let calls = 0
    const source = AccessTokens.ofProgram(Effect.sync(() => {
      calls++
      return given as AccessTokens.AccessToken
    }))
    const account = yield* AccessTokens.ownAccount
    const { current } = AccessTokens.authorizerOf(account, source, yield* Effect.scope)
    const result = yield* Effect.result(current)
    return { result, calls }
  }, Effect.scoped)

  it.effect.each(
    [
      undefined,
      null,
      "token",
      {},
      { token: "", expiresAt: inAnHour },
      { token: 7, expiresAt: inAnHour },
      { token: Redacted.make(7), expiresAt: inAnHour },
      { token: "Bearer token", expiresAt: inAnHour },
      { token: "token\n", expiresAt: inAnHour },
      { token: "token\r\nx: y", expiresAt: inAnHour },
      { token: "t\u00f6ken", expiresAt: inAnHour },
      { token: "token" },
      { token: "token", expiresAt: Number.NaN },
      { token: "token", expiresAt: "3600000" },
      { token: "token", expiresAt: new Date(inAnHour) },
      { token: "token", expiresAt: 3600 },
      { access_token: "token", expiry_date: inAnHour }
    ].map((given) => ({ given }))
  )("is a fault of the configuration if it gives $given", ({ given }) =>
    Effect.gen(function*() {
      yield* TestClock.setTime(10_000)
      const { calls, result } = yield* ask(given)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure.action, "FixConfiguration")
        assert.match(result.failure.message, /accessToken must give/)
        assert.notInclude(result.failure.message, "x: y")
      }
      assert.strictEqual(calls, 1)
    }))

  it.effect.each([inAnHour, Infinity])("gives a token that ends at %s", (expiresAt) =>
    Effect.gen(function*() {
      const { result } = yield* ask({ token: Redacted.make("token"), expiresAt })
      assert.strictEqual(Redacted.value(Result.getOrThrow(result).value), "Bearer token")
    }))
})

describe("the token server", () => {
  type Answer = (stream: Http2.ServerHttp2Stream) => void

  const reply = (status: number, text: string, headers: Http2.OutgoingHttpHeaders = {}): Answer => (stream) => {
    stream.respond({ ":status": status, ...headers })
    stream.end(text)
  }

  const ask = Effect.fnUntraced(function*(answer: Answer) {
    const authority = yield* Certificate.makeAuthority
    const tls = yield* authority.issue({ names: ["127.0.0.1"] })
    const sockets = new Set<Socket>()
    let calls = 0
    const server = yield* Effect.acquireRelease(
      Effect.callback<Http2.Http2SecureServer>((resume) => {
        const server = Http2.createSecureServer(tls)
        server.on("connection", (socket: Socket) => sockets.add(socket))
        server.on("stream", (stream) => {
          calls++
          answer(stream.on("error", () => {}))
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.close()
        })
    )
    const uri = `https://127.0.0.1:${(server.address() as AddressInfo).port}/token`
    const json = Redacted.value(Account.toJson(yield* Account.makeAccount(), uri))
    const account = Result.getOrThrow(parse(json, "account.json"))
    const options = { ca: authority.cert, proxy: undefined, connectTimeout: undefined }
    const result = yield* Effect.result(AccessTokens.ofServiceAccount(account, options))
    const secret = (JSON.parse(json) as { private_key: string }).private_key.split("\n")[3]!
    return { result, calls: () => calls, secret }
  })

  const token = (fields: object) => JSON.stringify({ access_token: "token", expires_in: 3599, ...fields })

  const refusals: ReadonlyArray<readonly [what: string, answer: Answer, action: string]> = [
    ["a redirect", reply(302, "", { location: "https://127.0.0.1:1/" }), "Retry"],
    ["500", reply(500, ""), "Retry"],
    ["429", reply(429, "slow down"), "Retry"],
    ["a page with 200", reply(200, "<html>Log in</html>"), "Retry"],
    ["JSON without a token", reply(200, "{}"), "Retry"],
    ["a list", reply(200, `[${token({})}]`), "Retry"],
    ["a token that is no header", reply(200, token({ access_token: "a\r\nx: y" })), "Retry"],
    ["a token that is a number", reply(200, token({ access_token: 7 })), "Retry"],
    ["invalid_grant", reply(400, `{"error":"invalid_grant","error_description":"a\\u001b[31mb"}`), "FixConfiguration"],
    ["an error that is an object", reply(401, `{"error":{"code":401}}`), "FixConfiguration"],
    ["an empty 403", reply(403, ""), "FixConfiguration"]
  ]

  it.live.each(refusals)("may answer with %s", ([, answer, action]) =>
    Effect.gen(function*() {
      const { calls, result, secret } = yield* ask(answer)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure.action, action)
        assert.notInclude(result.failure.message, "\u001b")
        assert.notInclude(JSON.stringify(result.failure) + String(result.failure), secret)
      }
      assert.strictEqual(calls(), 1)
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))

  it.live.each([-1, 0, "3599", null])(
    "may give a lifetime of %s, which counts as an hour",
    (seconds) =>
      Effect.gen(function*() {
        const { result } = yield* ask(reply(200, token({ expires_in: seconds }).replace("null", "1e400")))
        const left = Result.getOrThrow(result).expiresAt - Date.now()
        assert.isAbove(left, 3_500_000)
        assert.isBelow(left, 3_700_000)
      }).pipe(Effect.scoped)
  )
})
