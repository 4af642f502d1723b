/** The simulator as a client sees it: its checks and their order. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { OutgoingHttpHeaders } from "node:http2"
import * as Simulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Certificate from "../../../src/testing/push/Certificate.ts"
import { authorization, type Client, connect, outcome, payload, push, setUp, token, topic } from "./client.ts"

const uuid = "01234567-89ab-4cde-8f01-23456789abcd"

/** Headers with one of them left out. */
const without = (headers: OutgoingHttpHeaders, name: string): OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name))

describe("a push", () => {
  it.effect("is accepted, echoed and recorded", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp()
      const given = yield* send(token("a1"), { "apns-id": uuid, "apns-collapse-id": "score" })
      assert.strictEqual(given.status, 200)
      assert.strictEqual(given.headers["apns-id"], uuid)
      assert.match(given.headers["apns-unique-id"] as string, /^[0-9a-f-]{36}$/)
      assert.isUndefined(given.body)
      const made = yield* send(token("a2"))
      assert.match(made.headers["apns-id"] as string, /^[0-9a-f-]{36}$/)

      const pushes = yield* simulator.pushes
      assert.deepInclude(pushes[0], {
        connection: 1,
        at: 0,
        target: token("a1"),
        body: payload,
        apnsId: uuid,
        status: 200,
        reason: undefined
      })
      assert.strictEqual(pushes[0]!.headers["apns-collapse-id"], "score")
      assert.deepStrictEqual(pushes.map(({ target }) => target), [token("a1"), token("a2")])
      assert.deepStrictEqual(yield* simulator.counts, {
        connections: 1,
        open: 1,
        pushes: 2,
        accepted: 2,
        unanswered: 0,
        statuses: { 200: 2 },
        reasons: {}
      })
      yield* simulator.clear
      assert.deepStrictEqual(yield* simulator.pushes, [])
      assert.strictEqual((yield* simulator.counts).pushes, 0)
    }))

  it.effect("has an apns-unique-id in the sandbox only", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp({ environment: "production" })
      assert.notProperty((yield* send()).headers, "apns-unique-id")
    }))

  it.effect("is recorded up to the limit, and emitted in a stream", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp({ record: 2 })
      const first = yield* Effect.forkChild(Stream.runCollect(Stream.take(simulator.changes, 3)), {
        startImmediately: true
      })
      for (const start of ["a1", "a2", "a3"]) yield* send(token(start))
      assert.deepStrictEqual((yield* simulator.pushes).map(({ target }) => target), [token("a2"), token("a3")])
      assert.lengthOf(yield* Fiber.join(first), 3)
    }))

  it.effect("is only counted if recording is off", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp({ record: false })
      yield* send()
      assert.deepStrictEqual(yield* simulator.pushes, [])
      assert.strictEqual((yield* simulator.counts).accepted, 1)
    }))
})

describe("checks", () => {
  /** Each fault, in the order in which APNs looks for them. */
  const faults: ReadonlyArray<
    readonly [expected: string, change: (headers: OutgoingHttpHeaders) => OutgoingHttpHeaders]
  > = [
    ["400 DuplicateHeaders", (headers) => ({ ...headers, "apns-priority": ["10", "5"] })],
    ["400 BadMessageId", (headers) => ({ ...headers, "apns-id": "1234" })],
    ["405 MethodNotAllowed", (headers) => ({ ...headers, ":method": "PUT" })],
    ["400 BadTopic", (headers) => ({ ...headers, "apns-topic": "com example" })],
    ["400 BadCollapseId", (headers) => ({ ...headers, "apns-collapse-id": "x".repeat(65) })],
    ["400 BadPriority", (headers) => ({ ...headers, "apns-priority": "7" })],
    ["400 InvalidPushType", (headers) => ({ ...headers, "apns-push-type": "alarm" })],
    ["400 BadDeviceToken", (headers) => ({ ...headers, ":path": "/3/device/abc" })],
    ["403 MissingProviderToken", (headers) => without(headers, "authorization")]
  ]

  it.effect("each fault has its reason", () =>
    Effect.gen(function*() {
      const { auth, client } = yield* setUp()
      for (const [expected, change] of faults) {
        assert.strictEqual(yield* outcome(client.request(change(push(undefined, auth)), payload)), expected)
      }
    }))

  it.effect("the first fault in Apple's order is the answer", () =>
    Effect.gen(function*() {
      const { auth, client } = yield* setUp()
      for (let first = 0; first < faults.length; first++) {
        const headers = faults.slice(first).reduceRight((all, [, change]) => change(all), push(undefined, auth))
        assert.strictEqual(yield* outcome(client.request(headers, "")), faults[first]![0])
      }
    }))

  it.effect("headers at their limits are accepted", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp()
      const cases: ReadonlyArray<readonly [expected: string, headers: OutgoingHttpHeaders]> = [
        ["200", { "apns-id": uuid.toUpperCase() }],
        ["200", { "apns-collapse-id": "x".repeat(64) }],
        // 22 characters, 66 bytes
        ["400 BadCollapseId", { "apns-collapse-id": Buffer.from("€".repeat(22)).toString("latin1") }],
        ["200", { "apns-priority": "1" }],
        ["200", { "apns-expiration": "0" }],
        ["400 BadExpirationDate", { "apns-expiration": "-1" }],
        ["400 BadExpirationDate", { "apns-expiration": "1700000000000" }],
        ["400 BadPriority", { "apns-push-type": "background", "apns-priority": "10" }],
        ["200", { "apns-push-type": "background", "apns-priority": "5" }],
        ["400 BadTopic", { "apns-push-type": "voip" }],
        ["400 BadTopic", { "apns-topic": `${topic}.push-type.widgets` }],
        ["200", { "apns-push-type": "voip", "apns-topic": `${topic}.voip` }],
        ["200", { "apns-push-type": "liveactivity", "apns-topic": `${topic}.push-type.liveactivity` }],
        ["400 TopicDisallowed", { "apns-topic": "com.example.other" }]
      ]
      for (const [expected, headers] of cases) {
        assert.strictEqual(yield* outcome(send(undefined, headers)), expected, JSON.stringify(headers))
      }
    }))

  it.effect("wrong paths and missing topics are refused", () =>
    Effect.gen(function*() {
      const { auth, client } = yield* setUp()
      for (
        const [expected, headers] of [
          ["404 BadPath", push(undefined, { ":path": "/3/devices/a1" })],
          ["400 MissingDeviceToken", push("")],
          ["400 BadDeviceToken", push(`${token("a1")}0`)],
          ["400 BadDeviceToken", push(token("xy"))],
          ["200", push(token("A1").padEnd(160, "F"))],
          ["400 MissingTopic", without(push(), "apns-topic")]
        ] as const
      ) assert.strictEqual(yield* outcome(client.request({ ...headers, ...auth }, payload)), expected)
    }))

  it.effect("missing, unreadable and too large payloads are refused", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp()
      const sized = (bytes: number) => JSON.stringify({ a: "x".repeat(bytes - 8) })
      const voip = { "apns-push-type": "voip", "apns-topic": `${topic}.voip` }
      for (const body of ["", "{", "[]", "null", "\"text\""]) {
        assert.strictEqual(yield* outcome(send(undefined, {}, body)), "400 PayloadEmpty", body)
      }
      assert.strictEqual(yield* outcome(send(undefined, {}, sized(4096))), "200")
      assert.strictEqual(yield* outcome(send(undefined, {}, sized(4097))), "413 PayloadTooLarge")
      assert.strictEqual(yield* outcome(send(undefined, {}, sized(1_000_000))), "413 PayloadTooLarge")
      assert.strictEqual(yield* outcome(send(undefined, voip, sized(5120))), "200")
      assert.strictEqual(yield* outcome(send(undefined, voip, sized(5121))), "413 PayloadTooLarge")
    }))

  it.effect("dead or foreign device tokens are refused before the provider token", () =>
    Effect.gen(function*() {
      const { send, simulator } = yield* setUp({
        script: {
          dead: { [token("d1")]: { since: 1234 }, [token("d2")]: { since: 5678, reason: "ExpiredToken" } },
          apps: { [token("b1")]: "com.example.other" }
        }
      })
      const unauthorized = { authorization: "bearer a.b.c" }
      const dead = yield* send(token("d1"), unauthorized)
      assert.strictEqual(dead.status, 410)
      assert.deepStrictEqual(dead.body, { reason: "Unregistered", timestamp: 1234 })
      assert.deepStrictEqual((yield* send(token("d2"))).body, { reason: "ExpiredToken", timestamp: 5678 })
      assert.strictEqual(yield* outcome(send(token("b1"), unauthorized)), "400 DeviceTokenNotForTopic")
      assert.strictEqual(yield* outcome(send(token("b2"), unauthorized)), "403 InvalidProviderToken")
      assert.deepStrictEqual((yield* simulator.counts).reasons, {
        Unregistered: 1,
        ExpiredToken: 1,
        DeviceTokenNotForTopic: 1,
        InvalidProviderToken: 1
      })
    }))

  it.effect("provider tokens age on Effect's clock and belong to one connection", () =>
    Effect.gen(function*() {
      const { client, key, send, simulator } = yield* setUp()
      assert.strictEqual(yield* outcome(send()), "200")
      yield* TestClock.adjust("10 minutes")
      const newer = yield* authorization(key)
      assert.strictEqual(
        yield* outcome(client.request(push(undefined, newer), payload)),
        "429 TooManyProviderTokenUpdates"
      )
      const other = yield* Effect.provideService(connect(), Simulator.ApnsSimulator, simulator)
      assert.strictEqual(yield* outcome(other.request(push(undefined, newer), payload)), "200")
      yield* TestClock.adjust("51 minutes")
      assert.strictEqual(yield* outcome(send()), "403 ExpiredProviderToken")
    }))

  it.effect("a key can't manage devices", () =>
    Effect.gen(function*() {
      const { send } = yield* setUp()
      assert.strictEqual(yield* outcome(send(undefined, { "apns-push-type": "mdm" })), "400 TopicDisallowed")
    }))

  it.effect("certificates replace provider tokens", () =>
    Effect.gen(function*() {
      const simulator = yield* Simulator.make()
      const authority = yield* Certificate.makeAuthority
      const connectWith = (options: Certificate.IssueOptions) =>
        Effect.flatMap(authority.issue(options), (identity) =>
          Effect.provideService(connect(identity), Simulator.ApnsSimulator, simulator))
      const sending = (client: Client, headers: OutgoingHttpHeaders) =>
        outcome(client.request(headers, payload))

      const one = yield* connectWith({ topics: [topic] })
      assert.strictEqual(yield* sending(one, without(push(), "apns-topic")), "200")
      assert.strictEqual(
        yield* sending(one, push(undefined, { "apns-topic": "com.example.other" })),
        "400 TopicDisallowed"
      )

      const two = yield* connectWith({ topics: [topic, `${topic}.voip`] })
      assert.strictEqual(
        yield* sending(two, push(undefined, { "apns-topic": `${topic}.voip`, "apns-push-type": "voip" })),
        "200"
      )
      assert.strictEqual(yield* sending(two, without(push(), "apns-topic")), "400 MissingTopic")
      assert.strictEqual(two.session.remoteSettings.maxConcurrentStreams, 1000)

      const where = { "apns-topic": `${topic}.location-query`, "apns-push-type": "location" }
      const three = yield* connectWith({ topics: [topic, where["apns-topic"]] })
      assert.strictEqual(yield* sending(three, push(undefined, where)), "400 TopicDisallowed")
      assert.strictEqual(yield* sending(three, push(undefined, { "apns-push-type": "mdm" })), "200")

      const expired = yield* connectWith({ topics: [topic], notBefore: new Date(0), notAfter: new Date(1) })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* sending(expired, push()), "403 BadCertificate")
    }))
})
