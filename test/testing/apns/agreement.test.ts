/** The simulator accepts everything that `backq/apns` sends, and `backq/apns` reads every answer of the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as ProviderToken from "../../../src/push/apns/credential/ProviderToken.ts"
import * as BroadcastChannel from "../../../src/push/apns/notification/BroadcastChannel.ts"
import * as DeviceToken from "../../../src/push/apns/notification/DeviceToken.ts"
import { encode } from "../../../src/push/apns/notification/Encoder.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import { PushType } from "../../../src/push/apns/notification/PushType.ts"
import * as Simulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import * as ProviderTokens from "../../../src/testing/apns/providerTokens.ts"
import * as Certificate from "../../../src/testing/push/Certificate.ts"
import { connect, outcome, setUp, token, topic } from "./client.ts"

const state = { timestamp: 1_700_000_000, contentState: { score: [1, 0] } }

const notifications: ReadonlyArray<Notification.Notification> = [
  Notification.alert({
    title: "a",
    body: "Größe 🎉",
    collapseId: "é".repeat(32),
    expiration: 1_900_000_000,
    priority: 1
  }),
  Notification.background(),
  Notification.voip(),
  Notification.complication(),
  Notification.fileProvider({ containerIdentifier: "root" }),
  Notification.mdm({ pushMagic: "magic" }),
  Notification.location(),
  Notification.liveActivityUpdate({ ...state, priority: 5 }),
  Notification.liveActivityEnd(state),
  Notification.pushToTalk(),
  Notification.widgets(),
  Notification.controls()
]

describe("backq/apns and the simulator", () => {
  it.effect("agree about every push type", () =>
    Effect.gen(function*() {
      const { auth, client, simulator } = yield* setUp()
      const authority = yield* Certificate.makeAuthority
      const managing = yield* Effect.flatMap(authority.issue({ topics: [topic] }), (identity) =>
        Effect.provideService(connect(identity), Simulator.ApnsSimulator, simulator))
      for (const notification of notifications) {
        const isMdm = notification.pushType === "mdm"
        const { body, headers } = Result.getOrThrow(encode(notification, { topic }))
        const request = { ":method": "POST", ":path": DeviceToken.path(token("a1")), ...(isMdm ? {} : auth) }
        const latin1 = headers.map(([name, value]) => [name, Buffer.from(value).toString("latin1")])
        const sent = (isMdm ? managing : client).request({ ...request, ...Object.fromEntries(latin1) }, body)
        assert.strictEqual(yield* outcome(sent), "200", notification.pushType)
      }
      const kinds = (yield* simulator.pushes).map(({ headers }) =>
        headers["apns-push-type"]!
      )
      assert.sameMembers(Array.from(new Set(kinds)), [...PushType.literals])
    }))

  it.effect("agree about provider tokens, for a day on one connection", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey()
      const tokens = yield* ProviderToken.make(key)
      const judge = ProviderTokens.make([key], "sandbox")
      let shown: ProviderTokens.Shown | undefined
      yield* TestClock.adjust("7 minutes")
      for (let minute = 0; minute < 24 * 60; minute++) {
        const { jwt } = yield* tokens.current
        const verdict = judge(`bearer ${Redacted.value(jwt)}`, yield* Clock.currentTimeMillis, shown)
        assert.strictEqual(verdict._tag === "Refused" ? verdict.reason : undefined, undefined, `minute ${minute}`)
        if (verdict._tag === "Accepted") shown = verdict.shown
        yield* TestClock.adjust("1 minute")
      }
      assert.isAbove(shown!.issuedAt, 23 * 3600)
    }))

  it.effect("agree about channels", () =>
    Effect.gen(function*() {
      const { auth, client } = yield* setUp()
      const call = Effect.fnUntraced(function*<A>(made: BroadcastChannel.CallResult<A>) {
        const { decode, request } = Result.getOrThrow(made)
        const { body, headers, status } = yield* client.request({
          ":method": request.method,
          ":path": request.path,
          ...Object.fromEntries(request.headers),
          ...auth
        }, request.body)
        return decode({
          status,
          headers: Object.entries(headers).map(([name, value]) => [name, String(value)]),
          body: Buffer.from(body === undefined ? "" : JSON.stringify(body))
        })
      })
      const id = Result.getOrThrow(yield* call(BroadcastChannel.create(topic, "MostRecent")))
      assert.deepStrictEqual(Result.getOrThrow(yield* call(BroadcastChannel.read(topic, id))), {
        id,
        storage: "MostRecent"
      })
      assert.deepStrictEqual(Result.getOrThrow(yield* call(BroadcastChannel.list(topic))), [id])
      const update = Notification.liveActivityUpdate({ ...state, priority: 1, expiration: 1_900_000_000 })
      assert.isTrue(Result.isSuccess(yield* call(BroadcastChannel.send(topic, id, update, { stored: true }))))
      assert.isTrue(Result.isSuccess(yield* call(BroadcastChannel.remove(topic, id))))
      const gone = yield* call(BroadcastChannel.send(topic, id, update, { stored: true }))
      assert.strictEqual(Result.isFailure(gone) ? gone.failure.action : undefined, "DropChannel")
    }))
})
