import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Apns, Notification } from "../../../src/push/apns/index.ts"
import { ApnsSimulator, Key } from "../../../src/testing/apns/index.ts"

const gone = "a1".repeat(32)

it.live("a push to a dead device is refused, and the error says what to do", () =>
  Effect.gen(function*() {
    const key = yield* Key.makeKey()
    const { ca, host, port, pushes } = yield* ApnsSimulator.make({
      keys: [key],
      script: { dead: { [gone]: { since: 1_700_000_000_000 } } }
    })
    const apns = Apns.layer({
      credential: { ...key, topic: "com.example.app", ca: Redacted.make(ca) },
      host,
      port
    })

    const error = yield* Effect.flip(Apns.send(Notification.alert({ body: "Hello" }), gone)).pipe(Effect.provide(apns))

    assert.strictEqual(error.action, "DropToken")
    assert.deepStrictEqual((yield* pushes).map(({ reason, target }) => [target, reason]), [[gone, "Unregistered"]])
  }))
