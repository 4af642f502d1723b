import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { connect } from "node:http2"
import { ApnsSimulator, Key } from "../../../src/testing/apns/index.ts"

const gone = "a1".repeat(32)

/** Stands for the sender under test. */
const push = (simulator: ApnsSimulator.ApnsSimulator["Service"], token: string, jwt: string) =>
  Effect.callback<number>((resume) => {
    const session = connect(`https://${simulator.host}:${simulator.port}`, { ca: simulator.ca })
    const stream = session.request({
      ":method": "POST",
      ":path": `/3/device/${token}`,
      "authorization": `bearer ${jwt}`,
      "apns-topic": "com.example.app"
    })
    stream.once("response", (headers) => resume(Effect.succeed(Number(headers[":status"]))))
    stream.once("close", () => session.close())
    stream.end(JSON.stringify({ aps: { alert: "hello" } }))
  })

it.effect("a push to a dead device is refused", () =>
  Effect.gen(function*() {
    const key = yield* Key.makeKey({ bundleIds: ["com.example.app"] })
    const simulator = yield* ApnsSimulator.make({
      keys: [key],
      script: { dead: { [gone]: { since: 1_700_000_000_000 } } }
    })

    assert.strictEqual(yield* push(simulator, gone, yield* Key.signToken(key)), 410)

    const pushes = yield* simulator.pushes
    assert.deepStrictEqual(pushes.map(({ reason, target }) => [target, reason]), [[gone, "Unregistered"]])
  }))
