/** Pushes to simulators of every push service. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { WebPush } from "../../../src/push/webpush/index.ts"
import type { Personality } from "../../../src/testing/webpush/index.ts"
import { allow, withServers } from "../../support/limits.ts"
import { simulators, webPush } from "./live.ts"

allow(withServers)

const personalities: ReadonlyArray<Personality.Personality> = ["google", "mozilla", "apple", "wns", "plain"]

describe("WebPush", () => {
  it.live.each(personalities)("a browser of %s reads the message", (personality) =>
    Effect.gen(function*() {
      const [simulator] = yield* simulators({ personality })
      const context = yield* webPush([simulator!])
      const subscription = yield* simulator!.subscribe()
      const push = Context.get(context, WebPush.WebPush)
      for (const ttl of [0, 60]) {
        const receipt = yield* push.send(
          { body: { json: { title: "Hello \u2603" } }, ttl, urgency: "high", topic: "spike" },
          subscription
        )
        assert.strictEqual(receipt.status, 201)
        assert.include(receipt.location, simulator!.origin)
      }
      yield* push.send({ ttl: 10 }, subscription)
      const [first, second, empty] = yield* simulator!.pushes
      assert.strictEqual(first!.text, "{\"title\":\"Hello \u2603\"}")
      assert.strictEqual(second!.headers["ttl"], "60")
      assert.strictEqual(second!.headers["topic"]!.length, 32)
      assert.strictEqual(first!.headers["authorization"], empty!.headers["authorization"])
      assert.strictEqual(empty!.body.length, 0)
      assert.isUndefined(empty!.headers["content-encoding"])
    }).pipe(Effect.scoped))
})
