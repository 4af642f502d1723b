/**
 * The failures of a push.
 *
 * There is one error, `ApnsError`. Its `reason` says what happened, and its `action`
 * says what to do next. Most callers only need the action:
 *
 * ```ts
 * Effect.catchTag("ApnsError", (error) => error.action === "DropToken" ? deleteToken(token) : Effect.fail(error))
 * ```
 *
 * A message shows at most the first 8 digits of a device token, and no part of the
 * payload.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { Unanswered } from "../../pool/index.ts"
import type { Action } from "./Reason.ts"
import * as Reason from "./Reason.ts"

// -----------------------------------------------------------------------------
// Reasons: before anything is sent
// -----------------------------------------------------------------------------

/**
 * The notification or the channel request breaks one of Apple's rules. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidNotification extends Schema.TaggedError<InvalidNotification>()("InvalidNotification", {
  /** The path of the invalid field: `aps.alert.title`, `collapseId`. */
  field: Schema.String,
  /** The broken rule, and what to do. */
  rule: Schema.String,
  /** The reason that APNs would give. Absent if APNs would accept the push, and the device would ignore it. */
  apple: Schema.optional(Schema.String)
}) {
  get action(): Action {
    return "FixNotification"
  }
  override get message() {
    return `nothing was sent: ${this.field}: ${this.rule}${
      this.apple === undefined ? "" : ` (APNs would answer ${this.apple})`
    }`
  }
}

/**
 * The notification expired before it was sent. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class Expired extends Schema.TaggedError<Expired>()("Expired", {
  /** The notification's expiration: seconds since 1970. */
  expiration: Schema.Finite
}) {
  get action(): Action {
    return "Discard"
  }
  override get message() {
    return `the notification expired (${this.expiration} s since 1970) and was not sent: ` +
      `set a later expiration, or run more workers`
  }
}

// -----------------------------------------------------------------------------
// Reasons: not answered
// -----------------------------------------------------------------------------

/**
 * The push never left: there was no connection, or it closed before the push was written.
 *
 * @category errors
 * @since 0.1.0
 */
export const NotSent = Unanswered.NotSent

/**
 * An instance of {@link NotSent}.
 *
 * @category errors
 * @since 0.1.0
 */
export type NotSent = Unanswered.NotSent

/**
 * APNs closed the stream or the connection, and said that it had not processed the push.
 *
 * @category errors
 * @since 0.1.0
 */
export const Refused = Unanswered.Refused

/**
 * An instance of {@link Refused}.
 *
 * @category errors
 * @since 0.1.0
 */
export type Refused = Unanswered.Refused

/**
 * The push was sent and has no answer. It may have been delivered.
 *
 * @category errors
 * @since 0.1.0
 */
export const Unknown = Unanswered.Unknown

/**
 * An instance of {@link Unknown}.
 *
 * @category errors
 * @since 0.1.0
 */
export type Unknown = Unanswered.Unknown

/**
 * The push timed out.
 *
 * @category errors
 * @since 0.1.0
 */
export const Timeout = Unanswered.Timeout

/**
 * An instance of {@link Timeout}.
 *
 * @category errors
 * @since 0.1.0
 */
export type Timeout = Unanswered.Timeout

// -----------------------------------------------------------------------------
// Reasons: answered by APNs
// -----------------------------------------------------------------------------

const Answered = {
  /** The HTTP status of the answer. */
  status: Schema.Int,
  /** Apple's reason, if the answer has one. */
  reason: Schema.optional(Schema.String),
  /** The push's id, for Apple's delivery log and support. */
  apnsId: Schema.optional(Schema.String),
  /** Whether the answer has none of Apple's reasons, so that a proxy or another server gave it. */
  isForeign: Schema.optional(Schema.Boolean)
}

/** The parts of an answer that messages show. */
interface Said {
  readonly status: number
  readonly reason?: string | undefined
  readonly isForeign?: boolean | undefined
}

const said = ({ isForeign, reason, status }: Said): string =>
  isForeign === true
    ? `${status} without a reason from Apple`
    : `${status}${reason === undefined ? "" : ` ${reason}`}`

/** What happened, Apple's reason, and what to do next. */
const explain = (answer: Said): string => {
  const { advice, meaning } = Reason.detailsOf(answer.status, answer.reason, answer.isForeign)
  return `${meaning} (${said(answer)}). ${advice}`
}

/** The first digits of a token: enough to find it, too few to use it. */
const short = (token: string): string => token.length > 8 ? `${token.slice(0, 8)}...` : token

/**
 * The device token is dead: the app was removed, or has a new token.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadToken extends Schema.TaggedError<DeadToken>()("DeadToken", {
  ...Answered,
  token: Schema.String,
  /** When APNs found the token dead, in milliseconds since 1970. A token that was registered later is alive. */
  timestamp: Schema.optional(Schema.Finite)
}) {
  get action(): Action {
    return "DropToken"
  }
  override get message() {
    return `device token ${short(this.token)} is dead: ${explain(this)}`
  }
}

/**
 * The device token is malformed, or belongs to another app or environment. The stored data are wrong, not the device.
 *
 * @category errors
 * @since 0.1.0
 */
export class WrongToken extends Schema.TaggedError<WrongToken>()("WrongToken", {
  ...Answered,
  token: Schema.String
}) {
  get action(): Action {
    return "CheckToken"
  }
  override get message() {
    return `device token ${short(this.token)} is wrong: ${explain(this)}`
  }
}

/**
 * The key, certificate, topic or environment is wrong. Every push fails the same way until an operator fixes it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigFault extends Schema.TaggedError<ConfigFault>()("ConfigFault", {
  ...Answered,
  /** The HTTP status, if APNs answered. */
  status: Schema.optional(Schema.Int),
  /** What is wrong and what to do, if the fault was found without an answer. */
  detail: Schema.optional(Schema.String)
}) {
  get action(): Action {
    return "FixConfiguration"
  }
  override get message() {
    const { detail, isForeign, reason, status } = this
    const what = [
      ...(detail === undefined ? [] : [detail]),
      ...(status === undefined ? [] : [explain({ status, reason, isForeign })])
    ]
    return `the configuration for APNs is wrong: ${what.join(". ")}`
  }
}

/**
 * Too many pushes went to this device token or channel. Other tokens are not affected.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  ...Answered,
  /** How long to wait before the next push to this token. */
  delay: Schema.Duration
}) {
  get action(): Action {
    return "RetryLater"
  }
  override get message() {
    return `APNs throttles pushes: ${explain(this)}`
  }
}

/**
 * APNs refused the push for a reason without its own class; `action` says what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  ...Answered,
  action: Reason.Action,
  /** How long to wait before the retry. Only with `RetryLater`. */
  delay: Schema.optional(Schema.Duration),
  timestamp: Schema.optional(Schema.Finite)
}) {
  override get message() {
    return `APNs refused the push: ${explain(this)}`
  }
}

// -----------------------------------------------------------------------------
// The error
// -----------------------------------------------------------------------------

/**
 * Why a push failed.
 *
 * @category errors
 * @since 0.1.0
 */
export const ApnsErrorReason = Schema.Union([
  InvalidNotification,
  Expired,
  NotSent,
  Refused,
  Unknown,
  Timeout,
  DeadToken,
  WrongToken,
  ConfigFault,
  TooManyRequests,
  Rejected
])

/**
 * The decoded {@link ApnsErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type ApnsErrorReason = typeof ApnsErrorReason.Type

/**
 * The failure of a push. Its `reason` says why, its `action` what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class ApnsError extends Schema.TaggedError<ApnsError>()("ApnsError", {
  reason: ApnsErrorReason
}) {
  /** What to do next. */
  get action(): Action {
    return this.reason.action
  }
  /** How long to wait before a retry, if Apple says so. */
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
 * Apple's reason for a failure, if there was an answer with one.
 *
 * @category functions
 * @since 0.1.0
 */
export const appleReason = ({ reason }: ApnsError): string | undefined => "reason" in reason ? reason.reason : undefined

/**
 * Wraps a reason in an {@link ApnsError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: ApnsErrorReason): ApnsError => new ApnsError({ reason })

/** The push that an answer belongs to. */
interface About {
  /** The device token of the push; absent for a broadcast channel. */
  readonly token?: string | undefined
  readonly apnsId?: string | undefined
  /** The answer's Retry-After. Apple documents none, but one that arrives is obeyed. */
  readonly retryAfter?: Duration.Duration | undefined
}

/**
 * An answer of APNs that is not a success.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer extends Reason.Body, About {
  readonly status: number
}

const reasonOf = (
  { action, delay, isForeign, reason, status, timestamp }: Reason.Classification,
  { apnsId, retryAfter, token }: About
): ApnsErrorReason => {
  const answered = { status, reason, apnsId, ...(isForeign ? { isForeign } : undefined) }
  if (action === "FixConfiguration") return new ConfigFault(answered)
  if (action === "DropToken" && token !== undefined) return new DeadToken({ ...answered, token, timestamp })
  if (action === "CheckToken" && token !== undefined) return new WrongToken({ ...answered, token })
  if (action !== "RetryLater") return new Rejected({ ...answered, action, timestamp })
  const wait = retryAfter ?? delay ?? Duration.zero
  const isThrottled = status === 429 && reason !== "TooManyProviderTokenUpdates" && !isForeign
  return isThrottled || reason === "TooManyRequests"
    ? new TooManyRequests({ ...answered, delay: wait })
    : new Rejected({ ...answered, action, delay: wait })
}

/**
 * Makes the failure of a classified answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromClassification = (refusal: Reason.Classification, about: About = {}): ApnsError =>
  make(reasonOf(refusal, about))

/**
 * Makes the failure of an answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAnswer = (answer: Answer): ApnsError =>
  fromClassification(Reason.classifyBody(answer.status, answer), answer)
