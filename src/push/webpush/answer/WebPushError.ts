/**
 * The failures of a message.
 *
 * There is one error, `WebPushError`. Its `reason` says what happened, and its `action`
 * says what to do next. Most callers only need the action:
 *
 * ```ts
 * Effect.catchTag("WebPushError", (error) => error.action === "DropToken" ? forget(subscription) : Effect.fail(error))
 * ```
 *
 * A message shows the host of a subscription's endpoint and a hash, never the endpoint,
 * and no part of the body.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { Unanswered } from "../../pool/index.ts"
import { Action, type Refusal } from "./Reason.ts"

// -----------------------------------------------------------------------------
// Reasons: before anything is sent
// -----------------------------------------------------------------------------

/**
 * The message breaks a rule. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage extends Schema.TaggedError<InvalidMessage>()("InvalidMessage", {
  /** The path of the invalid field: `body.base64`, `ttl`. */
  field: Schema.String,
  rule: Schema.String
}) {
  get action(): Action {
    return "FixNotification"
  }
  override get message() {
    return `nothing was sent: ${this.field}: ${this.rule}`
  }
}

const Named = {
  /** The subscription: the host of its endpoint and a hash. */
  subscription: Schema.String
}

/**
 * The subscription is not one of a browser. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidSubscription extends Schema.TaggedError<InvalidSubscription>()("InvalidSubscription", {
  ...Named,
  /** The path of the invalid field: `keys.p256dh`. */
  field: Schema.String,
  rule: Schema.String
}) {
  get action(): Action {
    return "CheckToken"
  }
  override get message() {
    return `nothing was sent: the subscription ${this.subscription} is invalid: ${this.field} ${this.rule}`
  }
}

/**
 * The endpoint leads to a host or an address that messages may not go to. Nothing was
 * sent. Look at where the subscription comes from: it may be an attack.
 *
 * @category errors
 * @since 0.1.0
 */
export class EndpointRefused extends Schema.TaggedError<EndpointRefused>()("EndpointRefused", {
  host: Schema.String,
  rule: Schema.String
}) {
  get action(): Action {
    return "CheckToken"
  }
  override get message() {
    return `nothing was sent: the endpoint's host ${this.host} ${this.rule}`
  }
}

// -----------------------------------------------------------------------------
// Reasons: sent, and not answered
// -----------------------------------------------------------------------------

/**
 * The message never left: there was no connection, or it closed before.
 *
 * @category errors
 * @since 0.1.0
 */
export const NotSent = Unanswered.NotSent

/**
 * The service said that it had not processed the message.
 *
 * @category errors
 * @since 0.1.0
 */
export const Refused = Unanswered.Refused

/**
 * The message was sent and has no answer. It may have been delivered.
 *
 * @category errors
 * @since 0.1.0
 */
export const Unknown = Unanswered.Unknown

/**
 * The message timed out.
 *
 * @category errors
 * @since 0.1.0
 */
export const Timeout = Unanswered.Timeout

/**
 * A host of strangers can't be reached, or takes no message. It may have gone for ever, so
 * the message is retried for a day and not without end.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  host: Schema.String,
  detail: Schema.String
}) {
  get action(): Action {
    return "RetryLater"
  }
  get delay() {
    return Duration.minutes(1)
  }
  override get message() {
    return `the message was not sent: the push service ${this.host} can't be reached: ${this.detail}`
  }
}

// -----------------------------------------------------------------------------
// Reasons: answered
// -----------------------------------------------------------------------------

const Answered = {
  /** The HTTP status of the answer; absent if none was needed. */
  status: Schema.optional(Schema.Int),
  /** The service's reason, if the answer has one. */
  reason: Schema.optional(Schema.String)
}

const said = ({ reason, status }: { readonly status?: number | undefined; readonly reason?: string | undefined }) =>
  status === undefined ? reason ?? "" : `${status}${reason === undefined ? "" : ` ${reason}`}`

/**
 * The subscription is dead: it ended, or the user took it back. Delete it, unless it is
 * newer than the message.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadSubscription extends Schema.TaggedError<DeadSubscription>()("DeadSubscription", {
  ...Named,
  ...Answered
}) {
  get action(): Action {
    return "DropToken"
  }
  override get message() {
    return `the subscription ${this.subscription} is dead (${said(this)}): delete it, unless the page subscribed again`
  }
}

/**
 * The subscription belongs to another VAPID key. It is alive: send with its own key.
 *
 * @category errors
 * @since 0.1.0
 */
export class WrongKey extends Schema.TaggedError<WrongKey>()("WrongKey", {
  ...Named,
  ...Answered,
  /** The id of the key that the message was signed with. */
  key: Schema.String
}) {
  get action(): Action {
    return "CheckToken"
  }
  override get message() {
    return `the subscription ${this.subscription} belongs to another VAPID key than "${this.key}" (${said(this)}): ` +
      `keep it, configure the key that its page subscribed with, and store that key's id with it`
  }
}

/**
 * The key, the contact or the clock is wrong. Every message to the service fails the
 * same way until an operator fixes it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigFault extends Schema.TaggedError<ConfigFault>()("ConfigFault", {
  ...Answered,
  host: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  get action(): Action {
    return "FixConfiguration"
  }
  override get message() {
    const answer = this.status === undefined ? "" : ` (${said(this)})`
    return `the push service ${this.host} can't be used${answer}: ${this.detail}`
  }
}

/**
 * The service takes no more messages for a while: of this subscription, or at all.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  ...Answered,
  host: Schema.String,
  /** How long to wait. */
  delay: Schema.Duration
}) {
  get action(): Action {
    return "RetryLater"
  }
  override get message() {
    return `the push service ${this.host} throttles messages (${said(this)}): wait ${Duration.format(this.delay)}`
  }
}

/**
 * The service refused the message for a reason without its own class; `action` says what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  ...Answered,
  host: Schema.String,
  action: Action,
  /** How long to wait before the retry. Only with `RetryLater`. */
  delay: Schema.optional(Schema.Duration),
  advice: Schema.optional(Schema.String)
}) {
  override get message() {
    const advice = this.advice === undefined ? "" : `: ${this.advice}`
    return `the push service ${this.host} refused the message (${said(this)})${advice}`
  }
}

// -----------------------------------------------------------------------------
// The error
// -----------------------------------------------------------------------------

/**
 * Why a message failed.
 *
 * @category errors
 * @since 0.1.0
 */
export const WebPushErrorReason = Schema.Union([
  InvalidMessage,
  InvalidSubscription,
  EndpointRefused,
  NotSent,
  Refused,
  Unknown,
  Timeout,
  Unreachable,
  DeadSubscription,
  WrongKey,
  ConfigFault,
  TooManyRequests,
  Rejected
])

/**
 * The decoded {@link WebPushErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type WebPushErrorReason = typeof WebPushErrorReason.Type

/**
 * The failure of a message. Its `reason` says why, its `action` what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class WebPushError extends Schema.TaggedError<WebPushError>()("WebPushError", {
  reason: WebPushErrorReason
}) {
  /** What to do next. */
  get action(): Action {
    return this.reason.action
  }
  /** How long to wait before a retry, if the service says so. */
  get delay(): Duration.Duration | undefined {
    return "delay" in this.reason ? this.reason.delay : undefined
  }
  override get message() {
    return this.reason.message
  }
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Wraps a reason in a {@link WebPushError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: WebPushErrorReason): WebPushError => new WebPushError({ reason })

/**
 * What an answer is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface About {
  readonly host: string
  /** The host of the endpoint and a hash. */
  readonly subscription: string
  /** The id of the VAPID key. */
  readonly key: string
  /** The size of the encrypted body. */
  readonly bytes: number
  /** Whether nobody has listed the host: then what it refuses is no fault of the configuration. */
  readonly isStranger?: boolean | undefined
}

/** A clock that is off by more is worth a word. */
const minSkewSeconds = 60

const clockAdvice = (skew: number | undefined): string =>
  skew === undefined || Math.abs(skew) < minSkewSeconds
    ? ""
    : `. This machine's clock is ${Math.abs(skew)} s ${skew > 0 ? "behind" : "ahead of"} the service's: set it first`

/**
 * What to do about a refused authorization.
 *
 * @category functions
 * @since 0.1.0
 */
export const authorizationAdvice = (skew?: number): string =>
  "it refuses the VAPID token: check that the contact (sub) is real, " +
  `that no proxy changes the host (aud), and the clock (exp)${clockAdvice(skew)}`

const adviceOf = ({ action, status }: Refusal, bytes: number): string | undefined => {
  if (status === 413) {
    return `its body has ${bytes} bytes: send less. Firefox on Android takes about 2,700 bytes of text`
  }
  if (status >= 300 && status < 400) return "it redirects, which is never followed: the endpoint must be the final one"
  if (action === "RetryLater" && status >= 500) return "it failed, and may have delivered the message: set a topic"
  return undefined
}

/**
 * Makes the failure of a refused message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromRefusal = (
  refusal: Refusal,
  { bytes, host, isStranger = false, key, subscription }: About
): WebPushError => {
  const { action, delay, reason, skew, status } = refusal
  const answered = { status, ...(reason === undefined ? undefined : { reason }) }
  switch (action) {
    case "DropToken":
      return make(new DeadSubscription({ ...answered, subscription }))
    case "CheckToken":
      return make(new WrongKey({ ...answered, subscription, key }))
    case "RenewAuthorization":
    case "FixConfiguration":
      if (isStranger) {
        const advice = "nobody has listed this host, so it is retried for a day"
        return make(new Rejected({ ...answered, host, action: "RetryLater", delay: Duration.minutes(1), advice }))
      }
      return make(new ConfigFault({ ...answered, host, detail: authorizationAdvice(skew) }))
    case "RetryLater":
      if (status === 429 || status === 406) {
        return make(new TooManyRequests({ ...answered, host, delay: delay ?? Duration.minutes(1) }))
      }
  }
  const advice = adviceOf(refusal, bytes)
  return make(
    new Rejected({
      ...answered,
      host,
      action,
      ...(delay === undefined ? undefined : { delay }),
      ...(advice === undefined ? undefined : { advice })
    })
  )
}

/**
 * The service's reason for a failure, or the status of its answer, if there was one.
 *
 * @category functions
 * @since 0.1.0
 */
export const answerOf = (
  { reason }: WebPushError
): { readonly status: number | undefined; readonly reason: string | undefined } => ({
  status: "status" in reason ? reason.status : undefined,
  reason: "reason" in reason ? reason.reason : undefined
})
