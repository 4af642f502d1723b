/** Broadcast channels: made, looked at, sent to and deleted. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { OutgoingHttpHeaders } from "node:http2"
import * as Channels from "../../../src/testing/apns/channels.ts"
import { allow, withServers } from "../../support/limits.ts"
import { outcome, payload, setUp, topic } from "./client.ts"

allow(withServers)

const request = (method: string, path: string, more: OutgoingHttpHeaders = {}): OutgoingHttpHeaders => ({
  ":method": method,
  ":path": path,
  ...more
})

const channels = `/1/apps/${topic}/channels`

const setUpChannels = Effect.gen(function*() {
  const { auth, client, simulator } = yield* setUp()
  const call = (method: string, path: string, more: OutgoingHttpHeaders = {}, body?: string) =>
    client.request(request(method, path, { ...auth, ...more }), body)
  const create = (policy: unknown, pushType: unknown = "LiveActivity") =>
    call("POST", channels, {}, JSON.stringify({ "message-storage-policy": policy, "push-type": pushType }))
  const broadcast = (id: string | undefined, more: OutgoingHttpHeaders = {}, body = payload, app = topic) =>
    call("POST", `/4/broadcasts/apps/${app}`, {
      ...(id === undefined ? {} : { "apns-channel-id": id }),
      "apns-push-type": "liveactivity",
      "apns-priority": "10",
      "apns-expiration": "0",
      ...more
    }, body)
  return { auth, client, simulator, call, create, broadcast }
})

describe("channels", () => {
  it.effect("are created, read, listed and deleted", () =>
    Effect.gen(function*() {
      const { call, create } = yield* setUpChannels
      const made = yield* create(1)
      assert.strictEqual(made.status, 201)
      assert.isDefined(made.headers["apns-request-id"])
      const id = made.headers["apns-channel-id"] as string
      assert.match(id, /^[A-Za-z0-9+/]+={0,2}$/)
      const other = (yield* create(0)).headers["apns-channel-id"] as string

      const read = yield* call("GET", channels, { "apns-channel-id": id })
      assert.strictEqual(read.status, 200)
      assert.deepStrictEqual(read.body, { "message-storage-policy": 1, "push-type": "LiveActivity" })
      const list = call("GET", `/1/apps/${topic}/all-channels`)
      assert.deepStrictEqual((yield* list).body, { channels: [id, other] })

      const deleted = yield* call("DELETE", channels, {
        "apns-channel-id": id,
        "apns-request-id": "01234567-89ab-4cde-8f01-23456789abcd"
      })
      assert.strictEqual(deleted.status, 204)
      assert.strictEqual(deleted.headers["apns-request-id"], "01234567-89ab-4cde-8f01-23456789abcd")
      assert.deepStrictEqual((yield* list).body, { channels: [other] })
      assert.strictEqual(yield* outcome(call("GET", channels, { "apns-channel-id": id })), "400 ChannelNotRegistered")
    }))

  it.effect("are refused for Apple's reasons", () =>
    Effect.gen(function*() {
      const { call, client, create } = yield* setUpChannels
      const all = `/1/apps/${topic}/all-channels`
      for (
        const [expected, response] of [
          ["400 MissingChannelQueueSize", create(2)],
          ["400 BadRequestPayload", create(0, "alert")],
          ["400 BadRequestPayload", call("POST", channels, {}, "{")],
          ["400 MissingChannelId", call("GET", channels)],
          ["400 ChannelNotRegistered", call("DELETE", channels, { "apns-channel-id": "AAAA" })],
          ["405 MethodNotAllowed", call("PUT", channels)],
          ["405 MethodNotAllowed", call("POST", all, {}, "{}")],
          ["400 BadMessageId", call("GET", all, { "apns-request-id": "1" })],
          ["403 TopicMismatch", call("GET", "/1/apps/com.example.other/all-channels")],
          ["400 BadRequestParams", call("GET", "/1/apps//all-channels")],
          ["404 BadPath", call("POST", "/1/apps", {}, "{}")],
          ["403 MissingProviderToken", client.request(request("GET", all))]
        ] as const
      ) assert.strictEqual(yield* outcome(response), expected)
    }))

  it("an app may have at most 10,000", () => {
    const all = Channels.make()
    const create = (app: string) =>
      all.answer({
        method: "POST",
        path: `/1/apps/${app}/channels`,
        headers: {},
        rawHeaders: [],
        body: JSON.stringify({ "message-storage-policy": 0, "push-type": "LiveActivity" }),
        size: 0
      })
    for (let count = 0; count < 10_000; count++) assert.deepInclude(create(topic), { status: 201 })
    assert.deepStrictEqual(create(topic), { reason: "CannotCreateChannelConfig" })
    assert.deepInclude(create("com.example.other"), { status: 201 })
  })
})

describe("a broadcast", () => {
  it.effect("goes to a channel and is recorded", () =>
    Effect.gen(function*() {
      const { broadcast, create, simulator } = yield* setUpChannels
      const id = (yield* create(0)).headers["apns-channel-id"] as string
      assert.strictEqual(yield* outcome(broadcast(id)), "200")
      const [recorded] = yield* simulator.pushes
      assert.deepInclude(recorded, { target: id, status: 200, body: payload })
      assert.strictEqual((yield* simulator.counts).accepted, 1)
    }))

  it.effect("is refused for Apple's reasons", () =>
    Effect.gen(function*() {
      const { auth, broadcast, client, create } = yield* setUpChannels
      const nothingKept = (yield* create(0)).headers["apns-channel-id"] as string
      const lastKept = (yield* create(1)).headers["apns-channel-id"] as string
      const later = { "apns-expiration": "4000000000" }
      const bare = request("POST", `/4/broadcasts/apps/${topic}`, { ...auth, "apns-channel-id": nothingKept })
      for (
        const [expected, response] of [
          ["400 MissingChannelId", broadcast(undefined)],
          ["400 BadChannelId", broadcast("not base64")],
          ["400 ChannelNotRegistered", broadcast("AAAA")],
          ["400 BadPriority", client.request(bare, payload)],
          ["400 BadExpirationDate", client.request({ ...bare, "apns-priority": "5" }, payload)],
          ["400 MissingPushType", client.request({ ...bare, "apns-priority": "5", "apns-expiration": "0" }, payload)],
          ["400 BadPriority", broadcast(nothingKept, { "apns-priority": "2" })],
          ["200", broadcast(nothingKept, { "apns-priority": "1" })],
          ["400 InvalidPushType", broadcast(nothingKept, { "apns-push-type": "alert" })],
          ["400 BadExpirationDate", broadcast(nothingKept, later)],
          ["200", broadcast(lastKept, later)],
          ["400 TopicDisallowed", broadcast(nothingKept, {}, payload, `${topic}.push-type.liveactivity`)],
          ["403 TopicMismatch", broadcast(nothingKept, {}, payload, "com.example.other")],
          ["400 PayloadEmpty", broadcast(nothingKept, {}, "{")],
          ["200", broadcast(nothingKept, {}, JSON.stringify({ a: "x".repeat(5112) }))],
          ["413 PayloadTooLarge", broadcast(nothingKept, {}, JSON.stringify({ a: "x".repeat(5113) }))]
        ] as const
      ) assert.strictEqual(yield* outcome(response), expected)
    }))
})
