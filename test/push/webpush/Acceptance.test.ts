/** What Web Push must hold against its simulators: keys, throttles, addresses, secrets. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { AddressGuard, Subscription, WebPush, type WebPushError } from "../../../src/push/webpush/index.ts"
import { Script } from "../../../src/testing/webpush/index.ts"
import { allow, withServers } from "../../support/limits.ts"
import { browser, subscribe } from "./browser.ts"
import { pair, simulators, webPush } from "./live.ts"

allow(withServers)

const message = { body: "a text that is secret", ttl: 60 }

const tagOf = (result: Result.Result<unknown, WebPushError.WebPushError>): string =>
  Result.isSuccess(result) ? "Accepted" : result.failure.reason._tag

/** Sends the message to all subscriptions. */
const sendAll = (context: Context.Context<WebPush.WebPush>, to: ReadonlyArray<Subscription.Subscription>) =>
  Context.get(context, WebPush.WebPush).sendAll(
    Stream.map(Stream.fromIterable(to), (subscription) => ({ message, subscription }))
  ).pipe(Stream.runCollect, Effect.map((all) => Array.from(all)))

const counts = (tags: ReadonlyArray<string>): Record<string, number> => {
  const found: Record<string, number> = {}
  for (const tag of tags) found[tag] = (found[tag] ?? 0) + 1
  return found
}

const silent = Logger.layer([])

describe("WebPush", () => {
  it.live("one subscription of another key leaves its origin flowing, and a second key reaches it", () =>
    Effect.gen(function*() {
      const [own, other] = [yield* pair, yield* pair]
      for (const personality of ["google", "mozilla", "apple"] as const) {
        const [simulator] = yield* simulators({ personality })
        const one = { id: "one", privateKey: Redacted.make(Redacted.value(own.privateKey)) }
        const two = { id: "two", privateKey: Redacted.make(Redacted.value(other.privateKey)) }
        const good = yield* Effect.forEach(
          Array.from({ length: 30 }),
          () => simulator!.subscribe({ applicationServerKey: own.publicKey })
        )
        const wrong = yield* simulator!.subscribe({ applicationServerKey: other.publicKey })
        const context = yield* webPush([simulator!], { keys: [one, two] })
        const results = yield* sendAll(context, [wrong, ...good, { ...wrong, endpoint: wrong.endpoint, key: "none" }])
        assert.deepStrictEqual(counts(results.map(({ result }) => tagOf(result))), { Accepted: 30, WrongKey: 2 })
        assert.deepStrictEqual(
          (yield* sendAll(context, [{ ...wrong, key: "two" }])).map(({ result }) => tagOf(result)),
          [
            "Accepted"
          ]
        )
      }
    }).pipe(Effect.scoped))

  it.live("signs one token for each origin, however many messages", () =>
    Effect.gen(function*() {
      const all = yield* simulators({ personality: "mozilla" }, { personality: "apple" })
      const context = yield* webPush(all)
      const to = yield* Effect.forEach(
        Array.from({ length: 300 }),
        (_, index) => all[index % 2]!.subscribe()
      )
      const results = yield* sendAll(context, to)
      assert.deepStrictEqual(counts(results.map(({ result }) => tagOf(result))), { Accepted: 300 })
      for (const simulator of all) {
        const tokens = new Set((yield* simulator.pushes).map(({ headers }) => headers["authorization"]))
        assert.strictEqual(tokens.size, 1)
      }
    }).pipe(Effect.scoped))

  it.live("a refused token is renewed once, and then stops the origin with what to check", () =>
    Effect.gen(function*() {
      const [simulator] = yield* simulators({ personality: "apple" })
      const context = yield* webPush([simulator!])
      const to = yield* simulator!.subscribe()
      yield* simulator!.script.set({ rules: [{ do: Script.refuse("BadToken"), times: 1 }] })
      assert.deepStrictEqual((yield* sendAll(context, [to])).map(({ result }) => tagOf(result)), ["Accepted"])
      yield* simulator!.script.set({ rules: [{ do: Script.refuse("BadToken") }] })
      const { result } = (yield* sendAll(context, [to]))[0]!
      assert.strictEqual(tagOf(result), "ConfigFault")
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure.action, "FixConfiguration")
        assert.match(result.failure.message, /contact \(sub\).*host \(aud\).*clock \(exp\)/)
      }
      const sent = (yield* simulator!.counts).pushes
      assert.strictEqual(tagOf((yield* sendAll(context, [to]))[0]!.result), "ConfigFault")
      assert.strictEqual((yield* simulator!.counts).pushes, sent)
    }).pipe(Effect.scoped))

  it.live("a throttle pauses its origin for the time it asks for, and Apple's only the subscription", () =>
    Effect.gen(function*() {
      const [mozilla, apple, wns] = yield* simulators(
        { personality: "mozilla" },
        { personality: "apple" },
        { personality: "wns" }
      )
      for (const simulator of [mozilla!, apple!, wns!]) {
        const context = yield* webPush([simulator])
        const [one, two] = [yield* simulator.subscribe(), yield* simulator.subscribe()]
        const target = one.endpoint.slice(one.endpoint.lastIndexOf("/") + 1)
        yield* simulator.script.set({
          rules: [{ do: Script.refuse("Throttled", { retryAfter: "90 seconds" }), targets: [target] }]
        })
        const first = (yield* sendAll(context, [one]))[0]!.result
        assert.strictEqual(tagOf(first), "TooManyRequests")
        if (Result.isFailure(first)) assert.strictEqual(Duration.toSeconds(first.failure.delay!), 90)
        const second = (yield* sendAll(context, [two]))[0]!.result
        assert.strictEqual(tagOf(second), simulator === apple ? "Accepted" : "TooManyRequests")
      }
    }).pipe(Effect.scoped))

  it.live("says what each refusal means", () =>
    Effect.gen(function*() {
      for (const personality of ["google", "mozilla", "apple", "wns", "plain"] as const) {
        const [simulator] = yield* simulators({ personality })
        const context = yield* webPush([simulator!])
        const dead = yield* simulator!.subscribe()
        yield* simulator!.unsubscribe(dead)
        const gone = { ...dead, endpoint: `${dead.endpoint}0` }
        const tags = (yield* sendAll(context, [dead, gone])).map(({ result }) => tagOf(result))
        assert.deepStrictEqual(tags, ["DeadSubscription", "DeadSubscription"], personality)
        const bad = yield* simulator!.subscribe()
        yield* simulator!.script.set({ rules: [{ do: Script.refuse("TooLarge") }] })
        const [large] = yield* sendAll(context, [bad])
        assert.strictEqual(tagOf(large!.result), "Rejected")
        if (Result.isFailure(large!.result)) {
          assert.strictEqual(large!.result.failure.action, "FixNotification")
          assert.match(large!.result.failure.message, /124 bytes.*Firefox on Android/)
        }
        yield* simulator!.script.set({ rules: [{ do: Script.refuse("ServerError", { retryAfter: "7 seconds" }) }] })
        const [failed] = yield* sendAll(context, [bad])
        if (Result.isFailure(failed!.result)) {
          assert.strictEqual(failed!.result.failure.action, "RetryLater")
          assert.strictEqual(Duration.toSeconds(failed!.result.failure.delay!), 7)
        }
      }
    }).pipe(Effect.scoped))

  it.live("a name that leads elsewhere later is not dialled, over HTTP/2 and HTTP/1.1", () =>
    Effect.gen(function*() {
      for (const personality of ["mozilla", "plain"] as const) {
        const [simulator] = yield* simulators({ personality, name: "push.example.com" })
        const answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]]
        let asked = 0
        // 127.0.0.1 plays the public address: nothing here may dial a real one.
        const network = Layer.merge(
          AddressGuard.layer((address) => address === "127.0.0.1"),
          Layer.succeed(AddressGuard.Resolver, () =>
            // HTTP/1.1 is found by a first connection, and asks again before its own, and for its socket.
            Effect.sync(() => answers[personality === "plain" ? Math.max(0, asked++ - 2) : asked++] ?? ["127.0.0.2"]))
        )
        const context = yield* webPush([simulator!], {}, network)
        const to = yield* simulator!.subscribe()
        assert.strictEqual(tagOf((yield* sendAll(context, [to]))[0]!.result), "Accepted")
        yield* simulator!.cut
        yield* simulator!.clear
        const results = [yield* sendAll(context, [to]), yield* sendAll(context, [to])].flat()
        for (const { result } of results) {
          assert.include(
            personality === "plain" ? ["Unreachable", "EndpointRefused"] : ["EndpointRefused"],
            tagOf(result)
          )
        }
        assert.strictEqual((yield* simulator!.counts).connections, 0)
      }
    }).pipe(Effect.scoped))

  it.live("by default it dials nothing on this machine, and refuses many hosts with few connections open", () =>
    Effect.gen(function*() {
      const [simulator] = yield* simulators({ personality: "mozilla" })
      const onlyHere = Layer.succeed(AddressGuard.Resolver, () => Effect.succeed(["127.0.0.1"]))
      const context = yield* webPush([], { allow: "anyPublic" }, onlyHere)
      const own = browser()
      const hosts = Array.from({ length: 150 }, (_, index) => subscribe(own, `https://host-${index}.example/push/x`))
      const results = yield* sendAll(context, hosts)
      assert.deepStrictEqual(counts(results.map(({ result }) => tagOf(result))), { EndpointRefused: 150 })
      assert.strictEqual((yield* simulator!.counts).connections, 0)
    }).pipe(Effect.scoped, Effect.provide(silent)))

  it.live("no endpoint, key or text reaches an error, a log or a span", () => {
    const seen: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        seen.push(span.name)
        const attribute = span.attribute.bind(span)
        span.attribute = (key, value) => {
          seen.push(`${key} ${String(value)}`)
          attribute(key, value)
        }
        return span
      }
    })
    const logged = Logger.layer([
      Logger.make(({ cause, message }) => seen.push(JSON.stringify(message), String(cause)))
    ])
    return Effect.gen(function*() {
      const [simulator] = yield* simulators({ personality: "mozilla" })
      const own = yield* pair
      const context = yield* webPush([simulator!], { keys: { privateKey: own.privateKey }, requestTimeout: "1 second" })
      const secret = "an-endpoint-that-is-secret"
      const to = yield* simulator!.subscribe()
      const target = to.endpoint.slice(to.endpoint.lastIndexOf("/") + 1)
      const errors: Array<unknown> = []
      const add = (all: ReadonlyArray<WebPush.PushResult>) => {
        for (const { result } of all) if (Result.isFailure(result)) errors.push(result.failure)
      }
      add(
        yield* sendAll(context, [
          { ...to, endpoint: `${simulator!.origin}/push/${secret}` },
          { ...to, endpoint: `https://evil.example/${secret}` },
          { ...to, endpoint: `https://${secret}@evil.example/` },
          { ...to, endpoint: secret },
          { ...to, expirationTime: 1 },
          { ...to, key: "other" },
          { ...to, keys: { ...to.keys, p256dh: to.keys.auth } }
        ])
      )
      for (const behaviour of [Script.cutBefore, Script.reset(2), Script.refuse("BadToken"), Script.silence]) {
        yield* simulator!.script.set({ rules: [{ do: behaviour }] })
        add(yield* sendAll(context, [to]))
      }
      assert.isAtLeast(errors.length, 10)
      assert.isAtLeast(seen.length, 1)
      const shown = [...seen, ...errors.flatMap((error) => [String(error), JSON.stringify(error)])].join("\n")
      const { keys: { auth, p256dh } } = to
      for (const hidden of [secret, target, auth, p256dh, "a text that is secret", Redacted.value(own.privateKey)]) {
        assert.notInclude(shown, hidden)
      }
    }).pipe(
      Effect.scoped,
      Effect.withSpan("test"),
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provide(logged)
    )
  })
})
