/** The live `Apns` layer against the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as ApnsSimulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import * as Script from "../../../src/testing/apns/Script.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const topic = "com.example.app"
const hello = Notification.alert({ body: "Hello" })
const token = (n: number) => n.toString(16).padStart(64, "0")

/** An `Apns` and the simulator that it pushes to. */
const setUp = Effect.fnUntraced(function*(script: Script.Script = {}, options: Partial<Apns.Options> = {}) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const key = yield* Key.makeKey()
  const simulator = yield* ApnsSimulator.make({ keys: [key], script })
  const context = yield* Layer.build(Apns.layer({
    credential: { key: key.key, keyId: key.keyId, teamId: key.teamId, topic, ca: Redacted.make(simulator.ca) },
    environment: "sandbox",
    host: simulator.host,
    port: simulator.port,
    ...options
  })).pipe(Scope.provide(scope))
  return { simulator, provide: Effect.provideContext(context), close: Scope.close(scope, Exit.void) }
})

const sendAll = (count: number, notification: Notification.Notification = hello) =>
  Stream.range(1, count).pipe(
    Stream.map((n) => ({ notification, token: token(n) })),
    Apns.sendAll,
    Stream.runCollect
  )

/** How often each token was accepted. */
const accepted = (simulator: ApnsSimulator.ApnsSimulator["Service"]) =>
  Effect.map(simulator.pushes, (pushes) => {
    const times = new Map<string, number>()
    for (const { status, target } of pushes) if (status === 200) times.set(target, (times.get(target) ?? 0) + 1)
    return times
  })

describe("Apns.layer", () => {
  it.live("pushes", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      const receipt = yield* provide(Apns.send(hello, token(1)))
      assert.strictEqual(receipt.attempts, 1)
      assert.isDefined(receipt.apnsUniqueId)
      const push = (yield* simulator.pushes)[0]!
      assert.strictEqual(push.target, token(1))
      assert.strictEqual(push.headers["apns-id"], receipt.apnsId)
    }))

  it.live("while connections are replaced nothing is lost or sent twice", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({ goaway: { everyPushes: 500, unprocessed: 20 } })
      const results = yield* provide(sendAll(5000))
      assert.strictEqual(results.filter(({ result }) => Result.isSuccess(result)).length, 5000)
      const times = yield* accepted(simulator)
      assert.strictEqual(times.size, 5000)
      assert.isTrue(Array.from(times.values()).every((count) => count === 1))
    }))

  it.live("more connections open only when the first is full", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({ maxStreams: { after: 10 }, delay: "100 millis" })
      yield* provide(sendAll(20))
      assert.strictEqual((yield* simulator.counts).connections, 1)
      yield* provide(sendAll(500))
      const { connections } = yield* simulator.counts
      assert.isAbove(connections, 1)
      assert.isAtMost(connections, 4)
    }))

  it.live("all idle connections but one close, and pushes go on", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp(
        { maxStreams: { after: 10 }, delay: "50 millis" },
        { idleTimeout: "2 seconds" }
      )
      yield* provide(sendAll(20))
      yield* provide(sendAll(500))
      const open = Effect.map(simulator.counts, ({ open }) => open)
      assert.isAbove(yield* open, 1)
      const schedule = Schedule.spaced("50 millis")
      yield* Effect.repeat(open, { until: (count) => count === 1, schedule }).pipe(Effect.timeout("10 seconds"))
      const { connections } = yield* simulator.counts
      assert.strictEqual((yield* provide(Apns.send(hello, token(1)))).attempts, 1)
      assert.strictEqual((yield* simulator.counts).connections, connections)
    }))

  it.live("a provider token that Apple calls expired for a thousand pushes is renewed once, and each push is sent again once", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      yield* provide(Apns.send(hello, token(0)))
      yield* simulator.script.set({ rules: [{ do: Script.refuse("ExpiredProviderToken"), times: 1 }] })
      // within 20 minutes of the first no other token is made: Apple's answer stands
      const failed = yield* provide(sendAll(1000))
      assert.isTrue(
        failed.every(({ result }) => Result.isFailure(result) && result.failure.action === "RenewAuthorization")
      )
      const tokens = new Set((yield* simulator.pushes).map(({ headers }) => headers["authorization"]))
      assert.strictEqual(tokens.size, 1)
      assert.isAtMost((yield* simulator.counts).connections, 8)
    }))

  it.live("a connection on which Apple fails twice in a row is replaced", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({
        rules: [{ do: Script.refuse("InternalServerError"), targets: [token(1), token(2)] }]
      })
      const first = yield* Effect.flip(provide(Apns.send(hello, token(1))))
      assert.strictEqual(first.action, "RetryLater")
      yield* provide(Apns.send(hello, token(3)))
      yield* Effect.flip(provide(Apns.send(hello, token(2))))
      yield* provide(Apns.send(hello, token(4)))
      assert.strictEqual((yield* simulator.counts).connections, 1)
      yield* Effect.flip(provide(Apns.send(hello, token(1))))
      yield* Effect.flip(provide(Apns.send(hello, token(2))))
      yield* provide(Apns.send(hello, token(5)))
      assert.strictEqual((yield* simulator.counts).connections, 2)
    }))

  it.live("too many pushes to one device do not delay others", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({
        rules: [{ do: Script.refuse("TooManyRequests"), targets: [token(7)] }]
      })
      const results = yield* provide(sendAll(500))
      const failed = results.flatMap(({ push, result }) =>
        Result.isFailure(result) ? [[push.token, result.failure.reason._tag]] : []
      )
      assert.deepStrictEqual(failed, [[token(7), "TooManyRequests"]])
      assert.strictEqual((yield* simulator.counts).connections, 1)
    }))

  it.live("a bad token is not sent to Apple again, and fails as before", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({
        rules: [
          { do: Script.refuse("BadDeviceToken"), targets: [token(1)] },
          { do: Script.refuse("DeviceTokenNotForTopic"), targets: [token(2)] }
        ],
        dead: { [token(3)]: { since: 1_700_000_000_000 } }
      })
      for (let round = 0; round < 3; round++) {
        for (
          const [n, reason] of [[1, "BadDeviceToken"], [2, "DeviceTokenNotForTopic"], [3, "Unregistered"]] as const
        ) {
          const error = yield* Effect.flip(provide(Apns.send(hello, token(n))))
          assert.deepInclude(error.reason, { reason, token: token(n) })
        }
      }
      const waiting = yield* provide(Effect.forkChild(Apns.send(hello, token(1)), { startImmediately: true }))
      yield* Fiber.interrupt(waiting)
      const { reasons } = yield* simulator.counts
      assert.deepStrictEqual(reasons, { BadDeviceToken: 1, DeviceTokenNotForTopic: 3, Unregistered: 3 })
    }))

  it.live("bad tokens, for which Apple closes connections, do not stop other pushes", () =>
    Effect.gen(function*() {
      const bad = Array.from({ length: 12 }, (_, n) => token(250 * n + 7))
      const { provide, simulator } = yield* setUp({
        rules: [{ do: Script.refuse("BadDeviceToken"), targets: bad }],
        maxStreams: { refusals: 1 },
        patience: { badTokens: 1 }
      })
      const results = yield* provide(sendAll(3000))
      const wrong = results.filter(({ result }) => Result.isFailure(result))
      assert.sameMembers(wrong.map(({ push }) => push.token), bad)
      const times = yield* accepted(simulator)
      assert.strictEqual(times.size, 2988)
      assert.isAtLeast((yield* simulator.counts).connections, 12)
      assert.isTrue(Array.from(times.values()).every((count) => count === 1))
    }))

  it.live("a refused credential opens the circuit: few pushes reach Apple, and all fail with the reason until it is fixed", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      yield* provide(Apns.send(hello, token(0)))
      yield* simulator.script.set({ rules: [{ do: Script.refuse("InvalidProviderToken") }] })
      const error = yield* Effect.flip(provide(Apns.send(hello, token(1))))
      assert.strictEqual(error.reason._tag, "ConfigFault")
      yield* simulator.clear
      const results = yield* provide(sendAll(1000))
      assert.isTrue(
        results.every(({ result }) => Result.isFailure(result) && result.failure.reason._tag === "ConfigFault")
      )
      assert.isAtMost((yield* simulator.counts).pushes, 1)
      yield* simulator.script.set({})
      const again = yield* provide(Apns.send(hello, token(2))).pipe(
        Effect.retry(Schedule.spaced("100 millis")),
        Effect.timeout("5 seconds")
      )
      assert.strictEqual(again.attempts, 1)
      assert.isTrue((yield* provide(sendAll(100))).every(({ result }) => Result.isSuccess(result)))
    }))

  it.live("a server that closes every connection at once is tried a few times, not in a loop", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({}, { queueTimeout: "1500 millis" })
      const away = Effect.andThen(Effect.sleep("5 millis"), simulator.goaway())
      yield* Effect.forkScoped(Effect.forever(away))
      yield* simulator.script.set({ rules: [{ do: Script.silence }] })
      const results = yield* provide(sendAll(50)).pipe(Effect.timeoutOption("3 seconds"))
      assert.isTrue(Option.isNone(results) || results.value.every(({ result }) => Result.isFailure(result)))
      const { connections } = yield* simulator.counts
      assert.isAtLeast(connections, 2)
      assert.isAtMost(connections, 6)
    }))

  it.live("cut connections make sent pushes unknown, and the others use new connections", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      yield* provide(Apns.send(hello, token(0)))
      yield* simulator.script.set({ rules: [{ do: Script.cutBefore, targets: [token(300)] }] })
      const results = yield* provide(sendAll(1000))
      const tags = new Set(
        results.map(({ result }) => Result.isSuccess(result) ? "Accepted" : result.failure.reason._tag)
      )
      assert.sameMembers([...tags], ["Accepted", "Unknown"])
      const times = yield* accepted(simulator)
      for (const { push, result } of results) {
        if (Result.isSuccess(result)) assert.strictEqual(times.get(push.token), 1)
        else assert.isAtMost(times.get(push.token) ?? 0, 1)
      }
    }))

  it.live("when the layer closes, sent pushes get their answers, and the others fail with NotSent", () =>
    Effect.gen(function*() {
      const { close, provide, simulator } = yield* setUp(
        { maxStreams: { before: 10, after: 10 }, delay: "300 millis" },
        { maxConnections: 1 }
      )
      const fiber = yield* Effect.forkChild(provide(sendAll(100)))
      yield* Effect.repeat(simulator.counts, {
        until: ({ pushes }) => pushes >= 10,
        schedule: Schedule.spaced("5 millis")
      })
      yield* close
      const results = yield* Fiber.join(fiber)
      assert.strictEqual(results.length, 100)
      const count = (what: string) =>
        results.filter(({ result }) => (Result.isSuccess(result) ? "Accepted" : result.failure.reason._tag) === what)
          .length
      assert.isAtLeast(count("Accepted"), 10)
      assert.strictEqual(count("Accepted") + count("NotSent"), 100)
      assert.strictEqual(count("Accepted"), (yield* simulator.counts).accepted)
    }))
})

describe("options", () => {
  it.live.each<Partial<Apns.Options>>([
    { maxConnections: 0 },
    { maxConnections: Number.NaN },
    { maxConnections: 1.5 },
    { queueTimeout: 0 },
    { requestTimeout: "0 seconds" },
    { connectTimeout: Number.NaN },
    { idlePing: 0 },
    { pingTimeout: -1 },
    { idleTimeout: "soon" as "1 minute" },
    { drainTimeout: -1 },
    { port: 0 }
  ])("that are invalid are refused before a connection opens: %j", (options) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(setUp({}, options))
      const [name] = Object.keys(options)
      assert.deepInclude(error, { _tag: "CredentialError" })
      assert.match(error.message, new RegExp(`^the APNs option ${name} must be `))
    }))

  it.live("that mean no wait or no end are accepted", () =>
    Effect.gen(function*() {
      const { provide } = yield* setUp({}, { drainTimeout: 0, idlePing: "Infinity", queueTimeout: "Infinity" })
      yield* provide(Apns.send(hello, token(1)))
    }))
})

describe("broadcast channels", () => {
  const score = (options: Partial<Notification.LiveActivityUpdateOptions> = {}) =>
    Notification.liveActivityUpdate({ timestamp: 1_700_000_000, contentState: { home: 1 }, ...options })
  const channels = Apns.Apns

  it.live("are created, read, listed, pushed to and deleted", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      const call = <A, E>(f: (apns: Apns.Apns["Service"]) => Effect.Effect<A, E>) => provide(channels.use(f))
      const kept = yield* call((apns) => apns.createChannel("MostRecent"))
      const unkept = yield* call((apns) => apns.createChannel("None"))
      assert.deepStrictEqual(yield* call((apns) => apns.readChannel(kept)), { id: kept, storage: "MostRecent" })
      assert.deepStrictEqual(yield* call((apns) => apns.readChannel(unkept)), { id: unkept, storage: "None" })
      assert.sameMembers([...(yield* call((apns) => apns.listChannels()))], [kept, unkept])
      assert.deepStrictEqual(yield* call((apns) => apns.listChannels({ topic: "com.example.other" })), [])

      yield* call((apns) => apns.broadcast(score({ expiration: 4_000_000_000 }), kept))
      yield* call((apns) => apns.broadcast(score({ topic: `${topic}.push-type.liveactivity` }), unkept))
      const [first, second] = yield* simulator.pushes
      assert.deepInclude(first, { target: kept, status: 200 })
      assert.deepInclude(second, { target: unkept, status: 200 })
      const late = yield* Effect.flip(call((apns) => apns.broadcast(score({ expiration: 4_000_000_000 }), unkept)))
      assert.deepInclude(late.reason, { reason: "BadExpirationDate" })

      yield* call((apns) => apns.deleteChannel(kept))
      const gone = yield* Effect.flip(call((apns) => apns.broadcast(score(), kept)))
      assert.strictEqual(gone.action, "DropChannel")
      assert.deepStrictEqual(yield* call((apns) => apns.listChannels()), [unkept])
    }))

  it.live("a broadcast that has expired is not sent", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp()
      const id = yield* provide(channels.use((apns) => apns.createChannel("MostRecent")))
      const old = score({ expiration: 1_700_000_000 })
      const error = yield* Effect.flip(provide(channels.use((apns) => apns.broadcast(old, id))))
      assert.deepInclude(error.reason, { _tag: "Expired", expiration: 1_700_000_000 })
      assert.strictEqual((yield* simulator.counts).pushes, 0)
    }))
})
