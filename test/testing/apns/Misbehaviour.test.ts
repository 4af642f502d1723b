/** Faults that a script or a test makes the simulator show. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { connect as connectTls } from "node:tls"
import * as Simulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Script from "../../../src/testing/apns/Script.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withServers } from "../../support/limits.ts"
import { type Client, connect, outcome, payload, push, setUp, token } from "./client.ts"

allow(withServers)

const tokens = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => token(index.toString(16).padStart(4, "0")))

describe("answers", () => {
  it.effect("a share of the pushes is refused, the same ones in every run and order", () =>
    Effect.gen(function*() {
      const script = (seed: number): Script.Script => ({
        seed,
        rules: [
          { do: Script.refuse("TooManyRequests", { retryAfter: "90 seconds" }), share: 0.1 },
          { do: Script.refuse("InternalServerError"), share: 0.05 },
          { do: Script.refuse("ServiceUnavailable"), share: 0.05 }
        ]
      })
      const run = Effect.fnUntraced(
        function*(seed: number, order: (all: ReadonlyArray<string>) => ReadonlyArray<string>) {
          const { send, simulator } = yield* setUp({ script: script(seed) })
          yield* send("ff".repeat(32))
          yield* Effect.forEach(order(tokens(1000)), (to) => outcome(send(to)), { concurrency: 50 })
          return { counts: yield* simulator.counts, pushes: yield* simulator.pushes }
        }
      )
      const fates = (pushes: Effect.Success<ReturnType<typeof run>>["pushes"]) =>
        pushes.map(({ reason, target }) => `${target} ${reason}`).sort()

      const first = yield* run(1, (all) => all)
      const { InternalServerError, ServiceUnavailable, TooManyRequests } = first.counts.reasons as Record<
        string,
        number
      >
      assert.isTrue(TooManyRequests! > 70 && TooManyRequests! < 130, `${TooManyRequests}`)
      assert.isTrue(InternalServerError! > 30 && InternalServerError! < 70, `${InternalServerError}`)
      assert.isTrue(ServiceUnavailable! > 30 && ServiceUnavailable! < 70, `${ServiceUnavailable}`)
      assert.strictEqual(first.counts.statuses[429], TooManyRequests)

      assert.deepStrictEqual(fates((yield* run(1, (all) => all.toReversed())).pushes), fates(first.pushes))
      assert.notDeepEqual(fates((yield* run(2, (all) => all)).pushes), fates(first.pushes))
    }))

  it.effect("Retry-After is in seconds", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp({
        script: { rules: [{ do: Script.refuse("TooManyRequests", { retryAfter: "90 seconds" }) }] }
      })
      const response = yield* send()
      assert.strictEqual(response.status, 429)
      assert.strictEqual(response.headers["retry-after"], "90")
    }))

  it.effect("rules may apply to some targets and to the first pushes to each", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp({
        script: {
          rules: [
            { do: Script.refuse("ServiceUnavailable"), targets: [token("a1")], times: 2 },
            { do: Script.refuse("BadDeviceToken"), targets: [token("b1")] }
          ],
          decide: ({ nth, target }) =>
            target === token("c1") && nth % 2 === 0 ? Script.refuse("InternalServerError") : undefined
        }
      })
      const thrice = (to: string) => Effect.replicateEffect(outcome(send(to)), 3)
      const unavailable = "503 ServiceUnavailable"
      assert.deepStrictEqual(yield* thrice(token("a1")), [unavailable, unavailable, "200"])
      assert.deepStrictEqual(yield* thrice(token("b1")), Array(3).fill("400 BadDeviceToken"))
      assert.deepStrictEqual(yield* thrice(token("c1")), ["200", "500 InternalServerError", "200"])
      assert.deepStrictEqual(yield* thrice(token("d1")), ["200", "200", "200"])
    }))

  it.effect("a script can be replaced during pushes", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp()
      assert.strictEqual(yield* outcome(send()), "200")
      const script: Script.Script = { rules: [{ do: Script.refuse("Shutdown"), times: 1 }] }
      yield* simulator.script.set(script)
      assert.strictEqual(yield* simulator.script.get, script)
      assert.strictEqual(yield* outcome(send()), "503 Shutdown")
      assert.strictEqual(yield* outcome(send()), "200")
    }))

  it.effect("slow answers wait on Effect's clock", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp({
        script: { delay: "1 second", rules: [{ do: Script.delay("1 minute"), targets: [token("b1")] }] }
      })
      const fast = yield* Effect.forkChild(outcome(send(token("a1"))))
      yield* arrived(simulator, 1)
      assert.isUndefined(fast.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fast), "200")

      const slow = yield* Effect.forkChild(outcome(send(token("b1"))))
      yield* arrived(simulator, 2)
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(slow), "200")
    }))

  it.effect("answers may be cut, reset or missing", () =>
    Effect.gen(function*() {
      const { auth, send, simulator } = yield* setUp({
        script: {
          maxStreams: { before: 10 },
          rules: [
            { do: Script.reset(), targets: [token("a1")] },
            { do: Script.reset(2), targets: [token("a2")] },
            { do: Script.silence, targets: [token("b1")] },
            { do: Script.cutAfter, targets: [token("c1")] },
            { do: Script.cutBefore, targets: [token("d1")] }
          ]
        }
      })
      assert.strictEqual(yield* outcome(send(token("a1"))), "reset 7")
      assert.strictEqual(yield* outcome(send(token("a2"))), "reset 2")
      const silent = yield* Effect.forkChild(outcome(send(token("b1"))))
      assert.strictEqual(yield* outcome(send(token("c1"))), "200")
      assert.match(yield* Fiber.join(silent), /^reset/)

      const client = yield* connectTo(simulator)
      const cut = yield* outcome(client.request(push(token("d1"), auth), payload))
      assert.match(cut, /^reset/)
      yield* client.closed
      assert.deepInclude(yield* simulator.counts, { connections: 2, open: 0, accepted: 1, unanswered: 4 })
    }))
})

describe("GOAWAY", () => {
  it.effect("follows a number of pushes, which are answered", () =>
    Effect.gen(function*() {
      const { auth, client, send, simulator } = yield* setUp({ script: { goaway: { everyPushes: 3 } } })
      assert.deepStrictEqual(yield* Effect.replicateEffect(outcome(send()), 3), ["200", "200", "200"])
      yield* client.closed
      assert.deepStrictEqual(client.goaways[0], { code: 0, last: 5, debug: "" })

      const next = yield* connectTo(simulator)
      assert.strictEqual(yield* outcome(next.request(push(undefined, auth), payload)), "200")
      assert.deepInclude(yield* simulator.counts, { connections: 2, open: 1, accepted: 4 })
    }))

  it.effect("comes at intervals with a code and Apple's reason", () =>
    Effect.gen(function*() {
      const { client, simulator } = yield* setUp({
        script: { goaway: { every: "1 hour", code: 11, reason: "TooManyRequests" } }
      })
      yield* TestClock.adjust("1 hour")
      yield* client.closed
      assert.deepInclude(client.goaways[0], { code: 11 })
      assert.deepStrictEqual(JSON.parse(client.goaways[0]!.debug), { reason: "TooManyRequests", timestamp: 3_600_000 })

      yield* simulator.script.set({})
      const next = yield* connectTo(simulator)
      yield* TestClock.adjust("10 hours")
      assert.deepStrictEqual(next.goaways, [])
    }))

  it.effect("answers open pushes, except the ones that it refuses", () =>
    Effect.gen(function*() {
      const { client, send, simulator } = yield* setUp({ script: { maxStreams: { before: 10 }, delay: "1 minute" } })
      const sent = yield* Effect.forEach(tokens(5), (to) => Effect.forkChild(outcome(send(to))))
      yield* arrived(simulator, 5)
      yield* simulator.goaway({ unprocessed: 2 })
      yield* TestClock.withLive(eventually("the client knows", () => client.goaways.length > 0))
      assert.deepStrictEqual(client.goaways[0], { code: 0, last: 5, debug: "" })
      yield* TestClock.adjust("1 minute")
      const outcomes = yield* Effect.forEach(sent, (one) => Fiber.join(one))
      assert.deepStrictEqual(outcomes, ["200", "200", "200", "reset 7", "reset 7"])
      yield* client.closed
      assert.deepStrictEqual(
        (yield* simulator.pushes).map(({ status }) => status),
        [200, 200, 200, undefined, undefined]
      )
      assert.deepInclude(yield* simulator.counts, { pushes: 5, accepted: 3, unanswered: 2, statuses: { 200: 3 } })
    }))

  it.effect("ends the connection even if the client does nothing", () =>
    Effect.gen(function*() {
      const simulator = yield* Simulator.make()
      const ended = yield* Effect.forkChild(rawConnection(simulator), { startImmediately: true })
      yield* TestClock.withLive(
        eventually("it is open", Effect.map(simulator.counts, ({ open }) => open === 1))
      )
      yield* simulator.goaway({ reason: "IdleTimeout" })
      const frames = (yield* Fiber.join(ended)).toString("latin1")
      assert.include(frames, `{"reason":"IdleTimeout","timestamp":0}`)
    }))
})

describe("SETTINGS", () => {
  it.effect("allow one stream until a push with a valid provider token, then 1000", () =>
    Effect.gen(function*() {
      const { client, send } = yield* setUp()
      assert.strictEqual(yield* outcome(send(undefined, { authorization: "bearer a.b.c" })), "403 InvalidProviderToken")
      assert.strictEqual(client.session.remoteSettings.maxConcurrentStreams, 1)
      yield* send()
      yield* TestClock.withLive(
        eventually("it was told", () => client.session.remoteSettings.maxConcurrentStreams === 1000)
      )
      assert.deepStrictEqual(client.limits, [1, 1000])
    }))

  it.effect("allow one stream again after refusals, until a push is accepted", () =>
    Effect.gen(function*() {
      const { client, send } = yield* setUp({
        script: { maxStreams: { after: 7, refusals: 3 }, dead: { [token("dd")]: { since: 1 } } }
      })
      yield* send()
      for (const to of ["bad", token("dd"), "bad", token("dd")]) yield* outcome(send(to))
      yield* outcome(send(undefined, { "apns-priority": "3" }))
      yield* eventually("the limit has changed", () => client.limits.at(-1) === 1)
      assert.deepStrictEqual(client.limits, [1, 7, 1])
      yield* outcome(send("bad"))
      yield* send()
      yield* eventually("the limit has changed", () => client.limits.length === 4)
      assert.deepStrictEqual(client.limits, [1, 7, 1, 7])
    }))

  it.effect("close connections after too many refusals in a row, sooner for bad tokens, never for dead ones", () =>
    Effect.gen(function*() {
      const script: Script.Script = {
        patience: { refusals: 4, badTokens: 2 },
        dead: { [token("dd")]: { since: 1 } }
      }
      const badTopic = { "apns-topic": "a b" }
      const run = Effect.fnUntraced(function*(...pushes: ReadonlyArray<Parameters<typeof push>>) {
        const { client, send } = yield* setUp({ script })
        for (const [to, more] of pushes) yield* outcome(send(to, more))
        yield* client.ping
        return client.goaways.length > 0
      })
      const refused: Parameters<typeof push> = [undefined, badTopic]
      assert.strictEqual(yield* run(["bad"], [], ["bad"], [], refused, refused), false)
      assert.strictEqual(yield* run(...Array.from({ length: 9 }, () => [token("dd")] as [string])), false)
      assert.strictEqual(yield* run(["bad"], ["bad"]), true)
      assert.strictEqual(yield* run(refused, refused, ["bad"], refused), true)
    }))

  it.effect("change while connections are open", () =>
    Effect.gen(function*() {
      const { client, send, simulator } = yield* setUp({ script: { maxStreams: { before: 3, after: 500 } } })
      yield* send()
      yield* simulator.script.set({ maxStreams: { before: 2, after: 5 } })
      yield* TestClock.withLive(
        eventually("it was told", () => client.session.remoteSettings.maxConcurrentStreams === 5)
      )
      assert.deepStrictEqual(client.limits, [3, 500, 5])
      const next = yield* connectTo(simulator)
      assert.deepStrictEqual(next.limits.at(-1), 2)
    }))
})

describe("connections", () => {
  it.effect("are cut at once", () =>
    Effect.gen(function*() {
      const { client, simulator } = yield* setUp()
      yield* simulator.cut
      yield* client.closed
      yield* TestClock.withLive(eventually("it is gone", Effect.map(simulator.counts, ({ open }) => open === 0)))
    }))

  it.effect("fail with a clear error on a port in use", () =>
    Effect.gen(function*() {
      const { port } = yield* Simulator.make()
      const error = yield* Effect.flip(Simulator.make({ port }))
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}.*EADDRINUSE.*another port`))
    }))

  it.effect("end with the scope of the simulator", () =>
    Effect.gen(function*() {
      const client = yield* Effect.scoped(Effect.flatMap(Simulator.make(), (simulator) => {
        return Effect.map(connectTo(simulator), (client): Client => client)
      }))
      yield* client.closed
    }))
})

/** Opens a connection, sends only what HTTP/2 requires, and returns the bytes read until the other side ended it. */
const rawConnection = ({ ca, port }: Simulator.ApnsSimulator["Service"]) =>
  Effect.callback<Buffer>((resume) => {
    const chunks: Array<Buffer> = []
    const socket = connectTls({ port, host: "127.0.0.1", ca, ALPNProtocols: ["h2"] })
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.on("error", () => {})
    socket.once("close", () => resume(Effect.succeed(Buffer.concat(chunks))))
    return Effect.sync(() => socket.destroy())
  })

const connectTo = (simulator: Simulator.ApnsSimulator["Service"]) =>
  Effect.provideService(connect(), Simulator.ApnsSimulator, simulator)

/** Waits until a number of pushes has arrived. */
const arrived = (simulator: Simulator.ApnsSimulator["Service"], count: number) =>
  TestClock.withLive(eventually(`${count} pushes`, Effect.map(simulator.counts, ({ pushes }) => pushes === count)))
