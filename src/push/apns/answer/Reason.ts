/**
 * Why Apple refused a push, and what to do about it.
 *
 * {@link table} has every reason that APNs is known to give. {@link classify}
 * is total: a reason that is not in the table, or no reason at all, is judged
 * by its status, since Apple adds reasons without notice. Where a status and a
 * known reason disagree, the reason counts.
 *
 * APNs gives a reason with every refusal. An answer without one comes from
 * something else, such as a proxy, or a portal that wants a login: it says
 * nothing about a token or a notification, and none of them is given up for it.
 *
 * Source: Apple, "Handling notification responses from APNs" and "Handling
 * error responses from Apple Push Notification service" (broadcasts). The same
 * reasons come in the debug data of a GOAWAY frame.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { pastTime } from "../../../internal/peerNumber.ts"
import { Action } from "../../job/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export { Action }

/**
 * What is known about one reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface Details {
  /** The HTTP status that comes with it. */
  readonly status: number
  readonly action: Action
  /** What happened, in words that follow "APNs refused the push: ". */
  readonly meaning: string
  /** What to do next: one sentence for a person. */
  readonly advice: string
  /** How long to wait before the first retry. Only with `RetryLater`. */
  readonly delay?: Duration.Duration
  /** Is the connection on which it came of no further use? Default: false. */
  readonly reconnect?: boolean
}

/**
 * What an answer of APNs means.
 *
 * @category models
 * @since 0.1.0
 */
export interface Classification {
  /** The HTTP status of the answer. */
  readonly status: number
  /** Apple's word, or `undefined` where the answer had none. */
  readonly reason: string | undefined
  /** Is the reason in the {@link table}? If not, the status decided. */
  readonly known: boolean
  readonly action: Action
  /** What happened, in words that follow "APNs refused the push: ". */
  readonly meaning: string
  /** What to do next: one sentence for a person. */
  readonly advice: string
  /** How long to wait before the first retry. Only with `RetryLater`. */
  readonly delay: Duration.Duration | undefined
  /** Is the connection on which it came of no further use? */
  readonly reconnect: boolean
  /** When APNs found the token dead: milliseconds since 1970. Only with status 410. */
  readonly timestamp: number | undefined
  /** Is the answer not one that APNs gives? See {@link Body}. */
  readonly isForeign: boolean
}

// -----------------------------------------------------------------------------
// The table
// -----------------------------------------------------------------------------

/** Apple asks for 15 minutes before a push is repeated that failed on its side. */
const serverFault = Duration.minutes(15)

const throttled = Duration.minutes(1)

const notification = (meaning: string, advice: string, status = 400): Details => ({
  status,
  action: "FixNotification",
  meaning,
  advice
})

const configuration = (status: number, meaning: string, advice: string): Details => ({
  status,
  action: "FixConfiguration",
  meaning,
  advice
})

const bug = (status: number, meaning: string): Details => ({
  status,
  action: "ReportBug",
  meaning,
  advice: "Report this as a bug of the client: no notification can cause it"
})

const server = (status: number, meaning: string, reconnect: boolean): Details => ({
  status,
  action: "RetryLater",
  meaning,
  advice: "Try again in 15 minutes, and then less and less often",
  delay: serverFault,
  reconnect
})

const details = {
  BadCollapseId: notification(
    "the collapse id is too long",
    "Shorten collapseId to at most 64 bytes of UTF-8"
  ),
  BadExpirationDate: notification(
    "the expiration is not a valid time",
    "Give expiration in whole seconds since 1970; 0 means one attempt"
  ),
  BadMessageId: notification(
    "the apns-id is not a UUID",
    "Give the id as a UUID of 8-4-4-4-12 lower-case hexadecimal digits, or none"
  ),
  BadPriority: notification(
    "the priority is not allowed for this push type",
    "Use 10, 5 or 1, and only 5 for background"
  ),
  BadTopic: notification(
    "the topic is not valid",
    "Use the app's bundle id with the suffix of the push type"
  ),
  InvalidPushType: notification(
    "the push type is unknown or does not fit the payload",
    "Set the push type that the payload is for"
  ),
  PayloadEmpty: notification("the payload is empty", "Give the notification an aps dictionary or custom keys"),
  MissingTopic: notification(
    "there is no topic, and the certificate has several",
    "Set the topic to the app's bundle id"
  ),
  MissingDeviceToken: notification("there is no device token", "Give the device token to push to"),
  MissingPushType: notification("there is no push type", "Set the push type that the payload is for"),
  MissingChannelId: notification("there is no channel id", "Give the channel id that was answered on creation"),
  BadChannelId: notification(
    "the channel id is not valid",
    "Give the channel id exactly as it was answered on creation"
  ),
  BadRequestParams: notification(
    "a parameter of the channel request is not valid",
    "Check bundle id, channel id and headers of the request"
  ),
  BadRequestPayload: notification(
    "the body of the channel request is not valid",
    "Check message storage policy and push type"
  ),
  MissingChannelQueueSize: notification(
    "the message storage policy of the channel is not valid",
    "Use 0 (store nothing) or 1 (store the most recent message)"
  ),
  PayloadTooLarge: notification(
    "the payload is too large",
    "Make it at most 4096 bytes (voip and broadcasts: 5120), for instance with a shorter alert body",
    413
  ),

  BadDeviceToken: {
    status: 400,
    action: "CheckToken",
    meaning: "the device token is malformed or belongs to the other environment",
    advice:
      "Check that a token of a development build goes to sandbox and all others to production; do not push to it again"
  },
  DeviceTokenNotForTopic: {
    status: 400,
    action: "CheckToken",
    meaning: "the device token belongs to another app",
    advice: "Push to it with the topic of the app that registered it"
  },
  Unregistered: {
    status: 410,
    action: "DropToken",
    meaning: "the device token is no longer active for the topic",
    advice: "Delete the token, unless the app has registered it again after the timestamp"
  },
  ExpiredToken: {
    status: 410,
    action: "DropToken",
    meaning: "the device token has expired",
    advice: "Delete the token, unless the app has registered it again after the timestamp"
  },
  ChannelNotRegistered: {
    status: 400,
    action: "DropChannel",
    meaning: "there is no such broadcast channel in this environment",
    advice: "Delete the channel id, and create a new channel if one is wanted"
  },

  TopicDisallowed: configuration(
    400,
    "the key or certificate may not push to this topic",
    "Use the app's bundle id as topic (for broadcasts without a suffix), and a key or certificate that covers it"
  ),
  FeatureNotEnabled: configuration(
    400,
    "broadcasts are not enabled for this app",
    "Enable the broadcast capability of the app's identifier in the developer account"
  ),
  CannotCreateChannelConfig: configuration(
    400,
    "the app has as many channels as it may have (10,000 in each environment)",
    "Delete channels that are not used"
  ),
  BadCertificate: configuration(
    403,
    "the certificate is not valid",
    "Check that it is a push certificate that has neither expired nor been revoked, and renew it"
  ),
  BadCertificateEnvironment: configuration(
    403,
    "the certificate is for the other environment",
    "Connect to the environment that the certificate was made for"
  ),
  InvalidProviderToken: configuration(
    403,
    "the provider token is not valid",
    "Check that key file, key id and team id belong together, that the key is not revoked, and this machine's clock"
  ),
  MissingProviderToken: configuration(
    403,
    "the connection has no certificate and the request no provider token",
    "Configure a key (key file, key id, team id) or a certificate"
  ),
  BadEnvironmentKeyIdInToken: configuration(
    403,
    "the key is for the other environment",
    "Use a key that is made for this environment, or connect to the key's environment"
  ),
  BadEnvironmentKeyInToken: configuration(
    403,
    "the key is for the other environment",
    "Use a key that is made for this environment, or connect to the key's environment"
  ),
  Forbidden: configuration(
    403,
    "the action is not allowed",
    "Check in the developer account that the key or certificate is not revoked and may push to this app"
  ),
  TopicMismatch: configuration(
    403,
    "the bundle id of the broadcast is not the one that the key or certificate is for",
    "Use a key or certificate of the app's team, and the bundle id without a suffix"
  ),

  ExpiredProviderToken: {
    status: 403,
    action: "RenewToken",
    meaning: "the provider token is older than one hour",
    advice:
      "Make a new provider token and try once more on a new connection; if it happens again, check this machine's clock",
    reconnect: true
  },
  UnrelatedKeyIdInToken: {
    status: 403,
    action: "Reconnect",
    meaning: "the key is another than the one of the connection's first push",
    advice: "Open a new connection for the new key",
    reconnect: true
  },
  IdleTimeout: {
    status: 400,
    action: "Reconnect",
    meaning: "the connection was idle for too long",
    advice: "Try again on a new connection; the push was not processed",
    reconnect: true
  },

  DuplicateHeaders: bug(400, "a header was sent twice"),
  BadPath: bug(404, "the path of the request is not valid"),
  MethodNotAllowed: bug(405, "the method of the request is not allowed"),

  TooManyRequests: {
    status: 429,
    action: "RetryLater",
    meaning: "too many pushes went to the same device token (or channel) in a short time",
    advice: "Push to this token less often and try again later; other tokens are not affected",
    delay: throttled
  },
  TooManyProviderTokenUpdates: {
    status: 429,
    action: "RetryLater",
    meaning: "the provider token was changed more than once in 20 minutes",
    advice: "Keep the provider token for at least 20 minutes, and share it between all workers that use the key",
    delay: throttled,
    reconnect: true
  },
  InternalServerError: server(500, "APNs had an internal error", false),
  ServiceUnavailable: server(503, "APNs is unavailable", true),
  Shutdown: server(503, "the APNs server is shutting down", true)
} satisfies Record<string, Details>

/**
 * A reason that APNs is known to give.
 *
 * @category models
 * @since 0.1.0
 */
export type Reason = keyof typeof details

/**
 * Every reason that APNs is known to give.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: Readonly<Record<Reason, Details>> = details

/**
 * Is this a reason that APNs is known to give?
 *
 * @category guards
 * @since 0.1.0
 */
export const isReason = (reason: string | undefined): reason is Reason =>
  reason !== undefined && Object.hasOwn(table, reason)

// -----------------------------------------------------------------------------
// Judging an answer
// -----------------------------------------------------------------------------

const transient = (status: number, meaning: string, advice: string): Details => ({
  status,
  action: "Reconnect",
  meaning,
  advice,
  reconnect: true
})

/** What a server says of a connection or of a moment, whoever it is. RFC 9110, section 15.5, and RFC 8470. */
const byMoment = (status: number): Details | undefined => {
  switch (status) {
    case 408:
      return transient(status, "the server did not wait for the whole request", "Try again on a new connection")
    case 421:
      return transient(status, "the connection leads to a server that is not for this host", "Open a new connection")
    case 425:
      return {
        status,
        action: "RetryLater",
        meaning: "the server does not take the request so early on a connection",
        advice: "Try again a little later",
        delay: throttled
      }
  }
  return status >= 500 && status <= 599 ? server(status, "APNs failed", true) : undefined
}

const notApns = (status: number): Details =>
  configuration(
    status,
    "the answer is not one that APNs gives",
    "Check host, port and proxy: something else may be answering"
  )

/** What a status means when the reason does not say. */
const byStatus = (status: number): Details => {
  switch (status) {
    case 403:
      return configuration(status, "key or certificate were not accepted", "Check key, key id, team id and environment")
    case 404:
      return table.BadPath
    case 405:
      return table.MethodNotAllowed
    case 410:
      return table.Unregistered
    case 413:
      return table.PayloadTooLarge
    case 429:
      return table.TooManyRequests
  }
  return byMoment(status) ?? (
    status >= 400 && status <= 499
      ? notification("the request is not valid", "Look the reason up in Apple's documentation", status)
      : notApns(status)
  )
}

/** What a status means in an answer that is not APNs' own. */
const byOther = (status: number): Details => {
  if (status === 429) {
    return {
      status,
      action: "RetryLater",
      meaning: "something between here and APNs takes no more requests for now",
      advice: "Try again later; if it does not pass, check the proxy",
      delay: throttled
    }
  }
  return byMoment(status) ?? notApns(status)
}

/**
 * What is known about an answer that is not a success: by its reason, else by its status.
 *
 * @category functions
 * @since 0.1.0
 */
export const detailsOf = (status: number, reason: string | undefined, isForeign = false): Details =>
  isReason(reason) ? table[reason] : isForeign ? byOther(status) : byStatus(status)

/**
 * What an answer that is not a success means, and what to do.
 *
 * **Example**
 *
 * ```ts
 * classify(410, "Unregistered", 1732000000000).action // => "DropToken"
 * classify(400, "NewInAnyYear").action // => "FixNotification"
 * classify(500, undefined).action // => "RetryLater"
 * ```
 *
 * `isForeign`: the answer is not APNs' own, see {@link Body}.
 *
 * @category functions
 * @since 0.1.0
 */
export const classify = (
  status: number,
  reason: string | undefined,
  timestamp?: number,
  isForeign = false
): Classification => {
  const { action, advice, delay, meaning, reconnect = false } = detailsOf(status, reason, isForeign)
  return { status, reason, known: isReason(reason), action, meaning, advice, delay, reconnect, timestamp, isForeign }
}

/**
 * What the body of an answer, or the debug data of a GOAWAY frame, says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  /** Apple's word. */
  readonly reason: string | undefined
  /** When APNs found the token dead: milliseconds since 1970. */
  readonly timestamp: number | undefined
  /** Is it an answer, and not one that APNs gives? */
  readonly isForeign?: boolean
}

/**
 * The same for an answer whose body was read.
 *
 * @category functions
 * @since 0.1.0
 */
export const classifyBody = (status: number, { isForeign, reason, timestamp }: Body): Classification =>
  classify(status, reason, timestamp, isForeign)

const decodeBody = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))

/** Apple's reasons are words as `BadTopic`. Anything else is not repeated into logs and errors. */
const isWord = (u: unknown): u is string => typeof u === "string" && /^[A-Z][a-z][A-Za-z0-9]{0,62}$/.test(u)

/** Others give reasons in JSON, too. A new one of Apple's is not believed beside what Apple never says. */
const isApples = (reason: unknown, others: object): reason is string =>
  isWord(reason) && (isReason(reason) || Object.keys(others).length === 0)

/**
 * Reads what APNs says. What can't be read is absent. A time that is later than
 * `now`, in milliseconds since 1970, is `now`: a token that is registered after
 * the answer is alive.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseBody = (text: string, now = Infinity): Body => {
  const { reason, timestamp, ...others } = Option.getOrElse(decodeBody(text), (): Record<string, unknown> => ({}))
  return { reason: isApples(reason, others) ? reason : undefined, timestamp: pastTime(timestamp, now) }
}

/**
 * Reads the body of an answer that is no success. Without a reason of Apple's, it is not APNs' own.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseAnswer = (text: string, now: number): Body => {
  const body = parseBody(text, now)
  return body.reason === undefined ? { ...body, isForeign: true } : body
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * An id of an answer, if it is one that APNs gives: a UUID. That which was `sent` is known to be one.
 *
 * @category functions
 * @since 0.1.0
 */
export const idOf = (id: string | undefined, sent?: string): string | undefined =>
  id !== undefined && (id === sent || uuid.test(id)) ? id : undefined
