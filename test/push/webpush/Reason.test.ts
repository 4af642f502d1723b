/** What the answers of each push service mean. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { Message, Reason, WebPushError } from "../../../src/push/webpush/index.ts"

const now = Date.UTC(2026, 10, 30)

const mozilla = (status: number, errno: number, message = "text") =>
  [status, JSON.stringify({ code: status, errno, error: "error", message })] as const

const apple = (status: number, reason: string) => [status, JSON.stringify({ reason })] as const

type Case = readonly [
  service: Reason.Service,
  answer: readonly [status: number, body?: string, headers?: Readonly<Record<string, string>>],
  action: string,
  tag: string,
  seconds?: number
]

const mismatch =
  "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions."

const cases: ReadonlyArray<Case> = [
  ["Other", [404], "DropToken", "DeadSubscription"],
  ["Other", [410], "DropToken", "DeadSubscription"],
  ["Google", [404, "a valid push subscription endpoint should be specified"], "DropToken", "DeadSubscription"],
  ["Google", [400, "UnauthorizedRegistration"], "RenewAuthorization", "ConfigFault"],
  ["Google", [400, "anything"], "FixNotification", "Rejected"],
  ["Google", [403, mismatch], "CheckToken", "WrongKey"],
  ["Google", [403, "invalid JWT provided"], "RenewAuthorization", "ConfigFault"],
  ["Google", [429, "", { "retry-after": "30" }], "RetryLater", "TooManyRequests", 30],
  ["Google", [500], "RetryLater", "Rejected", 10],
  ["Google", [503, "", { "retry-after": "120" }], "RetryLater", "Rejected", 120],
  ["Mozilla", mozilla(404, 102), "DropToken", "DeadSubscription"],
  ["Mozilla", mozilla(410, 103), "DropToken", "DeadSubscription"],
  ["Mozilla", mozilla(400, 105), "DropToken", "DeadSubscription"],
  ["Mozilla", mozilla(410, 106), "DropToken", "DeadSubscription"],
  ["Mozilla", mozilla(401, 109, "VAPID public key mismatch"), "CheckToken", "WrongKey"],
  ["Mozilla", mozilla(401, 109, "Invalid token"), "RenewAuthorization", "ConfigFault"],
  ["Mozilla", mozilla(400, 110), "FixNotification", "Rejected"],
  ["Mozilla", mozilla(400, 113), "FixNotification", "Rejected"],
  ["Mozilla", mozilla(413, 104), "FixNotification", "Rejected"],
  ["Mozilla", mozilla(503, 201), "RetryLater", "Rejected", 120],
  ["Mozilla", mozilla(503, 202), "RetryLater", "Rejected", 0],
  ["Mozilla", mozilla(502, 901), "RetryLater", "Rejected", 10],
  ["Mozilla", mozilla(500, 999), "RetryLater", "Rejected", 10],
  // A success of HTTP that a table would call dead is none: only a refusal may delete.
  ["Mozilla", mozilla(503, 103), "RetryLater", "Rejected", 10],
  ["Apple", apple(410, "Unregistered"), "DropToken", "DeadSubscription"],
  ["Apple", apple(400, "VapidPkHashMismatch"), "CheckToken", "WrongKey"],
  ["Apple", apple(403, "VapidPkHashMismatch"), "CheckToken", "WrongKey"],
  ["Apple", apple(403, "BadJwtToken"), "RenewAuthorization", "ConfigFault"],
  ["Apple", apple(403, "BadAuthorizationHeader"), "RenewAuthorization", "ConfigFault"],
  ["Apple", apple(400, "BadWebPushTopic"), "FixNotification", "Rejected"],
  ["Apple", apple(400, "BadTtl"), "FixNotification", "Rejected"],
  ["Apple", apple(429, "TooManyRequests"), "RetryLater", "TooManyRequests", 60],
  ["Apple", [400, "<html>"], "FixNotification", "Rejected"],
  ["Microsoft", [406, "", { "retry-after": "5" }], "RetryLater", "TooManyRequests", 5],
  ["Microsoft", [429], "RetryLater", "TooManyRequests", 60],
  ["Microsoft", [400, "", { "x-wns-error-description": "cache policy" }], "FixNotification", "Rejected"],
  ["Other", [406], "FixNotification", "Rejected"],
  ["Other", [301], "FixNotification", "Rejected"],
  ["Other", [405], "ReportBug", "Rejected"],
  ["Other", [413], "FixNotification", "Rejected"],
  ["Other", [401], "RenewAuthorization", "ConfigFault"],
  ["Other", [504], "RetryLater", "Rejected", 10]
]

const classify = (service: Reason.Service, [status, body = "", headers = {}]: Case[1]) =>
  Reason.classify(service, { status, headers: Object.entries(headers), body: Buffer.from(body) }, now)

describe("Reason", () => {
  it.each(cases.map((given) => ({ given, title: given.slice(0, 3).join(" ") })))("$title", ({ given }) => {
    const [service, answer, action, tag, seconds] = given
    const refusal = classify(service, answer)
    assert.strictEqual(refusal.action, action)
    assert.strictEqual(refusal.delay === undefined ? undefined : Duration.toSeconds(refusal.delay), seconds)
    const error = WebPushError.fromRefusal(refusal, { host: "h", subscription: "h#1", key: "k", bytes: 3000 })
    assert.strictEqual(error.reason._tag, tag)
  })

  it("knows the services by their hosts", () => {
    assert.strictEqual(Reason.serviceOf("fcm.googleapis.com"), "Google")
    assert.strictEqual(Reason.serviceOf("updates.push.services.mozilla.com"), "Mozilla")
    assert.strictEqual(Reason.serviceOf("web.push.apple.com"), "Apple")
    assert.strictEqual(Reason.serviceOf("wns2-by3p.notify.windows.com"), "Microsoft")
    assert.strictEqual(Reason.serviceOf("evilpush.apple.com"), "Other")
  })

  it("names the clock, if it is off", () => {
    const refusal = classify("Apple", [403, "{}", { date: "Mon, 30 Nov 2026 01:00:00 GMT" }])
    const error = WebPushError.fromRefusal(refusal, { host: "h", subscription: "h#1", key: "k", bytes: 0 })
    assert.include(error.message, "clock is 3600 s behind")
  })

  it.each([
    "no such subscription: https://fcm.googleapis.com/fcm/send/secret",
    "endpoint /fcm/send/secret not found",
    "Cannot POST /secret?up=1",
    "{\"path\":\"/secret\"}",
    `unknown ${"secret".repeat(20)}`
  ])("shows no endpoint that a service repeats: %s", (text) => {
    for (const service of ["Google", "Other"] as const) {
      const { reason } = classify(service, [404, text])
      assert.notInclude(reason!.replace("secretse...", ""), "secret")
    }
    assert.notInclude(classify("Mozilla", mozilla(404, 102, text)).reason!.replace("secretse...", ""), "secret")
  })

  it("shows what a service says safely, and no page", () => {
    assert.strictEqual(classify("Google", [400, `one\ntwo\u001b[31m${"x".repeat(9000)}`]).reason!.length < 300, true)
    assert.notInclude(classify("Google", [400, "a\u001b"]).reason!, "\u001b")
    assert.isUndefined(classify("Google", [400, "  <html>"]).reason)
  })
})

describe("Message", () => {
  const ruleOf = (message: unknown): string => {
    const encoded = Message.encode(message as Message.Message)
    return Result.isSuccess(encoded) ? "good" : encoded.failure.message
  }

  const wrong: ReadonlyArray<readonly [rule: RegExp, message: unknown]> = [
    [/message: must be/, null],
    [/ttl: must be given/, { body: "x" }],
    [/ttl: must be an integer/, { ttl: -1 }],
    [/ttl: must be an integer/, { ttl: 1.5 }],
    [/ttl: must be an integer/, { ttl: "60" }],
    [/urgency: must be/, { ttl: 0, urgency: "now" }],
    [/topic: must be/, { ttl: 0, topic: "" }],
    [/topic: must be/, { ttl: 0, topic: 7 }],
    [/padTo: must be/, { ttl: 0, padTo: 2049 }],
    [/body: must be/, { ttl: 0, body: 7 }],
    [/body: must be/, { ttl: 0, body: {} }],
    [/body.base64: must be base64/, { ttl: 0, body: { base64: "***" } }],
    [/body.json: must be/, { ttl: 0, body: { json: undefined } }],
    [/body: must have at most 3993 bytes, and has 3994/, { ttl: 0, body: "x".repeat(3994) }],
    [/body.json: must have at most 3993/, { ttl: 0, body: { json: "x".repeat(3992) } }]
  ]

  it.each(wrong)("refuses: %s", (rule, message) => assert.match(ruleOf(message), rule))

  it("gives the headers of RFC 8030, and Microsoft's cache policy", () => {
    const encoded = Result.getOrThrow(Message.encode({ body: "x", ttl: 0, urgency: "low", topic: "neue-angebote" }))
    const headers = Object.fromEntries(encoded.headers)
    assert.deepInclude(headers, { ttl: "0", urgency: "low", "content-encoding": "aes128gcm" })
    assert.match(headers["topic"]!, /^[\w-]{32}$/)
    assert.deepInclude(Object.fromEntries(encoded.windowsHeaders), { "x-wns-cache-policy": "no-cache" })
    const later = Result.getOrThrow(Message.encode({ ttl: 1 }))
    assert.deepStrictEqual(later.headers, [["ttl", "1"]])
    assert.deepInclude(Object.fromEntries(later.windowsHeaders), { "x-wns-cache-policy": "cache" })
  })
})
