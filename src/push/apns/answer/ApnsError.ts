/**
 * The failures of a push.
 *
 * There is one error, `ApnsError`; what happened is its `reason`, and what to
 * do next is its `action`. Most callers need the action only:
 *
 * ```ts
 * Effect.catchTag("ApnsError", (error) => error.action === "DropToken" ? deleteToken(token) : Effect.fail(error))
 * ```
 *
 * No message holds more of a device token than its first digits, and none any
 * part of the payload.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { Action } from "./Reason.ts"
import * as Reason from "./Reason.ts"

// -----------------------------------------------------------------------------
// Reasons: before anything is sent
// -----------------------------------------------------------------------------

/**
 * The notification, or the request for a channel, breaks one of Apple's rules. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidNotification extends Schema.TaggedError<InvalidNotification>()("InvalidNotification", {
  /** The field that is wrong, as a path: `aps.alert.title`, `collapseId`. */
  field: Schema.String,
  /** What is wrong and what is allowed. */
  rule: Schema.String,
  /** The reason that APNs would have given; none where it would have taken it and ignored it, or failed on the device. */
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
 * The notification's expiration passed before it was sent. Nothing was sent.
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
    return `the notification expired (${this.expiration} s since 1970) before it could be sent and was not sent: ` +
      `give it a later expiration, or run more workers`
  }
}

/**
 * The push never left: there was no connection, or it ended before the push was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotSent extends Schema.TaggedError<NotSent>()("NotSent", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get action(): Action {
    return "Retry"
  }
  override get message() {
    return `the push was not sent: ${this.detail}. It can be repeated safely`
  }
}

// -----------------------------------------------------------------------------
// Reasons: sent, and not answered
// -----------------------------------------------------------------------------

/**
 * APNs closed the stream, or the connection, and said that it had not processed the push.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  detail: Schema.String
}) {
  get action(): Action {
    return "Retry"
  }
  override get message() {
    return `the push was not processed: ${this.detail}. It can be repeated safely`
  }
}

/**
 * The push was sent, and the connection ended without an answer: nobody knows whether it was delivered.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get action(): Action {
    return "RetryMayDuplicate"
  }
  override get message() {
    return `the push was sent but not answered: ${this.detail}. ` +
      `It may have been delivered: repeat it only where a second copy does no harm, and give it a collapse id`
  }
}

/**
 * The time for the push was over.
 *
 * @category errors
 * @since 0.1.0
 */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {
  /** Where the time went: `"Queue"`, waiting to be sent (nothing was sent); `"Answer"`, sent and not answered. */
  stage: Schema.Literals(["Queue", "Answer"]),
  after: Schema.Duration,
  /** What kept it waiting, where that is known. */
  detail: Schema.optional(Schema.String)
}) {
  get action(): Action {
    return this.stage === "Queue" ? "Retry" : "RetryMayDuplicate"
  }
  override get message() {
    const after = Duration.format(this.after)
    const why = this.detail === undefined ? "" : `: ${this.detail}`
    return this.stage === "Queue"
      ? `the push was not sent within ${after}${why}: it can be repeated safely` +
        (this.detail === undefined ? "; allow more connections, or push less at once" : "")
      : `the push was sent but not answered within ${after}${why}. It may have been delivered: ` +
        `repeat it only where a second copy does no harm, and give it a collapse id`
  }
}

// -----------------------------------------------------------------------------
// Reasons: answered by APNs
// -----------------------------------------------------------------------------

const Answered = {
  /** The HTTP status of the answer. */
  status: Schema.Int,
  /** Apple's word, where the answer had one. */
  reason: Schema.optional(Schema.String),
  /** The push's id, by which Apple's delivery log and support find it. */
  apnsId: Schema.optional(Schema.String),
  /** Is the answer not one that APNs gives? It had none of Apple's reasons: something between here and APNs gave it. */
  isForeign: Schema.optional(Schema.Boolean)
}

/** What an answer says, for messages. */
interface Said {
  readonly status: number
  readonly reason?: string | undefined
  readonly isForeign?: boolean | undefined
}

const said = ({ isForeign, reason, status }: Said): string =>
  isForeign === true
    ? `${status} without a reason of Apple's`
    : `${status}${reason === undefined ? "" : ` ${reason}`}`

/** What went wrong, in Apple's word and in ours, and what to do next. */
const explain = (answer: Said): string => {
  const { advice, meaning } = Reason.detailsOf(answer.status, answer.reason, answer.isForeign)
  return `${meaning} (${said(answer)}). ${advice}`
}

/** The first digits of a token: enough to find it, too few to push to it. */
const short = (token: string): string => token.length > 8 ? `${token.slice(0, 8)}...` : token

/**
 * The device token is dead: the app was removed, or has registered another one.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadToken extends Schema.TaggedError<DeadToken>()("DeadToken", {
  ...Answered,
  token: Schema.String,
  /** When APNs found the token dead: milliseconds since 1970. A token registered later than this is alive. */
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
 * The device token is malformed, or belongs to another app or environment: a fault of the data, not of the device.
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
    return `device token ${short(this.token)} is wrong here: ${explain(this)}`
  }
}

/**
 * Key, certificate, topic or environment are wrong: every push fails like this one until somebody mends it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigFault extends Schema.TaggedError<ConfigFault>()("ConfigFault", {
  ...Answered,
  /** The HTTP status, where APNs answered; none where the fault was found before. */
  status: Schema.optional(Schema.Int),
  /** What is wrong and what to do, where the fault was found before APNs answered. */
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
    return `APNs can't be used as it is configured: ${what.join(". ")}`
  }
}

/**
 * Too many pushes went to this device token, or channel. The others are not affected.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  ...Answered,
  /** How long to wait before this token is pushed to again. */
  delay: Schema.Duration
}) {
  get action(): Action {
    return "RetryLater"
  }
  override get message() {
    return `APNs slows down pushes: ${explain(this)}`
  }
}

/**
 * APNs refused the push for a reason that has no class of its own here; `action` says what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  ...Answered,
  action: Reason.Action,
  /** How long to wait before the push is tried again. Only with `RetryLater`. */
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
 * Everything that can go wrong with a push.
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
 * Everything that can go wrong with a push.
 *
 * @category errors
 * @since 0.1.0
 */
export type ApnsErrorReason = typeof ApnsErrorReason.Type

/**
 * A push's failure; its `reason` says which, its `action` what to do.
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
  /** How long to wait before the push is tried again, where Apple has a say in it. */
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
 * Apple's word for a failure, where there was an answer and it had one.
 *
 * @category functions
 * @since 0.1.0
 */
export const appleReason = ({ reason }: ApnsError): string | undefined => "reason" in reason ? reason.reason : undefined

/**
 * Wraps a reason in the service's error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: ApnsErrorReason): ApnsError => new ApnsError({ reason })

/** What was pushed to, and what else an answer says of it. */
interface About {
  /** The device token that was pushed to; none for a broadcast channel. */
  readonly token?: string | undefined
  readonly apnsId?: string | undefined
  /** The answer's Retry-After. Apple documents none; where there is one, it counts. */
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
 * The failure that an answer stands for, once it is known what it means.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromClassification = (refusal: Reason.Classification, about: About = {}): ApnsError =>
  make(reasonOf(refusal, about))

/**
 * The failure that an answer of APNs stands for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAnswer = (answer: Answer): ApnsError =>
  fromClassification(Reason.classifyBody(answer.status, answer), answer)
