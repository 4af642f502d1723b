/** The live `Apns` layer against the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Apns from "../../src/apns/Apns.ts"
import * as Notification from "../../src/apns/Notification.ts"
import * as ApnsSimulator from "../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../src/testing/apns/Key.ts"
import type { Script } from "../../src/testing/apns/Script.ts"

const topic = "com.example.app"
const hello = Notification.alert({ body: "Hello" })
const token = (n: number) => n.toString(16).padStart(64, "0")

/** An `Apns` and the simulator that it pushes to. */
const setUp = Effect.fnUntraced(function*(script: Script = {}, options: Partial<Apns.Options> = {}) {
  const key = yield* Key.makeKey()
  const simulator = yield* ApnsSimulator.make({ keys: [key], script })
  const context = yield* Layer.build(Apns.layer({
    credential: { key: key.key, keyId: key.keyId, teamId: key.teamId, topic, ca: Redacted.make(simulator.ca) },
    environment: "sandbox",
    host: simulator.host,
    port: simulator.port,
    ...options
  }))
  return { simulator, provide: Effect.provideContext(context) }
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

  it.live("nothing is lost and nothing sent twice while connections are replaced", () =>
    Effect.gen(function*() {
      const { provide, simulator } = yield* setUp({ goaway: { everyPushes: 500, unprocessed: 20 } })
      const results = yield* provide(sendAll(5000))
      assert.strictEqual(results.filter(({ result }) => Result.isSuccess(result)).length, 5000)
      const times = yield* accepted(simulator)
      assert.strictEqual(times.size, 5000)
      assert.isTrue(Array.from(times.values()).every((count) => count === 1))
    }))
})
