/** Google's answers: which part decides, and what to do. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ErrorCode from "../../../src/push/fcm/answer/ErrorCode.ts"
import * as FcmError from "../../../src/push/fcm/answer/FcmError.ts"
import { makeProvider } from "../../../src/push/fcm/provider.ts"
import * as Subscriptions from "../../../src/push/fcm/subscriptions.ts"

const fcmError = (errorCode: string) => ({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", errorCode })
const badRequest = (field: string) => ({
  "@type": "type.googleapis.com/google.rpc.BadRequest",
  fieldViolations: [{ field, description: "Invalid value" }]
})
const errorInfo = (reason: string) => ({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason })

const body = (status: string, message: string, ...details: ReadonlyArray<object>) =>
  JSON.stringify({ error: { code: 0, message, status, details } })

type Case = readonly [what: string, status: number, body: string, kind: ErrorCode.Kind, action: string]

const cases: ReadonlyArray<Case> = [
  ["a dead token", 404, body("NOT_FOUND", "gone", fcmError("UNREGISTERED")), "Unregistered", "DropToken"],
  [
    "FcmError as the second detail",
    404,
    body("NOT_FOUND", "gone", badRequest("x"), fcmError("UNREGISTERED")),
    "Unregistered",
    "DropToken"
  ],
  ["404 without an FcmError", 404, body("NOT_FOUND", "no project"), "NotFcm", "FixConfiguration"],
  [
    "UNREGISTERED with a 400",
    400,
    body("INVALID_ARGUMENT", "x", fcmError("UNREGISTERED")),
    "WrongTarget",
    "CheckToken"
  ],
  ["UNREGISTERED with a 401", 401, body("X", "x", fcmError("UNREGISTERED")), "Unauthenticated", "RenewAuthorization"],
  ["UNREGISTERED with a 429", 429, body("X", "x", fcmError("UNREGISTERED")), "ProjectQuota", "RetryLater"],
  ["UNREGISTERED with a 502", 502, body("X", "x", fcmError("UNREGISTERED")), "ServerError", "RetryLater"],
  ["a mismatch with a 500", 500, body("X", "x", fcmError("SENDER_ID_MISMATCH")), "ServerError", "RetryLater"],
  ["a bad argument with a 503", 503, body("X", "x", fcmError("INVALID_ARGUMENT")), "ServerError", "RetryLater"],
  ["404 as a page", 404, "<html>UNREGISTERED</html>", "NotFcm", "FixConfiguration"],
  [
    "a malformed token",
    400,
    body(
      "INVALID_ARGUMENT",
      "The registration token is not a valid FCM registration token",
      fcmError("INVALID_ARGUMENT")
    ),
    "WrongTarget",
    "CheckToken"
  ],
  [
    "a violation of message.token",
    400,
    body("INVALID_ARGUMENT", "bad", fcmError("INVALID_ARGUMENT"), badRequest("message.token")),
    "WrongTarget",
    "CheckToken"
  ],
  [
    "a bad message",
    400,
    body("INVALID_ARGUMENT", "bad", fcmError("INVALID_ARGUMENT"), badRequest("message.android.ttl")),
    "InvalidArgument",
    "FixNotification"
  ],
  [
    "a bad message that mentions a registration token",
    400,
    body("INVALID_ARGUMENT", "registration token", badRequest("message.data")),
    "InvalidArgument",
    "FixNotification"
  ],
  ["a 400 as a page", 400, "<html>", "NotFcm", "FixConfiguration"],
  [
    "another project's token",
    403,
    body("PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH")),
    "SenderIdMismatch",
    "CheckToken"
  ],
  [
    "a disabled API",
    403,
    body("PERMISSION_DENIED", "disabled", errorInfo("SERVICE_DISABLED")),
    "PermissionDenied",
    "FixConfiguration"
  ],
  [
    "a wrong APNs key",
    401,
    body("UNAUTHENTICATED", "OAuth", fcmError("THIRD_PARTY_AUTH_ERROR")),
    "ThirdPartyAuthError",
    "FixConfiguration"
  ],
  [
    "the old name of it",
    401,
    body("UNAUTHENTICATED", "OAuth", fcmError("APNS_AUTH_ERROR")),
    "ThirdPartyAuthError",
    "FixConfiguration"
  ],
  ["an expired access token", 401, body("UNAUTHENTICATED", "expired"), "Unauthenticated", "RenewAuthorization"],
  ["401 as a page", 401, "<html>", "Unauthenticated", "RenewAuthorization"],
  [
    "a quota of the project",
    429,
    body("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Send requests'", fcmError("QUOTA_EXCEEDED")),
    "ProjectQuota",
    "RetryLater"
  ],
  [
    "a rate of a device",
    429,
    body("RESOURCE_EXHAUSTED", "Device message rate exceeded", fcmError("QUOTA_EXCEEDED")),
    "TargetQuota",
    "RetryLater"
  ],
  [
    "a rate of a topic",
    429,
    body("RESOURCE_EXHAUSTED", "Topic quota exceeded", fcmError("QUOTA_EXCEEDED")),
    "TargetQuota",
    "RetryLater"
  ],
  ["500 without a body", 500, "", "ServerError", "RetryLater"],
  ["502 as a page", 502, "<html>Bad Gateway</html>", "ServerError", "RetryLater"],
  ["503", 503, body("UNAVAILABLE", "busy", fcmError("UNAVAILABLE")), "ServerError", "RetryLater"],
  ["an unknown code by its status", 503, body("X", "x", fcmError("SOMETHING_NEW")), "ServerError", "RetryLater"],
  [
    "UNSPECIFIED_ERROR by its status",
    400,
    body("INVALID_ARGUMENT", "x", fcmError("UNSPECIFIED_ERROR")),
    "InvalidArgument",
    "FixNotification"
  ],
  ["an error that is a text", 400, `{"error":"nope"}`, "NotFcm", "FixConfiguration"],
  [
    "details that are no list",
    403,
    `{"error":{"status":"PERMISSION_DENIED","details":7}}`,
    "PermissionDenied",
    "FixConfiguration"
  ],
  ["null details", 404, `{"error":{"status":"NOT_FOUND","details":[null,7,{"@type":7}]}}`, "NotFcm", "FixConfiguration"]
]

describe("an answer", () => {
  it.each(cases)("%s", (_, status, text, kind, action) => {
    const found = ErrorCode.classify(status, ErrorCode.parseBody(text))
    assert.strictEqual(found.kind, kind)
    assert.strictEqual(found.action, action)
    // The pool renews an access token once; the push then ends as a fault of the configuration.
    const expected = action === "RenewAuthorization" ? "FixConfiguration" : action
    assert.strictEqual(FcmError.fromClassification(found, { token: "t" }).action, expected)
  })

  it("names the fields that Google names, on one line", () => {
    const text = body("INVALID_ARGUMENT", "Invalid JSON\npayload", badRequest("message.android.ttl"))
    const { message } = FcmError.fromClassification(ErrorCode.classify(400, ErrorCode.parseBody(text)))
    assert.include(message, "message.android.ttl: Invalid value")
    assert.include(message, "Invalid JSON\\npayload")
  })

  it("shows only the first characters of a token that the answer repeats", () => {
    const token = `dQw4-w9WgXc:APA91b${"x".repeat(140)}`
    for (const text of [body("NOT_FOUND", `no ${token}`), JSON.stringify({ error: `${"word ".repeat(90)}${token}` })]) {
      const { message } = FcmError.fromClassification(ErrorCode.classify(404, ErrorCode.parseBody(text)), { token })
      assert.notInclude(message, token.slice(0, 12))
    }
  })

  it("reads the results of topics safely", () => {
    const read = (results: unknown) => Subscriptions.resultsOf(["token"], JSON.stringify({ results }))
    for (const strange of [[null], ["x"], [7], {}, "x", [{}, {}]]) assert.isTrue(Result.isFailure(read(strange)))
    for (const error of ["a\u001b[31m\nline", { a: 1 }, 7, "x".repeat(9000)]) {
      const results = read([{ error }])
      const first = Result.isSuccess(results) ? results.success[0]!.result : Result.void
      assert.include(Result.isFailure(first) ? first.failure.message : "", "UNKNOWN")
    }
  })

  it("shows only the first characters of a token", () => {
    const { message } = FcmError.make(new FcmError.DeadToken({ status: 404, token: "abcdefgh-secret" }))
    assert.include(message, "abcdefgh...")
    assert.notInclude(message, "secret")
  })

  it("without a reason to drop a token never drops one, whatever its status", () => {
    for (let status = 300; status < 600; status++) {
      for (const text of ["", "<html>", "{}", body("NOT_FOUND", "x"), body("INVALID_ARGUMENT", "x")]) {
        assert.notStrictEqual(ErrorCode.classify(status, ErrorCode.parseBody(text)).action, "DropToken")
      }
    }
  })
})

describe("the provider", () => {
  const answer = (status: number, text: string, ...headers: ReadonlyArray<readonly [string, string]>) => ({
    status,
    headers,
    body: Buffer.from(text)
  })
  const quota = body("RESOURCE_EXHAUSTED", "exceeded", fcmError("QUOTA_EXCEEDED"))

  it("takes one 429 without a scope as the rate of a device, and three in a row as the project's quota", () => {
    const { judge } = makeProvider()
    const pauses = () => judge(answer(429, quota), () => 0).pause
    assert.isUndefined(pauses())
    assert.isUndefined(pauses())
    assert.deepStrictEqual(pauses(), { reach: "All", millis: undefined })
    judge(answer(200, `{"name":"a"}`), () => 0)
    assert.isUndefined(pauses())
  })

  it("pauses the project for the time of Retry-After", () => {
    const judged = makeProvider().judge(answer(429, quota, ["retry-after", "7"]), () => 0)
    assert.deepStrictEqual(judged.pause, { reach: "All", millis: 7000 })
    const error = FcmError.fromClassification(judged.refusal!)
    assert.strictEqual(Duration.toMillis(error.delay!), 7000)
    assert.isTrue(
      Option.isSome(Option.fromNullishOr(error.reason._tag === "TooManyRequests" ? error.reason.retryAfter : undefined))
    )
  })

  it("does not take a page with the status 200 for an accepted push", () => {
    const { policy, refusal } = makeProvider().judge(answer(200, "<html>Log in</html>"), () => 0)
    assert.strictEqual(refusal?.action, "FixConfiguration")
    assert.strictEqual(policy.fault, "All")
    assert.isUndefined(makeProvider().judge(answer(200, `\n {"name":"a"}`), () => 0).refusal)
  })

  it.each(["{}", "[]", "null", "", "{\"error\":\"login\"}", "[{\"name\":\"a\"}]", "{\"results\":[]}"])(
    "does not take the body %s with the status 200 for an accepted push",
    (text) => assert.strictEqual(makeProvider().judge(answer(200, text), () => 0).refusal?.action, "FixConfiguration")
  )

  it("takes results for an accepted change of topics", () => {
    const { judge } = makeProvider("results")
    assert.isUndefined(judge(answer(200, `{"results":[{}]}`), () => 0).refusal)
    assert.isDefined(judge(answer(200, `{"name":"a"}`), () => 0).refusal)
  })

  it("opens no circuit for a third party's fault, since Android goes on", () => {
    const text = body("UNAUTHENTICATED", "OAuth", fcmError("THIRD_PARTY_AUTH_ERROR"))
    const { pause, policy } = makeProvider().judge(answer(401, text), () => 0)
    assert.deepInclude(policy, { fault: "None", renew: "Nothing" })
    assert.isUndefined(pause)
  })
})
