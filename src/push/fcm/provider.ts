/**
 * The provider of FCM for the pool of connections: judges answers, GOAWAYs and failed
 * connections. A GOAWAY of Google is plain text and says nothing about the configuration.
 *
 * Google often does not say which quota a 429 means. One token alone that is refused has
 * reached the rate of its device; several refusals in a row, without an accepted push
 * between them, or a Retry-After mean the project. Each pool has a provider of its own,
 * because that is counted here.
 */
import * as Duration from "effect/Duration"
import { type Http2Error, Message } from "../../http2/index.ts"
import { retryAfter } from "../../internal/peerNumber.ts"
import { Provider, Unanswered } from "../pool/index.ts"
import type { Classification } from "./answer/ErrorCode.ts"
import * as ErrorCode from "./answer/ErrorCode.ts"
import * as FcmError from "./answer/FcmError.ts"

const { make } = FcmError

const text = new TextDecoder()

/** So many refusals in a row mean the quota of the project. */
const refusalsOfProject = 3

const isObject = (body: Uint8Array): boolean => {
  for (const byte of body) if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte === 0x7b
  return false
}

/** An acceptance is an object with this field. A portal's page or another server's JSON is none, although its status is 200. */
const hasField = (body: Uint8Array, field: string): boolean =>
  isObject(body) && Buffer.from(body.buffer, body.byteOffset, body.length).includes(field)

const notFcm = (status: number): Classification => ({
  ...ErrorCode.classify(404, ErrorCode.parseBody("")),
  status
})

const policyOf = ({ action, scope, status }: Classification): Provider.AnswerPolicy => {
  const { policy } = Provider.accepted
  if (action === "RenewAuthorization") return { ...policy, renew: "Authorization" }
  return {
    ...policy,
    // The service can't tell before a push whether it goes to iOS, so a third party's fault opens no circuit.
    fault: action === "FixConfiguration" && scope === "Project" ? "All" : "None",
    isServerError: status >= 500
  }
}

/** Judges a connection that did not open: a configuration fault, or `undefined` for a transient failure. */
export const judgeDial = ({ message, reason }: Http2Error.Http2Error): FcmError.FcmError | undefined => {
  const isFault = reason._tag === "TlsRejected" || reason._tag === "NotHttp2" || reason._tag === "OptionInvalid" ||
    (reason._tag === "ProxyRefused" && !reason.isTransient)
  return isFault ? make(new FcmError.ConfigFault({ detail: message })) : undefined
}

/** The provider of a pool. `field`: what an accepted request has in its answer. */
export const makeProvider = (
  field: "name" | "results" = "name"
): Provider.Provider<Classification, FcmError.FcmError> => {
  let inRow = 0
  const quoted = `"${field}"`

  const refusalOf = ({ body, headers, status }: Message.Response, now: () => number): Classification => {
    const after = Message.header(headers, "retry-after")
    const wait = after === undefined ? undefined : retryAfter(after, now())
    if (status === 429) inRow++
    return ErrorCode.classify(status, ErrorCode.parseBody(text.decode(body)), {
      retryAfter: wait,
      guess: wait !== undefined || inRow >= refusalsOfProject ? "ProjectQuota" : "TargetQuota"
    })
  }

  const judge = (response: Message.Response, now: () => number): Provider.Judgement<Classification> => {
    if (response.status === 200 && hasField(response.body, quoted)) {
      inRow = 0
      return Provider.accepted
    }
    const refusal = response.status < 300 ? notFcm(response.status) : refusalOf(response, now)
    const pause = refusal.kind === "ProjectQuota"
      ? { reach: "All" as const, millis: refusal.retryAfter && Duration.toMillis(refusal.retryAfter) }
      : undefined
    return { policy: policyOf(refusal), refusal, pause }
  }

  return {
    name: "FCM",
    judge,
    judgeEnd: ({ rejection }) => rejection && judgeDial(rejection),
    judgeDial,
    failures: {
      refused: (refusal) => FcmError.fromClassification(refusal),
      paused: (refusal, paused) => FcmError.fromClassification(refusal, { paused }),
      unanswered: (error) => {
        const reason = Unanswered.reasonOf(error)
        return make("rule" in reason ? new FcmError.InvalidMessage({ field: "message", rule: reason.rule }) : reason)
      },
      unprocessed: (detail) => make(new FcmError.Refused({ detail })),
      notSent: (detail) => make(new FcmError.NotSent({ detail })),
      timedOut: (after, detail) => make(new FcmError.Timeout({ stage: "Queue", after, detail })),
      expired: (expiresAt) => make(new FcmError.Expired({ expiresAt })),
      unauthorized: () =>
        FcmError.fromClassification(
          ErrorCode.classify(401, ErrorCode.parseBody(`{"error":{"status":"UNAUTHENTICATED"}}`))
        )
    },
    // One pool serves one project.
    scopeOf: ({ path }) => path,
    isRepeated: () => true
  }
}
