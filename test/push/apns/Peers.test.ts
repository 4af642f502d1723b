/**
 * Pushes to servers that others wrote. What counts is what the server saw:
 * every push is settled once, none is lost, and none is sent twice that may
 * have been processed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Reason from "../../../src/push/apns/answer/Reason.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import { type IssueOptions, makeAuthority } from "../../../src/testing/push/Certificate.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import * as Http2 from "../../support/http2Servers.ts"
import { allow, withServers } from "../../support/limits.ts"
import { relay } from "../../support/network.ts"
import * as Servers from "./servers.ts"

allow(withServers)

const hello = Notification.alert({ body: "Hello" })

interface Numbered extends Apns.Push {
  readonly i: number
}

const numbered = (count: number, prefix: (i: number) => string | undefined = () => undefined) =>
  Array.from({ length: count }, (_, i): Numbered => ({
    i,
    notification: hello,
    token: Servers.token(i, prefix(i)),
    apnsId: Servers.apnsId(i)
  }))

/** Pushes, and makes sure that each push has one result. */
const pushAll = Effect.fnUntraced(function*(pushes: ReadonlyArray<Numbered>, options?: Apns.SendAllOptions) {
  const results = yield* Apns.sendAll(Stream.fromIterable(pushes), options).pipe(Stream.runCollect)
  assert.deepStrictEqual(
    results.map(({ push }) => push.i).toSorted((a, b) => a - b),
    pushes.map(({ i }) => i)
  )
  return results
})

const word = (result: Result.Result<unknown, ApnsError.ApnsError>): string => {
  if (Result.isSuccess(result)) return "accepted"
  const { reason } = result.failure
  return reason._tag === "Timeout" ? `Timeout ${reason.stage}` : reason._tag
}

const tally = (words: ReadonlyArray<string>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

const words = (results: ReadonlyArray<Apns.PushResult>) => tally(results.map(({ result }) => word(result)))

/** The message of the first failure. */
const messageOf = (results: ReadonlyArray<Apns.PushResult>) =>
  results.map(({ result }) => Result.isFailure(result) ? result.failure.message : "").find((text) => text !== "") ?? ""

/** The ids of the pushes that ended with one of these words, in order. */
const idsOf = (results: ReadonlyArray<Apns.PushResult<Numbered>>, ...wanted: ReadonlyArray<string>) =>
  results.filter(({ result }) => wanted.includes(word(result))).map(({ push }) => push.apnsId!).toSorted()

/** Waits for what a server writes down when it is done. */
const eventually = (check: () => boolean) =>
  Effect.suspend(() => check() ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry({ times: 100, schedule: Schedule.spaced("20 millis") }),
    Effect.ignore
  )

const twice = (ids: ReadonlyArray<string>) => Object.entries(tally(ids)).filter(([, times]) => times > 1)

/** Each of the first pushes was seen, once. */
const assertOnce = (seen: ReadonlyArray<{ readonly id: string }>, count: number) => {
  const times = tally(seen.map(({ id }) => id))
  const lost = Array.from({ length: count }, (_, i) => Servers.apnsId(i)).filter((id) => times[id] === undefined)
  assert.deepStrictEqual({ lost, twice: twice(seen.map(({ id }) => id)) }, { lost: [], twice: [] })
}

/** Pushes 4000 while a server replaces its connections: all are accepted, and each was seen once. */
const assertSurvives = Effect.fnUntraced(function*(
  server: Servers.Target & { readonly seen: () => ReadonlyArray<Servers.Seen> },
  pushes: Stream.Stream<Numbered>
) {
  const results = yield* Apns.sendAll(pushes, { inFlight: 300 }).pipe(
    Stream.runCollect,
    Effect.provide(Servers.client(server))
  )
  assert.deepStrictEqual(words(results), { accepted: 4000 })
  yield* eventually(() => server.seen().length >= 4000)
  assertOnce(server.seen(), 4000)
  assert.isAtLeast(new Set(server.seen().map(({ connection }) => connection)).size, 3)
})

describe.skipIf(Http2.isMissing("nginx"))("nginx", () => {
  it.live("with a GOAWAY after each 1000 of 20,000 pushes, no push is lost or sent twice", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(1000)
      const results = yield* Effect.provide(pushAll(numbered(20_000), { inFlight: 900 }), Servers.client(server))
      assert.deepStrictEqual(words(results), { accepted: 20_000 })
      const seen = server.seen()
      assert.deepStrictEqual(tally(seen.map(({ status }) => String(status))), { "200": 20_000 })
      assertOnce(seen, 20_000)
      assert.isAtLeast(new Set(seen.map(({ connection }) => connection)).size, 20)
    }))

  it.live("a connection that closes instead of an answer makes that push unknown, and the others are not lost", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(1000)
      const pushes = numbered(500, (i) => i % 100 === 99 ? "444" : undefined)
      const results = yield* Effect.provide(pushAll(pushes, { inFlight: 20 }), Servers.client(server))
      assert.hasAllKeys(words(results), ["accepted", "Unknown"])
      const unknown = idsOf(results, "Unknown")
      for (let i = 99; i < 500; i += 100) assert.include(unknown, Servers.apnsId(i))
      const seen = server.seen()
      assert.deepStrictEqual(twice(seen.map(({ id }) => id)), [])
      const answered = seen.filter(({ status }) => status === 200).map(({ id }) => id).toSorted()
      assert.includeMembers(answered, idsOf(results, "accepted"))
    }))
})

describe.skipIf(Http2.isMissing("nginx"))("provider tokens that nginx calls expired", () => {
  it.live("are not renewed within 20 minutes, and cause no storm of connections", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(1000)
      const { prefix } = Servers.refusals.find(({ reason }) => reason === "ExpiredProviderToken")!
      const results = yield* Effect.provide(pushAll(numbered(3000, () => prefix)), Servers.client(server))
      for (const { result } of results) {
        assert.isTrue(Result.isFailure(result) && result.failure.action === "RenewAuthorization", word(result))
      }
      // pushes that are not sent when the first answers arrive are never sent
      const seen = server.seen()
      assert.deepStrictEqual(twice(seen.map(({ id }) => id)), [])
      assert.isAtMost(seen.length, 1000)
      assert.strictEqual(new Set(seen.map(({ authorization }) => authorization)).size, 1)
      assert.match(seen[0]!.authorization, /^[\w-]+\.[\w-]+\.[\w-]+$/)
      assert.isAtMost(new Set(seen.map(({ connection }) => connection)).size, 10)
    }))
})

describe.skipIf(Http2.isMissing("nginx"))("a network that goes silent", () => {
  it.live("makes sent pushes unknown after the PING, and the rest is sent once the network is back", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(1000)
      const between = yield* relay(server.port)
      const client = Servers.client({ ...server, port: between.port }, {
        idlePing: "200 millis",
        pingTimeout: "300 millis",
        connectTimeout: "500 millis"
      })
      yield* Effect.gen(function*() {
        yield* pushAll(numbered(100))
        yield* between.hold
        const before = between.connections()
        const waiting = yield* Effect.forkChild(pushAll(numbered(1000).slice(100), { inFlight: 100 }))
        // the silent one was given up for another
        yield* eventually(() => between.connections() > before)
        yield* between.release
        const results = yield* Fiber.join(waiting)
        assert.deepStrictEqual(words(results), { Unknown: 100, accepted: 800 })
      }).pipe(Effect.provide(client))
      assert.deepStrictEqual(twice(server.seen().map(({ id }) => id)), [])
      assert.isAtMost(between.connections(), 5)
    }))
})

describe.skipIf(Http2.isMissing("haproxy"))("haproxy", () => {
  it.live("every reason that Apple gives", () =>
    Effect.gen(function*() {
      const server = yield* Servers.haproxy
      yield* Effect.forEach(
        Servers.refusals,
        ({ prefix, reason, status }, i) =>
          Effect.gen(function*() {
            const token = Servers.token(i, prefix)
            const error = yield* Effect.flip(Apns.send(hello, token, { apnsId: Servers.apnsId(i) }))
            const expected = ApnsError.fromAnswer({ status, reason, token, timestamp: undefined })
            assert.strictEqual(error.reason._tag, expected.reason._tag, reason)
            assert.strictEqual(error.action, expected.action, reason)
            assert.deepInclude(error.reason, { status, reason })
            if (status === 410) assert.deepInclude(error.reason, { timestamp: 1_700_000_000_000 })
          }).pipe(Effect.provide(Servers.client(server))),
        { concurrency: 4 }
      )
    }))

  it.live("answers of many kinds at once reach the right push, and each is sent once", () =>
    Effect.gen(function*() {
      const server = yield* Servers.haproxy
      const ofOnePush = Servers.refusals.filter(({ reason, status }) =>
        status < 500 && ["FixNotification", "DropToken", "CheckToken", "RetryLater"].includes(
          Reason.classify(status, reason).action
        )
      )
      const refusal = (i: number) => i % 3 === 0 ? ofOnePush[i / 3 % ofOnePush.length] : undefined
      const pushes = numbered(3000, (i) => refusal(i)?.prefix)
      const results = yield* Effect.provide(pushAll(pushes), Servers.client(server))
      for (const { push: { i }, result } of results) {
        const expected = refusal(i)
        if (expected === undefined) assert.isTrue(Result.isSuccess(result), word(result))
        else {
          assert.isTrue(Result.isFailure(result))
          if (Result.isFailure(result)) {
            assert.deepInclude(result.failure.reason, { status: expected.status, reason: expected.reason })
          }
        }
      }
      assertOnce(server.seen(), 3000)
    }))

  it.live("pushes that it cuts off, forgets or delays are unknown or get its late answer", () =>
    Effect.gen(function*() {
      const server = yield* Servers.haproxy
      const prefixes = ["aaaa", "bbbb", "cccc"]
      const special = (i: number) => i % 50 === 49 ? prefixes[(i - 49) / 50 % 3] : undefined
      const results = yield* Effect.provide(
        pushAll(numbered(450, special), { inFlight: 20 }),
        Servers.client(server, { idlePing: "300 millis", pingTimeout: "300 millis" })
      )
      const fates = (prefix: string | undefined) => words(results.filter(({ push }) => special(push.i) === prefix))
      assert.deepStrictEqual(fates("aaaa"), { Unknown: 3 })
      assert.deepStrictEqual(fates("bbbb"), { Unknown: 3 })
      // 503, unless its connection had to do with one of the others
      assert.isAtLeast(fates("cccc")["Rejected"] ?? 0, 1)
      assert.hasAllKeys(fates(undefined), ["accepted", "Unknown"])
      // After a reject haproxy refuses streams that it has served already: what it sees twice is no fault of ours.
      assert.isAtMost(words(results)["Unknown"]!, 6 * 20)
    }))

  it.live("two restarts lose no push and send none twice", () =>
    Effect.gen(function*() {
      const server = yield* Servers.haproxy
      let taken = 0
      const pushes = Stream.fromIterable(numbered(4000)).pipe(
        Stream.tap(() => ++taken === 1000 || taken === 2500 ? server.reload : Effect.void),
        Stream.tap(() => taken % 500 === 0 ? Effect.sleep("200 millis") : Effect.void)
      )
      yield* assertSurvives(server, pushes)
    }))
})

describe.skipIf(Http2.isMissing("caddy"))("caddy", () => {
  it.live("many answers on its 250 streams reach the right push, and each is sent once", () =>
    Effect.gen(function*() {
      const server = yield* Servers.caddy
      const { prefix } = Servers.refusals.find(({ reason }) => reason === "Unregistered")!
      const results = yield* Effect.provide(
        pushAll(numbered(3000, (i) => i % 10 === 0 ? prefix : undefined)),
        Servers.client(server)
      )
      assert.deepStrictEqual(words(results), { accepted: 2700, DeadToken: 300 })
      yield* eventually(() => server.seen().length >= 3000)
      assertOnce(server.seen(), 3000)
    }))

  it.live("two reloads during pushes lose no push and send none twice", () =>
    Effect.gen(function*() {
      const server = yield* Servers.caddy
      let taken = 0
      const pushes = Stream.fromIterable(numbered(4000)).pipe(
        Stream.tap(() => ++taken === 1000 || taken === 2500 ? Effect.forkChild(server.reload) : Effect.void),
        Stream.tap(() => taken % 200 === 0 ? Effect.sleep("50 millis") : Effect.void)
      )
      yield* assertSurvives(server, pushes)
    }))
})

describe.skipIf(Http2.isPythonMissing).concurrent("python3-h2", () => {
  it.live("a GOAWAY with an error code sends refused pushes again and makes the others unknown", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("goaway")
      const results = yield* Effect.provide(pushAll(numbered(150), { inFlight: 50 }), Servers.client(server))
      assert.hasAllKeys(words(results), ["accepted", "Unknown"])
      assert.deepStrictEqual(idsOf(results, "accepted"), server.answered().toSorted())
      assert.deepStrictEqual(twice(server.answered()), [])
      assert.strictEqual(server.said(), "")
    }))

  it.live.each(["fin", "rst"])(
    "a connection that ends with a %s during pushes processes each push at most once",
    (how) =>
      Effect.gen(function*() {
        const server = yield* Servers.python(how)
        const results = yield* Effect.provide(pushAll(numbered(600), { inFlight: 50 }), Servers.client(server))
        assert.hasAllKeys(words(results), ["accepted", "Unknown"])
        assert.deepStrictEqual(twice(server.took()), [])
        const answered = server.answered().toSorted()
        if (how === "fin") assert.deepStrictEqual(idsOf(results, "accepted"), answered)
        else assert.includeMembers(answered, idsOf(results, "accepted"))
        assert.strictEqual(server.said(), "")
      })
  )

  it.live("reset streams are sent again if not processed, else unknown", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("resets")
      const results = yield* Effect.provide(pushAll(numbered(300), { inFlight: 30 }), Servers.client(server))
      assert.hasAllKeys(words(results), ["accepted", "Unknown"])
      assert.deepStrictEqual(idsOf(results, "accepted"), server.answered().toSorted())
      const refused = tally(server.refused())
      for (const [id, times] of Object.entries(tally(server.took()))) {
        assert.strictEqual(times, 1 + (refused[id] ?? 0), id)
      }
      assert.strictEqual(server.said(), "")
    }))

  it.live("a limit of 1, 1000, 1 and 1000 streams is always kept, and nothing is refused", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("limits")
      const results = yield* Effect.provide(pushAll(numbered(1500)), Servers.client(server))
      assert.deepStrictEqual(words(results), { accepted: 1500 }, server.said())
      assertOnce(server.took().map((id) => ({ id })), 1500)
      assert.strictEqual(server.said(), "")
    }))

  it.live("an unknown key fails every push with the reason, on a few connections", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("refuses")
      const results = yield* Effect.provide(pushAll(numbered(2000)), Servers.client(server))
      assert.deepStrictEqual(words(results), { ConfigFault: 2000 })
      assert.isAtMost(server.connections().length, 5)
      assert.strictEqual(server.said(), "")
    }))

  it.live("an answer that ends after any of its bytes counts only when it is whole", () =>
    Effect.gen(function*() {
      const server = yield* Servers.python("bytewise")
      const results = yield* Effect.forEach(
        numbered(150),
        (push) =>
          Apns.send(hello, push.token, push).pipe(
            Effect.result,
            Effect.map((result) => ({ push, result })),
            Effect.provide(Servers.client(server))
          ),
        { concurrency: 4 }
      )
      assert.isAbove(server.cut().length, 60)
      assert.isAbove(server.answered().length, 0)
      assert.deepStrictEqual(idsOf(results, "Unknown"), server.cut().toSorted())
      assert.deepStrictEqual(idsOf(results, "DeadToken"), server.answered().toSorted())
    }))
})

describe("TLS that can't be trusted", () => {
  const hour = 3_600_000
  const cases: ReadonlyArray<readonly [string, IssueOptions, string]> = [
    ["an expired certificate", { notAfter: new Date(Date.now() - hour) }, "renew it"],
    ["a certificate for another name", { names: ["other.example.com"] }, "another name"],
    ["an issuer that is not trusted", {}, "not trusted"]
  ]

  it.live.each(cases)(
    "%s: the push says what to do, with a few connections, and jobs are kept",
    ([name, issue, text]) =>
      Effect.gen(function*() {
        const server = yield* Servers.openssl(issue)
        const stranger = yield* makeAuthority
        const certs = name.startsWith("an issuer") ? { ca: stranger.cert } : server.certs
        yield* Effect.gen(function*() {
          for (let round = 0; round < 3; round++) {
            const results = yield* pushAll(numbered(500))
            assert.deepStrictEqual(words(results), { ConfigFault: 500 })
            assert.include(messageOf(results), text)
          }
          yield* ApnsJob.publish(hello, [Servers.token(1)])
          const outcomes = yield* TestBroker.drain(ApnsJob.handler())
          assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Retried"])
        }).pipe(Effect.provide([Servers.client({ port: server.port, certs }), TestBroker.layer, Logger.layer([])]))
        assert.isAtMost(server.connections(), 5)
      })
  )

  it.live("a server with TLS and without HTTP/2 fails pushes with the reason", () =>
    Effect.gen(function*() {
      const server = yield* Servers.openssl()
      const client = Servers.client(server, { connectTimeout: "300 millis", queueTimeout: "1 second" })
      const results = yield* Effect.provide(pushAll(numbered(500)), client)
      assert.deepStrictEqual(words(results), { NotSent: 500 })
      assert.include(messageOf(results), "it closed the connection before it sent anything")
      assert.isAtMost(server.connections(), 5)
    }))
})

describe.skipIf(Http2.isMissing("tinyproxy") || Http2.isMissing("nginx"))("tinyproxy", () => {
  it.live("lets pushes through with a user name and a password", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(100)
      const proxy = yield* Servers.tinyproxy
      const via = { host: "127.0.0.1", port: proxy.port, username: "me", password: Redacted.make("s3cret") }
      const results = yield* Effect.provide(pushAll(numbered(1000)), Servers.client(server, { proxy: via }))
      assert.deepStrictEqual(words(results), { accepted: 1000 })
      assertOnce(server.seen(), 1000)
      assert.isAtLeast(proxy.asked().length, 10)
    }))

  it.live("refuses a wrong password, and the push says so without it", () =>
    Effect.gen(function*() {
      const server = yield* Servers.nginx(100)
      const proxy = yield* Servers.tinyproxy
      const via = { host: "127.0.0.1", port: proxy.port, username: "me", password: Redacted.make("wr0ng") }
      const results = yield* Effect.provide(pushAll(numbered(500)), Servers.client(server, { proxy: via }))
      assert.deepStrictEqual(words(results), { ConfigFault: 500 })
      assert.include(messageOf(results), "proxy")
      assert.notInclude(JSON.stringify(results), "wr0ng")
      assert.isAtMost(proxy.asked().length, 5)
    }))
})
