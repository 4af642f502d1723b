/** Answers that are not Apple's, and parts of answers that are not to be believed. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Flag, Setting, Type } from "../../../src/http2/frame/frame.ts"
import type { Field } from "../../../src/http2/hpack/staticTable.ts"
import * as AnswerPolicy from "../../../src/push/apns/answer/answerPolicy.ts"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import { type Action, classify, classifyBody, parseAnswer, parseBody } from "../../../src/push/apns/answer/Reason.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import { makeAuthority } from "../../../src/testing/push/Certificate.ts"
import * as Peer from "../../http2/peer.ts"
import * as Servers from "../../support/http2Servers.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const token = "ab".repeat(32)

/** What comes back for a push that is answered so, and on how many connections it was sent. */
const push = Effect.fnUntraced(function*(
  answer: (stream: number) => Buffer,
  options: Partial<Apns.Options> = {},
  welcome: () => ReadonlyArray<Buffer> = () => [Peer.settings([Setting.maxConcurrentStreams, 100])]
) {
  const authority = yield* makeAuthority
  let connections = 0
  const port = yield* Servers.scriptedTls(yield* authority.issue(), (socket) => {
    connections++
    socket.write(Buffer.concat(welcome()))
    Servers.frames(socket, (type, _, stream) => {
      if (type === Type.headers) socket.write(answer(stream))
    })
  })
  const key = yield* Key.makeKey()
  const layer = Apns.layer({
    credential: {
      key: key.key,
      keyId: key.keyId,
      teamId: key.teamId,
      topic: "com.example.app",
      ca: Redacted.make(authority.cert)
    },
    host: "localhost",
    port,
    ...options
  })
  const result = yield* Apns.send(Notification.alert({ body: "Hello" }), token).pipe(
    Effect.result,
    Effect.provide(Layer.fresh(layer))
  )
  return { result, connections }
})

/** An answer with a status, headers and a body. */
const answering = (status: number, body = "", headers: ReadonlyArray<Field> = []) => (stream: number): Buffer => {
  const flags = Flag.endHeaders | (body === "" ? Flag.endStream : 0)
  const head = Peer.headers(stream, [[":status", String(status)], ...headers], flags)
  return body === "" ? head : Buffer.concat([head, Peer.data(stream, body)])
}

const failureOf = (result: Result.Result<unknown, ApnsError.ApnsError>): ApnsError.ApnsError =>
  Result.getOrThrow(Result.flip(result))

/** Bodies that Apple gives to no refusal. */
const bodies = {
  nothing: "",
  page: "<html><body>404 Not Found</body></html>",
  otherJson: `{"error":"not_found","message":"no route"}`,
  noWord: `{"reason":"please log in"}`,
  noObject: `["reason"]`
}

describe("an answer without a reason from Apple", () => {
  const actions: ReadonlyArray<readonly [number, Action]> = [
    [302, "FixConfiguration"],
    [400, "FixConfiguration"],
    [401, "FixConfiguration"],
    [403, "FixConfiguration"],
    [404, "FixConfiguration"],
    [405, "FixConfiguration"],
    [407, "FixConfiguration"],
    [408, "Reconnect"],
    [410, "FixConfiguration"],
    [413, "FixConfiguration"],
    [418, "FixConfiguration"],
    [421, "Reconnect"],
    [425, "RetryLater"],
    [429, "RetryLater"],
    [451, "FixConfiguration"],
    [500, "RetryLater"],
    [502, "RetryLater"],
    [503, "RetryLater"],
    [504, "RetryLater"],
    [511, "RetryLater"],
    [600, "FixConfiguration"]
  ]

  it.each(actions)("%d: %s with any body; no token or notification is discarded", (status, action) => {
    for (const body of Object.values(bodies)) {
      const error = ApnsError.fromAnswer({ status, ...parseAnswer(body, Infinity), token })
      assert.strictEqual(error.action, action)
      assert.include(error.message, `${status} without a reason from Apple`)
      assert.strictEqual("delay" in error.reason && error.reason.delay !== undefined, action === "RetryLater")
      const policy = AnswerPolicy.ofRefusal(classifyBody(status, parseAnswer(body, Infinity)))
      assert.strictEqual(policy.fault, action === "FixConfiguration" ? "All" : "None")
      assert.strictEqual(policy.renew, action === "Reconnect" ? "Connection" : "Nothing")
      if (action === "FixConfiguration") assert.include(error.message, "another server may answer")
    }
  })

  it.each(actions)("%d: a reason decides, even an unknown one", (status) => {
    for (const reason of ["Unregistered", "NewInAnyYear"]) {
      const body = parseAnswer(JSON.stringify({ reason }), Infinity)
      assert.isUndefined(body.isForeign)
      const error = ApnsError.fromAnswer({ status, ...body, token })
      assert.strictEqual(error.action, classify(status, reason).action)
    }
  })

  it.each<readonly [number, string]>([
    [400, `{"reason":"denied"}`],
    [404, `{"reason":"notfound"}`],
    [410, `{"reason":"gone"}`],
    [413, `{"reason":"TOO_LARGE"}`],
    [400, `{"reason":"constructor"}`],
    [404, `{"kind":"Status","status":"Failure","reason":"NotFound","code":404}`],
    [410, `{"kind":"Status","message":"too old","reason":"Expired","code":410}`],
    [400, `{"error":"Bad Request","reason":"InvalidHost"}`]
  ])("%d %s: a reason in another server's JSON does not count", (status, text) => {
    const error = ApnsError.fromAnswer({ status, ...parseAnswer(text, Infinity), token })
    assert.strictEqual(error.action, "FixConfiguration")
    assert.include(error.message, `${status} without a reason from Apple`)
  })

  it("a known reason counts with other keys beside it, an unknown one only alone", () => {
    const read = (text: string) => parseAnswer(text, Infinity)
    assert.strictEqual(
      read(`{"reason":"BadDeviceToken","help":"https://developer.apple.com"}`).reason,
      "BadDeviceToken"
    )
    assert.strictEqual(read(`{"reason":"NewInAnyYear2","timestamp":1732000000123}`).reason, "NewInAnyYear2")
  })

  it.each<readonly [number, Action]>([[408, "Reconnect"], [421, "Reconnect"], [425, "RetryLater"]])(
    "%d is transient from any server",
    (status, action) => assert.strictEqual(classify(status, undefined).action, action)
  )

  it.effect("survives encoding and decoding", () =>
    Effect.gen(function*() {
      const codec = Schema.toCodecJson(ApnsError.ApnsError)
      for (const [status] of actions) {
        const error = ApnsError.fromAnswer({ status, ...parseAnswer(bodies.page, Infinity), token })
        const read = yield* Schema.decodeEffect(codec)(
          JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(error)))
        )
        assert.strictEqual(read.message, error.message)
        assert.strictEqual(read.action, error.action)
      }
    }))

  it.live("404 in HTML keeps the push and says that another server answers", () =>
    Effect.gen(function*() {
      const { connections, result } = yield* push(answering(404, bodies.page))
      const error = failureOf(result)
      assert.deepInclude({ ...error.reason }, { _tag: "ConfigFault", status: 404, isForeign: true })
      assert.strictEqual(connections, 1)
    }))

  it.live("410 in HTML does not drop the token", () =>
    Effect.gen(function*() {
      const { result } = yield* push(answering(410, bodies.page))
      assert.strictEqual(failureOf(result).action, "FixConfiguration")
    }))

  it.live.each([408, 421])("%d is sent again on another connection", (status) =>
    Effect.gen(function*() {
      let asked = 0
      const { connections, result } = yield* push((stream) => answering(++asked === 1 ? status : 200)(stream))
      assert.strictEqual(connections, 2)
      assert.strictEqual(Result.getOrThrow(result).attempts, 2)
    }))

  it.live("a page with the status 200 is not an accepted push, an empty answer is", () =>
    Effect.gen(function*() {
      const page = yield* push(answering(200, "<html>Welcome to the hotel</html>"))
      assert.deepInclude({ ...failureOf(page.result).reason }, { _tag: "ConfigFault", status: 200, isForeign: true })
      const other = yield* push(answering(204))
      assert.strictEqual(failureOf(other.result).action, "FixConfiguration")
      assert.isTrue(Result.isSuccess((yield* push(answering(200))).result))
    }))
})

describe("the headers and the timestamp of an answer", () => {
  const uuid = "0193B4A0-0000-7000-8000-000000000000"

  it.live.each<readonly [string, string | undefined]>([
    [uuid, uuid],
    ["order-42", undefined],
    ["\u009b31m\u202eforged", undefined],
    [`${uuid}${uuid}`, undefined],
    ["", undefined]
  ])("the apns-id %j", ([id, expected]) =>
    Effect.gen(function*() {
      const headers: ReadonlyArray<Field> = [["apns-id", id], ["apns-unique-id", id]]
      const receipt = Result.getOrThrow((yield* push(answering(200, "", headers))).result)
      assert.strictEqual(receipt.apnsUniqueId, expected)
      if (expected === undefined) assert.match(receipt.apnsId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      else assert.strictEqual(receipt.apnsId, expected)
      const refusal = yield* push(answering(400, `{"reason":"BadTopic"}`, headers))
      const { reason } = failureOf(refusal.result)
      assert.strictEqual("apnsId" in reason && reason.apnsId === id, expected !== undefined)
    }))

  it.live.each<readonly [string, number]>([
    ["7", 7],
    ["0", 0],
    ["400000000", 3600],
    ["400000000 days", 60],
    ["-5", 60],
    ["0x10", 60],
    ["1e3", 60],
    ["5, 6", 60],
    ["Fri, 31 Dec 9999 23:59:59 GMT", 3600],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0]
  ])("Retry-After: %s", ([after, seconds]) =>
    Effect.gen(function*() {
      const { result } = yield* push(answering(429, `{"reason":"TooManyRequests"}`, [["retry-after", after]]))
      const { reason } = failureOf(result)
      assert.strictEqual(reason._tag === "TooManyRequests" && Duration.toSeconds(reason.delay), seconds)
    }))

  it("the timestamp is in milliseconds and not after the answer", () => {
    const now = 1_764_000_000_000
    const timestampOf = (timestamp: string) =>
      parseBody(`{"reason":"Unregistered","timestamp":${timestamp}}`, now).timestamp
    assert.strictEqual(timestampOf("1732000000123"), 1_732_000_000_123)
    assert.strictEqual(timestampOf("4102444800000"), now)
    for (const absurd of ["1732000000", "-1", "0", "1e400", "\"1732000000123\"", "null", "{}"]) {
      assert.isUndefined(timestampOf(absurd))
    }
  })

  it.live("a timestamp in the future becomes now", () =>
    Effect.gen(function*() {
      const before = Date.now()
      const { result } = yield* push(answering(410, `{"reason":"Unregistered","timestamp":4102444800000}`))
      const { reason } = failureOf(result)
      assert.isTrue(reason._tag === "DeadToken" && reason.timestamp! >= before && reason.timestamp! <= Date.now())
    }))
})

describe("several GOAWAYs in one read", () => {
  const reason = `{"reason":"BadCertificate"}`

  it.live.each<readonly [string, (stream: number) => ReadonlyArray<Buffer>]>([
    ["with a reason, then a silent one", () => [Peer.goaway(0, 0, reason), Peer.goaway(0, 0)]],
    ["a silent one, then with a reason", () => [Peer.goaway(0, 0), Peer.goaway(0, 0, reason)]],
    ["with a reason, then another", () => [Peer.goaway(0, 0, reason), Peer.goaway(0, 0, `{"reason":"Shutdown"}`)]],
    ["with a reason, then one with an error", () => [Peer.goaway(0, 0, reason), Peer.goaway(0, 2)]],
    ["many, then with a reason, then another", () => [
      ...Array.from({ length: 9 }, (_, i) => Peer.goaway(0, 0, `bye ${i}`)),
      Peer.goaway(0, 0, reason),
      Peer.goaway(0, 0, "the last")
    ]],
    ["with a reason in a long text, then a silent one", () => [
      Peer.goaway(0, 0, `{"help":"${"x".repeat(5000)}","reason":"BadCertificate"}`),
      Peer.goaway(0, 0)
    ]],
    ["with a reason, then a reset", (stream) => [Peer.goaway(stream, 0, reason), Peer.rst(stream, 7)]]
  ])("keep the reason: %s", ([, frames]) =>
    Effect.gen(function*() {
      const { connections, result } = yield* push((stream) => Buffer.concat(frames(stream)))
      const error = failureOf(result)
      assert.deepInclude({ ...error.reason }, { _tag: "ConfigFault", reason: "BadCertificate" })
      assert.strictEqual(connections, 1)
    }))

  it.live("keep the reason even before any SETTINGS", () =>
    Effect.gen(function*() {
      const { connections, result } = yield* push(answering(200), {
        queueTimeout: "3 seconds"
      }, () => [Peer.goaway(0, 0, reason), Peer.goaway(0, 0)])
      assert.deepInclude({ ...failureOf(result).reason }, { _tag: "ConfigFault", reason: "BadCertificate" })
      assert.strictEqual(connections, 1)
    }))

  it.live("name a reason that opens no circuit in the failures of unsent pushes", () =>
    Effect.gen(function*() {
      const bye = `{"reason":"NewInAnyYear"}`
      const { result } = yield* push(() => Peer.goaway(0, 0, bye), { queueTimeout: "1 second" })
      assert.strictEqual(failureOf(result).reason._tag, "NotSent")
      assert.include(failureOf(result).message, bye)
    }))

  it.live("make pushes without an answer unknown, with the reason in the message", () =>
    Effect.gen(function*() {
      const { result } = yield* push((stream) =>
        Buffer.concat([Peer.goaway(stream, 0, reason), Peer.goaway(stream, 0), Peer.rst(stream, 8)])
      )
      const error = failureOf(result)
      assert.strictEqual(error.reason._tag, "Unknown")
      assert.include(error.message, "BadCertificate")
    }))
})
