/** Keys and certificates of `Apns.layer`, one and several, against the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Apns from "../../../src/push/apns/Apns.ts"
import type * as Credential from "../../../src/push/apns/credential/Credential.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as ApnsSimulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import * as Certificate from "../../../src/testing/push/Certificate.ts"
import { folder } from "../../support/folder.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const topic = "com.example.app"
const token = (n: number) => n.toString(16).padStart(64, "0")

const certificate = Effect.fnUntraced(function*(...topics: ReadonlyArray<string>) {
  const authority = yield* Certificate.makeAuthority
  const { cert, key } = yield* authority.issue({ commonName: "push", topics })
  return cert + key
})

const keyOf = ({ key, keyId, teamId }: Key.Key): Credential.KeyOptions => ({ key, keyId, teamId })

/** An `Apns` with these credentials. */
const connected = (
  { ca, host, port }: ApnsSimulator.ApnsSimulator["Service"],
  ...credentials: readonly [Credential.Options, ...Array<Credential.Options>]
) => {
  const [first, ...others] = credentials
  const trusting = (credential: Credential.Options) => ({ ...credential, ca: Redacted.make(ca) })
  return Effect.map(
    Layer.build(Apns.layer({
      credential: [trusting(first), ...others.map(trusting)],
      environment: "sandbox",
      host,
      port
    })),
    (context) => Effect.provideContext(context)
  )
}

describe("certificates", () => {
  it.live("a VoIP certificate pushes only the calls of its app", () =>
    Effect.gen(function*() {
      const simulator = yield* ApnsSimulator.make()
      const calls = Redacted.make(yield* certificate(`${topic}.voip`))
      const provide = yield* connected(simulator, { certificate: calls })
      yield* provide(Apns.send(Notification.voip({ topic }), token(1)))
      yield* provide(Apns.send(Notification.voip({ topic: `${topic}.voip` }), token(2)))
      yield* provide(Apns.send(Notification.voip(), token(3)))
      const topics = (yield* simulator.pushes).map(({ headers }) => headers["apns-topic"])
      assert.deepStrictEqual(topics, Array.from({ length: 3 }, () => `${topic}.voip`))
      assert.strictEqual((yield* provide(Apns.Apns.use((apns) => apns.app()))).topic, topic)
      const error = yield* Effect.flip(provide(Apns.send(Notification.alert({ body: "a" }), token(1))))
      assert.strictEqual(error.reason._tag, "ConfigFault")
    }))

  it.live("a push that needs the other kind of credential uses that or is refused before sending", () =>
    Effect.gen(function*() {
      const simulator = yield* ApnsSimulator.make()
      const push = { certificate: Redacted.make(yield* certificate(topic, `${topic}.location-query`)) }
      const mdm = { certificate: Redacted.make(yield* certificate("com.apple.mgmt.External.1")) }
      const key = keyOf(yield* Key.makeKey())
      const where = Notification.location({ topic })
      const managed = Notification.mdm({ topic: "com.apple.mgmt.External.1", pushMagic: "magic" })

      const refused: ReadonlyArray<readonly [Notification.Notification, Credential.Options]> = [
        [where, push],
        [managed, key]
      ]
      for (const [notification, credential] of refused) {
        const provide = yield* connected(simulator, credential)
        const error = yield* Effect.flip(provide(Apns.send(notification, token(1))))
        assert.deepInclude(error.reason, { _tag: "InvalidNotification", field: "pushType", apple: "TopicDisallowed" })
      }
      assert.strictEqual((yield* simulator.counts).pushes, 0)

      const provide = yield* connected(simulator, push, mdm, key)
      yield* provide(Apns.send(where, token(1)))
      yield* provide(Apns.send(managed, token(1)))
      yield* provide(Apns.send(Notification.alert({ topic, body: "a" }), token(1)))
      const signed = (yield* simulator.pushes).map(({ headers }) => headers["authorization"] !== undefined)
      assert.deepStrictEqual(signed, [true, false, false])
    }))

  it.effect("a replacement with other topics counts at once", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.parse("2026-01-01"))
      const simulator = yield* ApnsSimulator.make()
      const file = join(yield* folder, "push.pem")
      writeFileSync(file, yield* certificate(topic))
      const provide = yield* connected(simulator, { certificate: { file } })
      const second = Notification.alert({ body: "a", topic: "com.example.second" })
      const unnamed = Notification.alert({ body: "a" })
      yield* provide(Apns.send(unnamed, token(1)))
      assert.strictEqual((yield* Effect.flip(provide(Apns.send(second, token(1))))).reason._tag, "ConfigFault")

      writeFileSync(file, yield* certificate("com.example.second", topic))
      const again = Effect.gen(function*() {
        yield* TestClock.adjust("1 minute")
        yield* TestClock.withLive(Effect.sleep(2))
        return yield* provide(Apns.send(second, token(2)))
      })
      yield* Effect.eventually(again)
      yield* provide(Apns.send(unnamed, token(3)))
      const topics = (yield* simulator.pushes).map(({ headers }) => headers["apns-topic"])
      assert.deepStrictEqual(topics, [topic, "com.example.second", "com.example.second"])
    }))
})

describe("several teams at once", () => {
  it.live("each app uses the key of its team, on its own connections", () =>
    Effect.gen(function*() {
      const apps = ["com.example.a", "com.example.b", "com.example.c"]
      const keys = yield* Effect.forEach(apps, (app) => Key.makeKey({ bundleIds: [app] }))
      const simulator = yield* ApnsSimulator.make({ keys })
      const [a, b, c] = keys.map((key, index) => ({ ...keyOf(key), topics: [apps[index]!] }))
      const provide = yield* connected(simulator, a!, b!, c!)
      const notifications = apps.map((topic) => Notification.alert({ topic, body: "a" }))
      const results = yield* Stream.range(1, 3000).pipe(
        Stream.map((n) => ({ notification: notifications[n % 3]!, token: token(n) })),
        Apns.sendAll,
        Stream.runCollect,
        provide
      )
      assert.strictEqual(results.filter(({ result }) => Result.isSuccess(result)).length, 3000)
      const pushes = yield* simulator.pushes
      const teams = new Map<number, Set<string | undefined>>()
      for (const { connection, headers } of pushes) {
        teams.set(connection, (teams.get(connection) ?? new Set()).add(headers["apns-topic"]))
      }
      assert.isAtLeast(teams.size, 3)
      assert.isTrue(Array.from(teams.values()).every((topics) => topics.size === 1))
    }))
})
