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

/** A host of strangers may have gone for ever, one of the big services never. */
const notSent = (service: Reason.Service, host: string, detail: string, cause?: unknown): Failure =>
  service === "Other"
    ? make(new WebPushError.Unreachable({ host, detail }))
    : make(new WebPushError.NotSent({ detail, ...(cause === undefined ? undefined : { cause }) }))

const unanswered = (service: Reason.Service, host: string, error: Http2Error.Http2Error): Failure => {
  const reason = Unanswered.reasonOf(error)
  if (!("_tag" in reason)) return make(new WebPushError.InvalidMessage({ field: "headers", rule: reason.rule }))
  return reason._tag === "NotSent" ? notSent(service, host, reason.detail, reason.cause) : make(reason)
}

const fault = (host: string, detail: string) => make(new WebPushError.ConfigFault({ host, detail }))

const judgeDial = (
  service: Reason.Service,
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
      return service === "Other" ? undefined : fault(host, message)
    case "OptionInvalid":
      return fault(host, message)
    case "ProxyRefused":
      return reason.isTransient ? undefined : fault(host, message)
    default:
      return undefined
  }
}

/** Makes the provider of the push service at an origin. */
export const providerOf = ({ host }: Pick<Endpoint, "host">): WebPushProvider => {
  const service = Reason.serviceOf(host)
  const about = { host, subscription: host, key: "", bytes: 0 }
  return {
    name: host,
    judge: (response, now) => judge(service, response, now()),
    judgeEnd: ({ rejection }) => rejection && judgeDial(service, host, rejection),
    judgeDial: (error) => judgeDial(service, host, error),
    failures: {
      refused: (refusal) => WebPushError.fromRefusal(refusal, about),
      paused: (refusal, delay) => WebPushError.fromRefusal({ ...refusal, delay }, about),
      unanswered: (error) => unanswered(service, host, error),
      unprocessed: (detail) => make(new WebPushError.Refused({ detail })),
      notSent: (detail) => notSent(service, host, detail),
      timedOut: (after, detail) =>
        make(
          new WebPushError.Timeout({ stage: "Queue", after, ...(detail === undefined ? undefined : { detail }) })
        ),
      // Requests have no deadline: the service keeps a message for its ttl.
      expired: () => notSent(service, host, "it expired"),
      unauthorized: () => fault(host, WebPushError.authorizationAdvice())
    },
    scopeOf: () => host,
    isRepeated: (name) => name !== "topic"
  }
}
