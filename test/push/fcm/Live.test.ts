/** Pushes to the simulator: tokens, connections, quotas, projects and clocks as Google keeps them. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Fcm from "../../../src/push/fcm/Fcm.ts"
import * as Target from "../../../src/push/fcm/message/Target.ts"
import * as Account from "../../../src/testing/fcm/Account.ts"
import * as FcmSimulator from "../../../src/testing/fcm/FcmSimulator.ts"
import * as Script from "../../../src/testing/fcm/Script.ts"
import { eventually } from "../../support/eventually.ts"
import { folder } from "../../support/folder.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const hello = { notification: { title: "Hello" }, data: { a: "1" } }

const token = (n: number): string => `device${n}:APA91b`

const account = Effect.runSync(Account.makeAccount())

const simulator = (script: Script.Script = {}, options: FcmSimulator.Options = {}) =>
  FcmSimulator.make({ accounts: [account], script, ...options })

type Simulator = FcmSimulator.FcmSimulator["Service"]

const connect = (
  { ca, host, port, serviceAccount }: Pick<Simulator, "ca" | "host" | "port" | "serviceAccount">,
  options: Partial<Fcm.Options> = {}
) =>
  Effect.map(
    Layer.build(
      Fcm.layer({
        credential: { serviceAccount: serviceAccount() },
        host,
        port,
        ca,
        drainTimeout: Duration.zero,
        ...options
      })
    ),
    (context) => Fcm.Fcm.pipe(Effect.provide(context), Effect.runSync)
  )

const tally = (results: Iterable<Result.Result<unknown, { readonly reason: { readonly _tag: string } }>>) => {
  const counts: Record<string, number> = {}
  for (const result of results) {
    const name = Result.isSuccess(result) ? "ok" : result.failure.reason._tag
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

const sendMany = (fcm: Fcm.Fcm["Service"], count: number, from = 0) =>
  Stream.range(from, from + count - 1).pipe(
    Stream.map((n) => ({ message: hello, target: token(n) })),
    fcm.sendAll,
    Stream.map(({ result }) => result),
    Stream.runCollect,
    Effect.map(tally)
  )

const closed = (server: Simulator) =>
  eventually("no connection is open", Effect.map(server.counts, ({ open }) => open === 0))

describe("Fcm", () => {
  it.live("pushes to each kind of target, and gets Google's name of the message", () =>
    Effect.gen(function*() {
      const server = yield* simulator()
      const fcm = yield* connect(server)
      const { name } = yield* fcm.send(hello, token(1))
      assert.match(name!, /^projects\/test-project\/messages\/0:/)
      for (const target of [Target.fid("fid-12345"), Target.topic("news"), Target.condition("'a' in topics")]) {
        yield* fcm.send(hello, target)
      }
      const [first, ...others] = yield* server.pushes
      assert.deepStrictEqual(first?.message, { token: token(1), ...hello })
      assert.deepStrictEqual(others.map(({ target }) => target), ["fid-12345", "news", "'a' in topics"])
      yield* fcm.validateOnly(hello, token(1))
      assert.isTrue((yield* server.pushes).at(-1)?.isDryRun)
    }))

  it.live("10,000 concurrent pushes need one access token, at most 100 streams and no PING", () =>
    Effect.gen(function*() {
      const server = yield* simulator({}, { record: false })
      const fcm = yield* connect(server, { maxConnections: 2 })
      const results = yield* Effect.forEach(
        Array.from({ length: 10_000 }, (_, n) => n),
        (n) => Effect.result(fcm.send(hello, token(n))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(tally(results), { ok: 10_000 })
      const { idlePings, peakStreams, tokensAsked } = yield* server.counts
      assert.deepStrictEqual({ idlePings, tokensAsked }, { idlePings: 0, tokensAsked: 1 })
      assert.isAtMost(peakStreams, 100)
    }))

  it.live("1,000 pushes that meet an expired access token need one new one", () =>
    Effect.gen(function*() {
      const server = yield* simulator({ delay: "50 millis" })
      const fcm = yield* connect(server)
      yield* fcm.send(hello, token(0))
      yield* server.script.set({ delay: "50 millis", tokens: { validFrom: 2 } })
      assert.deepStrictEqual(yield* sendMany(fcm, 1000, 1), { ok: 1000 })
      assert.strictEqual((yield* server.counts).tokensIssued, 2)
    }))

  it.live("no push is lost over GOAWAYs in mid-flight, refused streams and idle closes", () =>
    Effect.gen(function*() {
      const server = yield* simulator({
        goaway: { everyPushes: 97, unprocessed: 5 },
        idle: { after: "100 millis" },
        rules: [{ do: Script.reset(), share: 0.01, times: 1 }]
      })
      const fcm = yield* connect(server, { maxConnections: 2 })
      assert.deepStrictEqual(yield* sendMany(fcm, 1000), { ok: 1000 })
      yield* closed(server)
      yield* server.script.set({ idle: { after: "100 millis", how: "Cut" } })
      yield* fcm.send(hello, token(1))
      yield* closed(server)
      yield* fcm.send(hello, token(2))
    }))

  it.live("closes its own idle connection, also the last one", () =>
    Effect.gen(function*() {
      const server = yield* simulator()
      const fcm = yield* connect(server, { idleTimeout: "50 millis" })
      yield* fcm.send(hello, token(1))
      yield* closed(server)
      yield* fcm.send(hello, token(2))
    }))

  it.live("a 429 stops its project at once, and the other project goes on", () =>
    Effect.gen(function*() {
      const other = yield* Account.makeAccount("other-project")
      const server = yield* simulator({
        quota: { project: { messages: 50, per: "1 hour", retryAfter: "30 seconds" } }
      }, { accounts: [account, other] })
      const fcm = yield* connect(server, {
        credential: [
          { serviceAccount: server.serviceAccount(account) },
          { serviceAccount: server.serviceAccount(other) }
        ],
        maxConnections: 1
      })
      assert.deepStrictEqual(yield* sendMany(fcm, 1000), { ok: 50, TooManyRequests: 950 })
      const { pushes } = yield* server.counts
      assert.isAtMost(pushes, 250)
      const error = yield* Effect.flip(fcm.send(hello, token(1)))
      assert.strictEqual(error.reason._tag === "TooManyRequests" ? error.reason.scope : "", "Project")
      assert.isAtLeast(Duration.toSeconds(error.delay!), 25)
      assert.strictEqual((yield* server.counts).pushes, pushes)
      assert.strictEqual((yield* fcm.send(hello, token(1), { project: "other-project" })).attempts, 1)
      const unknown = yield* Effect.flip(fcm.send(hello, token(1), { project: "third-project" }))
      assert.include(unknown.message, "no credential covers the project third-project")
    }))

  it.live("the project starts slowly after a pause", () =>
    Effect.gen(function*() {
      const server = yield* simulator({
        rules: [{ do: Script.refuse(429, "QUOTA_EXCEEDED", { retryAfter: "1 second" }) }]
      })
      const fcm = yield* connect(server)
      yield* Effect.flip(fcm.send(hello, token(1)))
      yield* server.script.set({ delay: "100 millis" })
      yield* Effect.sleep("1200 millis")
      yield* server.clear
      assert.deepStrictEqual(yield* sendMany(fcm, 10), { ok: 10 })
      const at = (yield* server.pushes).map(({ at }) => at)
      // Two at a time take at least four more rounds.
      assert.isAtLeast(at.at(-1)! - at[0]!, 380)
    }))

  it.live("a device's rate stops only that device", () =>
    Effect.gen(function*() {
      const server = yield* simulator({ quota: { device: { messages: 1, per: "1 hour" } } })
      const fcm = yield* connect(server)
      yield* fcm.send(hello, token(1))
      const error = yield* Effect.flip(fcm.send(hello, token(1)))
      assert.strictEqual(error.reason._tag === "TooManyRequests" ? error.reason.scope : "", "Target")
      assert.strictEqual(error.action, "RetryLater")
      yield* fcm.send(hello, token(2))
    }))

  it.live("dead, malformed and foreign tokens are told apart, and a dead one is sent once", () =>
    Effect.gen(function*() {
      const server = yield* simulator({ dead: [token(1)], foreign: [token(2)] })
      const fcm = yield* connect(server)
      const dead = yield* Effect.flip(fcm.send(hello, token(1)))
      const foreign = yield* Effect.flip(fcm.send(hello, token(2)))
      const malformed = yield* Effect.flip(fcm.send(hello, "not/a/token"))
      assert.deepStrictEqual([dead.action, foreign.action, malformed.action], ["DropToken", "CheckToken", "CheckToken"])
      assert.deepInclude({ ...foreign.reason }, { kind: "OtherProject" })
      const { pushes } = yield* server.counts
      assert.strictEqual((yield* Effect.flip(fcm.send(hello, token(1)))).action, "DropToken")
      assert.strictEqual((yield* server.counts).pushes, pushes)
    }))

  it.live("a wrong APNs key of the project leaves Android flowing", () =>
    Effect.gen(function*() {
      const server = yield* simulator({ withoutKey: [token(0), token(500)] })
      const fcm = yield* connect(server)
      assert.deepStrictEqual(yield* sendMany(fcm, 1000), { ok: 998, ThirdPartyFault: 2 })
      assert.strictEqual((yield* server.counts).tokensIssued, 1)
    }))

  it.live("names the field that Google names", () =>
    Effect.gen(function*() {
      const server = yield* simulator()
      const fcm = yield* connect(server)
      const error = yield* Effect.flip(fcm.send({ ...hello, somethingNew: 1 }, token(1)))
      assert.strictEqual(error.action, "FixNotification")
      assert.include(error.message, "somethingNew")
    }))

  it.live.each(
    [
      ["a page with 502", Script.raw(502, "<html>Bad Gateway</html>"), "RetryLater"],
      ["an empty 500", Script.raw(500), "RetryLater"],
      ["a page with 404", Script.raw(404, "<html>"), "FixConfiguration"],
      ["a page with 200", Script.raw(200, "<html>Log in</html>"), "FixConfiguration"],
      ["503 with Retry-After", Script.refuse(503, "UNAVAILABLE", { retryAfter: "7 seconds" }), "RetryLater"],
      ["a disabled API", Script.refuse(403, undefined), "FixConfiguration"]
    ] as const
  )("%s", ([, rule, action]) =>
    Effect.gen(function*() {
      const server = yield* simulator({ rules: [{ do: rule }] })
      const fcm = yield* connect(server)
      const error = yield* Effect.flip(fcm.send(hello, token(1)))
      assert.strictEqual(error.action, action)
      if (rule._tag === "Refuse" && rule.headers["retry-after"] !== undefined) {
        assert.strictEqual(Duration.toSeconds(error.delay!), 7)
      }
    }))

  it.live("subscribes and unsubscribes tokens, with a result for each by its index", () =>
    Effect.gen(function*() {
      const server = yield* simulator({ dead: [token(1001)] })
      const fcm = yield* connect(server)
      const tokens = Array.from({ length: 1500 }, (_, n) => token(n))
      const results = yield* fcm.subscribe("/topics/news", tokens)
      assert.deepStrictEqual(tally(results.map(({ result }) => result)), { ok: 1499, DeadToken: 1 })
      assert.strictEqual(results.findIndex(({ result }) => Result.isFailure(result)), 1001)
      assert.lengthOf(yield* fcm.unsubscribe("news", [token(1)]), 1)
      assert.strictEqual((yield* Effect.flip(fcm.subscribe("a b", [token(1)]))).reason._tag, "InvalidMessage")
    }))
})

describe("access tokens", () => {
  it.live.each([3, -3])(
    "a clock that is %s hours off is corrected, and pushes go on",
    (hours) =>
      Effect.gen(function*() {
        const server = yield* simulator({ tokens: { clockAhead: Duration.hours(hours) } }, {
          accounts: [yield* Account.makeAccount()]
        })
        const fcm = yield* connect(server)
        assert.strictEqual((yield* fcm.send(hello, token(1))).attempts, 1)
        const { tokensAsked, tokensIssued } = yield* server.counts
        assert.deepStrictEqual({ tokensAsked, tokensIssued }, { tokensAsked: 2, tokensIssued: 1 })
      })
  )

  it.live("a token of a program's own source that Google refuses is renewed once, and then a fault of the configuration", () =>
    Effect.gen(function*() {
      const server = yield* simulator()
      let asked = 0
      const fcm = yield* connect(server, {
        credential: {
          project: "test-project",
          accessToken: Effect.sync(() => {
            asked++
            return { token: Redacted.make("strange"), expiresAt: Number.MAX_SAFE_INTEGER }
          })
        }
      })
      const error = yield* Effect.flip(fcm.send(hello, token(1)))
      assert.strictEqual(error.action, "FixConfiguration")
      assert.strictEqual(asked, 2)
    }))

  it.effect("a changed file of the account replaces it, unless it is invalid or of another project", () => {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => lines.push(String(message)))])
    return Effect.gen(function*() {
      yield* TestClock.setTime(Date.now())
      const [first, second] = [yield* Account.makeAccount(), yield* Account.makeAccount()]
      const foreign = yield* Account.makeAccount("other-project")
      const server = yield* simulator({}, { accounts: [first, second, foreign] })
      const file = join(yield* folder, "service-account.json")
      const write = (account: Account.Account) => writeFileSync(file, Redacted.value(server.serviceAccount(account)))
      /** Lets time pass until the log has this many lines: the file is read outside of the TestClock. */
      const until = Effect.fnUntraced(function*(count: number) {
        while (lines.length < count) {
          yield* TestClock.adjust("1 minute")
          yield* TestClock.withLive(Effect.sleep(2))
        }
      })
      write(first)
      const fcm = yield* connect(server, { credential: { serviceAccount: { file } } })
      yield* fcm.send(hello, token(1))

      writeFileSync(file, "{")
      yield* until(1)
      assert.match(lines[0]!, /^the FCM credential has changed, but the old one stays in use: .*must be JSON/)
      write(foreign)
      yield* until(2)
      assert.match(lines[1]!, /the old one stays in use: .*project_id must stay test-project/)
      yield* fcm.send(hello, token(2))
      assert.strictEqual((yield* server.counts).tokensIssued, 1)

      write(second)
      yield* until(3)
      assert.match(lines[2]!, /^the FCM credential \(.*\) has changed, and the new one is in use/)
      yield* fcm.send(hello, token(3))
      yield* fcm.subscribe("news", [token(3)])
      assert.strictEqual((yield* server.counts).tokensIssued, 2)
      assert.lengthOf(lines, 3)
    }).pipe(Effect.provide(logger))
  })

  it.live("layers that use an account share its token", () =>
    Effect.gen(function*() {
      const server = yield* simulator({}, { accounts: [yield* Account.makeAccount()] })
      for (let n = 0; n < 3; n++) yield* (yield* connect(server)).send(hello, token(n))
      assert.strictEqual((yield* server.counts).tokensIssued, 1)
    }))
})
