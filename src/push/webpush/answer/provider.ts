/**
 * The providers of push services for the pools of connections: one for each origin,
 * since the errors name the host. Pure.
 *
 * A refused authorization is renewed once, and then stops the messages to the origin that
 * are signed with that key. One subscription of another key, or one that is throttled,
 * stops no other.
 */
import * as Duration from "effect/Duration"
import type { Http2Error, Message } from "../../../http2/index.ts"
import { Provider, Unanswered } from "../../pool/index.ts"
import type { Endpoint } from "../subscription/Endpoints.ts"
import * as Reason from "./Reason.ts"
import * as WebPushError from "./WebPushError.ts"

type Failure = WebPushError.WebPushError

/** The provider of a push service. */
export type WebPushProvider = Provider.Provider<Reason.Refusal, Failure>

const { make } = WebPushError

const { policy: nothing } = Provider.accepted

const policyOf = ({ action, status }: Reason.Refusal): Provider.AnswerPolicy => {
  switch (action) {
    case "RenewAuthorization":
      return { ...nothing, renew: "Authorization" }
    case "FixConfiguration":
      return { ...nothing, fault: "All" }
    default:
      return { ...nothing, isServerError: status >= 500 }
  }
}

/** Apple throttles one subscription at a time, the others all of a sender. */
const pauseOf = (refusal: Reason.Refusal): Provider.Pause | undefined =>
  Reason.isThrottle(refusal) && refusal.service !== "Apple"
    ? {
      reach: "All",
      millis: refusal.isAsked && refusal.delay !== undefined ? Duration.toMillis(refusal.delay) : undefined
    }
    : undefined

const judge = (
  service: Reason.Service,
  response: Message.Response,
  now: number
): Provider.Judgement<Reason.Refusal> => {
  const { status } = response
  if (status >= 200 && status < 300) return Provider.accepted
  const refusal = Reason.classify(service, response, now)
  const pause = pauseOf(refusal)
  return { policy: policyOf(refusal), refusal, ...(pause === undefined ? undefined : { pause }) }
}

/**
 * The hosts that exist as long as their services do. Names below those of Apple and
 * Microsoft come from strangers like any other: they need not exist.
 */
const lasting: ReadonlySet<string> = new Set([
  "fcm.googleapis.com",
  "updates.push.services.mozilla.com",
  "web.push.apple.com"
])

/** The requests that have no place in the pools yet, whatever their host. */
export const placeless = { host: "of this message" }

/** A host of strangers may have gone for ever, or never take a message. A job must not wait for it without end. */
const notTaken = (host: string, failure: WebPushError.WebPushErrorReason, detail: string): Failure =>
  make(lasting.has(host) || host === placeless.host ? failure : new WebPushError.Unreachable({ host, detail }))

const notSent = (host: string, detail: string, cause?: unknown): Failure =>
  notTaken(host, new WebPushError.NotSent({ detail, ...(cause === undefined ? undefined : { cause }) }), detail)

const timedOut = (host: string, after: Duration.Duration, detail: string | undefined): Failure =>
  notTaken(
    host,
    new WebPushError.Timeout({ stage: "Queue", after, ...(detail === undefined ? undefined : { detail }) }),
    detail ?? `it took no message within ${Duration.format(after)}`
  )

const unanswered = (host: string, error: Http2Error.Http2Error): Failure => {
  const reason = Unanswered.reasonOf(error)
  if (!("_tag" in reason)) return make(new WebPushError.InvalidMessage({ field: "headers", rule: reason.rule }))
  switch (reason._tag) {
    case "NotSent":
      return notSent(host, reason.detail, reason.cause)
    case "Refused":
      return notTaken(host, reason, reason.detail)
    case "Timeout":
      return reason.stage === "Queue" ? timedOut(host, reason.after, reason.detail) : make(reason)
    default:
      return make(reason)
  }
}

const fault = (host: string, detail: string) => make(new WebPushError.ConfigFault({ host, detail }))

const judgeDial = (
  host: string,
  { message, reason }: Http2Error.Http2Error
): Failure | undefined => {
  switch (reason._tag) {
    case "AddressRefused":
      return make(
        new WebPushError.EndpointRefused({ host, rule: `must not resolve to an address that ${reason.detail}` })
      )
    case "TlsRejected":
    case "NotHttp2":
      // The certificate of a stranger's host is not this configuration.
      return lasting.has(host) ? fault(host, message) : undefined
    case "OptionInvalid":
      return fault(host, message)
    case "ProxyRefused":
      return reason.isTransient ? undefined : fault(host, message)
    default:
      return undefined
  }
}

/**
 * Makes the provider of the push service at an origin. `isStranger`: nobody has listed the
 * host, so what it says about the authorization is no fault of the configuration.
 */
export const providerOf = ({ host }: Pick<Endpoint, "host">, isStranger = false): WebPushProvider => {
  const service = Reason.serviceOf(host)
  const about = { host, subscription: host, key: "", bytes: 0, isStranger }
  return {
    name: host,
    judge: (response, now) => judge(service, response, now()),
    judgeEnd: ({ rejection }) => rejection && judgeDial(host, rejection),
    judgeDial: (error) => judgeDial(host, error),
    failures: {
      refused: (refusal) => WebPushError.fromRefusal(refusal, about),
      paused: (refusal, delay) => WebPushError.fromRefusal({ ...refusal, delay }, about),
      unanswered: (error) => unanswered(host, error),
      unprocessed: (detail) => notTaken(host, new WebPushError.Refused({ detail }), detail),
      notSent: (detail) => notSent(host, detail),
      timedOut: (after, detail) => timedOut(host, after, detail),
      // Requests have no deadline: the service keeps a message for its ttl.
      expired: () => notSent(host, "it expired"),
      unauthorized: () => fault(host, WebPushError.authorizationAdvice())
    },
    scopeOf: () => host,
    isRepeated: (name) => name !== "topic"
  }
}
