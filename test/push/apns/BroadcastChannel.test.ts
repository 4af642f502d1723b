import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { Action, Reason } from "../../../src/push/apns/answer/Reason.ts"
import * as BroadcastChannel from "../../../src/push/apns/notification/BroadcastChannel.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"

const app = "com.example.app"
const id = "dHN0LXNyY2gtY2hubA=="

const answer = (
  status: number,
  body: unknown = "",
  headers: BroadcastChannel.Response["headers"] = []
): BroadcastChannel.Response => ({
  status,
  headers,
  body: new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body))
})

const call = <A>(result: BroadcastChannel.CallResult<A>): BroadcastChannel.Call<A> => Result.getOrThrow(result)

/** A request with its body as text. */
const request = <A>(result: BroadcastChannel.CallResult<A>) => {
  const { body, ...rest } = call(result).request
  return { ...rest, body: body === undefined ? undefined : new TextDecoder().decode(body) }
}

const update = Notification.liveActivityUpdate({ timestamp: 1, contentState: { a: 1 }, priority: 5 })

describe("Channel", () => {
  it("creates", () => {
    assert.deepStrictEqual(request(BroadcastChannel.create(app, "MostRecent")), {
      host: "manage",
      method: "POST",
      path: "/1/apps/com.example.app/channels",
      headers: [],
      body: `{"message-storage-policy":1,"push-type":"LiveActivity"}`
    })
    const { decode } = call(BroadcastChannel.create(app, "None"))
    assert.strictEqual(Result.getOrThrow(decode(answer(201, "", [["apns-channel-id", id]]))), id)
    const lost = Result.getOrThrow(Result.flip(decode(answer(201))))
    assert.deepInclude({ ...lost.reason }, { _tag: "Unknown" })
  })

  it("reads", () => {
    assert.deepStrictEqual(request(BroadcastChannel.read(app, id)), {
      host: "manage",
      method: "GET",
      path: "/1/apps/com.example.app/channels",
      headers: [["apns-channel-id", id]],
      body: undefined
    })
    const { decode } = call(BroadcastChannel.read(app, id))
    const body = (policy: unknown) => ({ "message-storage-policy": policy, "push-type": "LiveActivity", later: 1 })
    assert.deepStrictEqual(Result.getOrThrow(decode(answer(200, body(0)))), { id, storage: "None" })
    assert.deepStrictEqual(Result.getOrThrow(decode(answer(200, body(1)))), { id, storage: "MostRecent" })
    for (const wrong of [body(2), body("0"), "", "<html>", "null"]) {
      assert.strictEqual(Result.getOrThrow(Result.flip(decode(answer(200, wrong)))).reason._tag, "Unknown")
    }
  })

  it("lists", () => {
    assert.deepStrictEqual(request(BroadcastChannel.list(app)), {
      host: "manage",
      method: "GET",
      path: "/1/apps/com.example.app/all-channels",
      headers: [],
      body: undefined
    })
    const { decode } = call(BroadcastChannel.list(app))
    assert.deepStrictEqual(Result.getOrThrow(decode(answer(200, { channels: [id, "YQ=="] }))), [id, "YQ=="])
    assert.deepStrictEqual(Result.getOrThrow(decode(answer(200, { channels: [] }))), [])
    assert.isTrue(Result.isFailure(decode(answer(200, { channels: [1] }))))
  })

  it("removes", () => {
    assert.deepStrictEqual(request(BroadcastChannel.remove(app, id)), {
      host: "manage",
      method: "DELETE",
      path: "/1/apps/com.example.app/channels",
      headers: [["apns-channel-id", id]],
      body: undefined
    })
    assert.isTrue(Result.isSuccess(call(BroadcastChannel.remove(app, id)).decode(answer(204))))
  })

  it("sends", () => {
    assert.deepStrictEqual(request(BroadcastChannel.send(app, id, update)), {
      host: "push",
      method: "POST",
      path: "/4/broadcasts/apps/com.example.app",
      headers: [
        ["apns-channel-id", id],
        ["apns-push-type", "liveactivity"],
        ["apns-priority", "5"],
        ["apns-expiration", "0"]
      ],
      body: `{"aps":{"timestamp":1,"event":"update","content-state":{"a":1}}}`,
      expiration: 0
    })
    assert.isTrue(Result.isSuccess(call(BroadcastChannel.send(app, id, update)).decode(answer(200))))
  })

  it.each<readonly [number, string, Action]>([
    [400, "BadChannelId", "FixNotification"],
    [400, "ChannelNotRegistered", "DropChannel"],
    [400, "CannotCreateChannelConfig", "FixConfiguration"],
    [400, "FeatureNotEnabled", "FixConfiguration"],
    [403, "TopicMismatch", "FixConfiguration"],
    [404, "BadPath", "ReportBug"],
    [429, "TooManyRequests", "RetryLater"],
    [500, "InternalServerError", "RetryLater"]
  ])("explains %d %s for every call", (status, reason, action) => {
    const results: ReadonlyArray<Result.Result<unknown, unknown>> = [
      call(BroadcastChannel.create(app, "None")),
      call(BroadcastChannel.read(app, id)),
      call(BroadcastChannel.list(app)),
      call(BroadcastChannel.remove(app, id)),
      call(BroadcastChannel.send(app, id, update))
    ].map(({ decode }) =>
      Result.mapError<unknown, { readonly action: Action; readonly reason: object }, unknown>(
        decode(answer(status, { reason }, [["apns-request-id", "an-id"]])),
        (error) => ({ action: error.action, ...error.reason })
      )
    )
    for (const result of results) {
      assert.deepInclude(Result.getOrThrow(Result.flip(result)), { action, status, reason, apnsId: "an-id" })
    }
  })

  it.each<readonly [string, BroadcastChannel.CallResult<unknown>, string, Reason]>([
    [
      "a topic of Live Activities",
      BroadcastChannel.list(`${app}.push-type.liveactivity`),
      "bundleId",
      "TopicDisallowed"
    ],
    ["a path as bundle id", BroadcastChannel.create("a/../b", "None"), "bundleId", "BadRequestParams"],
    ["a bundle id with two dots", BroadcastChannel.list("com..example"), "bundleId", "BadRequestParams"],
    ["no bundle id", BroadcastChannel.send("", id, update), "bundleId", "BadRequestParams"],
    ["an unknown storage", BroadcastChannel.create(app, "toString" as never), "storage", "MissingChannelQueueSize"],
    ["no channel id", BroadcastChannel.read(app, ""), "channelId", "MissingChannelId"],
    ["a channel id with a line break", BroadcastChannel.remove(app, "a\r\nb"), "channelId", "BadChannelId"],
    ["an alert", BroadcastChannel.send(app, id, Notification.alert({ body: "a" })), "pushType", "InvalidPushType"]
  ])("refuses %s", (_, result, field, apple) => {
    const { reason } = Result.getOrThrow(Result.flip(result))
    assert.deepInclude({ ...reason }, { _tag: "InvalidNotification", field, apple })
  })
})
