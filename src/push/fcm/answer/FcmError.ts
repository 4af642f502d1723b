/**
 * The failures of a push to Firebase.
 *
 * There is one error, `FcmError`. Its `reason` says what happened, its `action` what to
 * do next. A message shows at most the first 8 characters of a token, and no part of the
 * pushed message.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Unanswered } from "../../pool/index.ts"
import type { Action, Classification, Kind } from "./ErrorCode.ts"
import * as ErrorCode from "./ErrorCode.ts"

// -----------------------------------------------------------------------------
// Reasons: before anything is sent
// -----------------------------------------------------------------------------

/**
 * The message or its target breaks one of Google's rules. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage extends Schema.TaggedError<InvalidMessage>()("InvalidMessage", {
  /** The path of the field: `android.ttl`. */
  field: Schema.String,
  /** The broken rule, and what to do. */
  rule: Schema.String
}) {
  get action(): Action {
    return "FixNotification"
  }
  override get message() {
    return `nothing was sent: ${this.field} ${this.rule}`
  }
}

/**
 * The message expired before it was sent. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class Expired extends Schema.TaggedError<Expired>()("Expired", {
  /** In milliseconds since 1970. */
  expiresAt: Schema.Finite
}) {
  get action(): Action {
    return "Discard"
  }
  override get message() {
    const at = Option.match(DateTime.make(this.expiresAt), {
      onNone: () => String(this.expiresAt),
      onSome: DateTime.formatIso
    })
    return `the message expired at ${at} and was not sent: set a longer ttl, or run more workers`
  }
}

/**
 * The push never left.
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
 * Google closed the stream or the connection, and said that it had not processed the push.
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
 * The push timed out, in the queue or without an answer.
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
// Reasons: answered by Google
// -----------------------------------------------------------------------------

const Answered = {
  /** The HTTP status of the answer. */
  status: Schema.Int,
  /** The code of FcmError, such as `UNREGISTERED`, else Google's status. */
  errorCode: Schema.optional(Schema.String),
  /** Google's text and the fields that it names. */
  said: Schema.optional(Schema.String)
}

/** The parts of an answer that messages show. */
interface Said {
  readonly status: number
  readonly errorCode?: string | undefined
  readonly said?: string | undefined
}

const explain = (kind: Kind, { errorCode, said, status }: Said): string => {
  const { advice, meaning } = ErrorCode.table[kind]
  const answer = `${status}${errorCode === undefined ? "" : ` ${errorCode}`}${said === undefined ? "" : `: ${said}`}`
  return `${meaning} (${answer}). ${advice}`
}

/** The first characters of a token: enough to find it, too few to use it. */
const short = (token: string): string => token.length > 8 ? `${token.slice(0, 8)}...` : token

/**
 * The token, or the installation id, is dead: the app was removed, or has a new one.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadToken extends Schema.TaggedError<DeadToken>()("DeadToken", {
  ...Answered,
  token: Schema.String
}) {
  get action(): Action {
    return "DropToken"
  }
  override get message() {
    return `token ${short(this.token)} is dead: ${explain("Unregistered", this)}`
  }
}

/**
 * The token, or the installation id, is malformed, or belongs to another project, where it may be valid.
 *
 * @category errors
 * @since 0.1.0
 */
export class WrongToken extends Schema.TaggedError<WrongToken>()("WrongToken", {
  ...Answered,
  token: Schema.String,
  kind: Schema.Literals(["Malformed", "OtherProject"])
}) {
  get action(): Action {
    return "CheckToken"
  }
  override get message() {
    const kind = this.kind === "OtherProject" ? "SenderIdMismatch" : "WrongTarget"
    return `token ${short(this.token)} is wrong: ${explain(kind, this)}`
  }
}

/**
 * The account, the project or the host is wrong. Every push fails the same way until an operator fixes it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigFault extends Schema.TaggedError<ConfigFault>()("ConfigFault", {
  ...Answered,
  /** The HTTP status, if Google answered. */
  status: Schema.optional(Schema.Int),
  kind: Schema.optional(Schema.Literals(["PermissionDenied", "Unauthenticated", "NotFcm"])),
  /** What is wrong and what to do, if the fault was found without an answer. */
  detail: Schema.optional(Schema.String)
}) {
  get action(): Action {
    return "FixConfiguration"
  }
  override get message() {
    const { detail, errorCode, kind = "NotFcm", said, status } = this
    const what = [
      ...(detail === undefined ? [] : [detail]),
      ...(status === undefined ? [] : [explain(kind, { status, errorCode, said })])
    ]
    return `the configuration for FCM is wrong: ${what.join(". ")}`
  }
}

/**
 * The project's key for iOS or for browsers is wrong. Pushes to Android are not affected.
 *
 * @category errors
 * @since 0.1.0
 */
export class ThirdPartyFault extends Schema.TaggedError<ThirdPartyFault>()("ThirdPartyFault", Answered) {
  get action(): Action {
    return "FixConfiguration"
  }
  override get message() {
    return `FCM can't push to iOS or browsers: ${explain("ThirdPartyAuthError", this)}`
  }
}

/**
 * Google throttles pushes.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  ...Answered,
  /** `"Project"`: all messages of the project wait. `"Target"`: only those to this device or topic. */
  scope: Schema.Literals(["Project", "Target"]),
  /** How long to wait before the next push. */
  delay: Schema.Duration,
  /** What Google asked for (Retry-After), if it did. */
  retryAfter: Schema.optional(Schema.Duration),
  /** Whether the push was sent. After a refusal the others of the project are not. */
  wasSent: Schema.Boolean
}) {
  get action(): Action {
    return this.wasSent ? "RetryLater" : "Retry"
  }
  override get message() {
    const kind = this.scope === "Project" ? "ProjectQuota" : "TargetQuota"
    const wait = Duration.format(Duration.seconds(Math.ceil(Duration.toSeconds(this.delay))))
    return `FCM throttles pushes: ${explain(kind, this)}. Wait: ${wait}`
  }
}

/**
 * Google refused the push for another reason; `action` says what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  ...Answered,
  kind: Schema.Literals(["InvalidArgument", "ServerError", "WrongTarget", "SenderIdMismatch", "Unregistered"]),
  /** How long to wait before the retry. Only with `RetryLater`. */
  delay: Schema.optional(Schema.Duration)
}) {
  get action(): Action {
    // A topic has no token that could be dropped.
    return this.kind === "ServerError" ? "RetryLater" : "FixNotification"
  }
  override get message() {
    return `FCM refused the push: ${explain(this.kind, this)}`
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
export const FcmErrorReason = Schema.Union([
  InvalidMessage,
  Expired,
  NotSent,
  Refused,
  Unknown,
  Timeout,
  DeadToken,
  WrongToken,
  ConfigFault,
  ThirdPartyFault,
  TooManyRequests,
  Rejected
])

/**
 * The decoded {@link FcmErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type FcmErrorReason = typeof FcmErrorReason.Type

/**
 * The failure of a push. Its `reason` says why, its `action` what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class FcmError extends Schema.TaggedError<FcmError>()("FcmError", { reason: FcmErrorReason }) {
  /** What to do next. */
  get action(): Action {
    return this.reason.action
  }
  /** How long to wait before a retry, if Google says so. */
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
 * Wraps a reason in an {@link FcmError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: FcmErrorReason): FcmError => new FcmError({ reason })

/**
 * Google's code for a failure, if there was an answer with one.
 *
 * @category functions
 * @since 0.1.0
 */
export const errorCode = ({ reason }: FcmError): string | undefined =>
  "errorCode" in reason ? reason.errorCode : undefined

/** The push that an answer belongs to. */
interface About {
  /** The token or installation id; absent for a topic or condition. */
  readonly token?: string | undefined
  /** How long the pause still lasts, for a push that was not sent because of the answer. */
  readonly paused?: Duration.Duration | undefined
}

const reasonOf = (
  { delay, kind, reason, retryAfter, said, status }: Classification,
  { paused, token }: About
): FcmErrorReason => {
  const answered = { status, errorCode: reason, said }
  switch (kind) {
    case "PermissionDenied":
    case "NotFcm":
    case "Unauthenticated":
      return new ConfigFault({ ...answered, kind })
    case "ThirdPartyAuthError":
      return new ThirdPartyFault(answered)
    case "ProjectQuota":
    case "TargetQuota":
      return new TooManyRequests({
        ...answered,
        scope: kind === "ProjectQuota" ? "Project" : "Target",
        delay: paused ?? retryAfter ?? delay ?? Duration.minutes(1),
        retryAfter,
        wasSent: paused === undefined
      })
    case "ServerError":
      return new Rejected({ ...answered, kind, delay: retryAfter ?? delay })
    case "InvalidArgument":
      return new Rejected({ ...answered, kind })
    case "Unregistered":
      return token === undefined ? new Rejected({ ...answered, kind }) : new DeadToken({ ...answered, token })
    case "WrongTarget":
    case "SenderIdMismatch":
      return token === undefined ? new Rejected({ ...answered, kind }) : new WrongToken({
        ...answered,
        token,
        kind: kind === "WrongTarget" ? "Malformed" : "OtherProject"
      })
  }
}

/**
 * Makes the failure of a classified answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromClassification = (refusal: Classification, about: About = {}): FcmError =>
  make(reasonOf(refusal, about))
