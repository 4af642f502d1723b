/**
 * Why Apple refused a push, and what to do about it.
 *
 * {@link table} has every known reason of APNs. {@link classify} is total: the status
 * decides about an unknown or missing reason, since Apple adds reasons without
 * notice. If a status and a known reason disagree, the reason counts.
 *
 * APNs gives a reason with every refusal. An answer without one comes from another
 * server, such as a proxy or a login portal. It says nothing about the token or the
 * notification, so neither is discarded.
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
 * The details of one reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface Details {
  /** The HTTP status of the answer. */
  readonly status: number
  readonly action: Action
  /** What happened, as text that follows "APNs refused the push: ". */
  readonly meaning: string
  /** What to do next: one sentence for a person. */
  readonly advice: string
  /** How long to wait before the first retry. Only with `RetryLater`. */
  readonly delay?: Duration.Duration
  /** Whether the connection of the answer must be replaced. Default: false. */
  readonly reconnect?: boolean
}

/**
 * The meaning of an answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Classification {
  /** The HTTP status of the answer. */
  readonly status: number
  /** Apple's reason; `undefined` if the answer has none. */
  readonly reason: string | undefined
  /** Whether the reason is in the {@link table}. Otherwise the status decided. */
  readonly known: boolean
  readonly action: Action
  /** What happened, as text that follows "APNs refused the push: ". */
  readonly meaning: string
  /** What to do next: one sentence for a person. */
  readonly advice: string
  /** How long to wait before the first retry. Only with `RetryLater`. */
  readonly delay: Duration.Duration | undefined
  /** Whether the connection of the answer must be replaced. */
  readonly reconnect: boolean
  /** When APNs found the token dead, in milliseconds since 1970. Only with status 410. */
  readonly timestamp: number | undefined
  /** Whether the answer comes from another server than APNs. See {@link Body}. */
  readonly isForeign: boolean
}

// -----------------------------------------------------------------------------
// The table
// -----------------------------------------------------------------------------

/** Apple asks clients to wait 15 minutes after an error of its servers. */
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
  advice: "Report this as a bug of backq: a notification can't cause it"
})

const server = (status: number, meaning: string, reconnect: boolean): Details => ({
  status,
  action: "RetryLater",
  meaning,
  advice: "Retry in 15 minutes, and then at growing intervals",
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
    "Set the expiration in whole seconds since 1970; 0 means one attempt"
  ),
  BadMessageId: notification(
    "the apns-id is not a UUID",
    "Set a UUID of 8-4-4-4-12 lower-case hexadecimal digits, or no id"
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
    "Set the push type that matches the payload"
  ),
  PayloadEmpty: notification("the payload is empty", "Add an aps dictionary or custom keys"),
  MissingTopic: notification(
    "the topic is missing, and the certificate has several",
    "Set the topic to the app's bundle id"
  ),
  MissingDeviceToken: notification("the device token is missing", "Set the device token"),
  MissingPushType: notification("the push type is missing", "Set the push type that matches the payload"),
  MissingChannelId: notification("the channel id is missing", "Set the channel id that APNs returned on creation"),
  BadChannelId: notification(
    "the channel id is not valid",
    "Set the channel id exactly as APNs returned it on creation"
  ),
  BadRequestParams: notification(
    "a parameter of the channel request is not valid",
    "Check the bundle id, channel id and headers of the request"
  ),
  BadRequestPayload: notification(
    "the body of the channel request is not valid",
    "Check the message storage policy and the push type"
  ),
  MissingChannelQueueSize: notification(
    "the message storage policy of the channel is not valid",
    "Use 0 (store nothing) or 1 (store the most recent message)"
  ),
  PayloadTooLarge: notification(
    "the payload is too large",
    "Shorten it to at most 4096 bytes (voip and broadcasts: 5120), for instance with a shorter alert body",
    413
  ),

  BadDeviceToken: {
    status: 400,
    action: "CheckToken",
    meaning: "the device token is malformed or belongs to the other environment",
    advice:
      "Push to tokens of development builds in sandbox and to all others in production; do not push to this token again"
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
    meaning: "the broadcast channel does not exist in this environment",
    advice: "Delete the channel id, and create a new channel if you need one"
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
    "the app has the maximum number of channels (10,000 in each environment)",
    "Delete unused channels"
  ),
  BadCertificate: configuration(
    403,
    "the certificate is not valid",
    "Check that it is a push certificate and is neither expired nor revoked, or renew it"
  ),
  BadCertificateEnvironment: configuration(
    403,
    "the certificate is for the other environment",
    "Connect to the environment of the certificate"
  ),
  InvalidProviderToken: configuration(
    403,
    "the provider token is not valid",
    "Check that the key file, key id and team id belong together, that the key is not revoked, and this machine's clock"
  ),
  MissingProviderToken: configuration(
    403,
    "the connection has no certificate, and the request has no provider token",
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
    "Check in the developer account that the key or certificate is not revoked, and that it covers this app"
  ),
  TopicMismatch: configuration(
    403,
    "the key or certificate does not cover the bundle id of the broadcast",
    "Use a key or certificate of the app's team, and the bundle id without a suffix"
  ),

  ExpiredProviderToken: {
    status: 403,
    action: "RenewAuthorization",
    meaning: "the provider token is older than one hour",
    advice: "Retry once with a new provider token on a new connection; if it happens again, check this machine's clock",
    reconnect: true
  },
  UnrelatedKeyIdInToken: {
    status: 403,
    action: "Reconnect",
    meaning: "the key differs from the key of the connection's first push",
    advice: "Open a new connection for the new key",
    reconnect: true
  },
  IdleTimeout: {
    status: 400,
    action: "Reconnect",
    meaning: "the connection was idle for too long",
    advice: "Retry on a new connection; the push was not processed",
    reconnect: true
  },

  DuplicateHeaders: bug(400, "a header was sent twice"),
  BadPath: bug(404, "the path of the request is not valid"),
  MethodNotAllowed: bug(405, "the method of the request is not allowed"),

  TooManyRequests: {
    status: 429,
    action: "RetryLater",
    meaning: "too many pushes went to the same device token (or channel) in a short time",
    advice: "Push to this token less often, and retry later; other tokens are not affected",
    delay: throttled
  },
  TooManyProviderTokenUpdates: {
    status: 429,
    action: "RetryLater",
    meaning: "the provider token changed more than once in 20 minutes",
    advice: "Keep a provider token for at least 20 minutes, and share it between all workers that use the key",
    delay: throttled,
    reconnect: true
  },
  InternalServerError: server(500, "APNs had an internal error", false),
  ServiceUnavailable: server(503, "APNs is unavailable", true),
  Shutdown: server(503, "the APNs server is shutting down", true)
} satisfies Record<string, Details>

/**
 * A known reason of APNs.
 *
 * @category models
 * @since 0.1.0
 */
export type Reason = keyof typeof details

/**
 * Every known reason of APNs, with its details.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: Readonly<Record<Reason, Details>> = details

/**
 * Whether this is a known reason of APNs.
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

/** A status that says something about the connection or the moment, from any server. RFC 9110, section 15.5, and RFC 8470. */
const byMoment = (status: number): Details | undefined => {
  switch (status) {
    case 408:
      return transient(status, "the server did not wait for the whole request", "Retry on a new connection")
    case 421:
      return transient(status, "the connection leads to a server of another host", "Open a new connection")
    case 425:
      return {
        status,
        action: "RetryLater",
        meaning: "the server does not accept the request so early on a connection",
        advice: "Retry a little later",
        delay: throttled
      }
  }
  return status >= 500 && status <= 599 ? server(status, "APNs failed", true) : undefined
}

const notApns = (status: number): Details =>
  configuration(
    status,
    "the answer does not come from APNs",
    "Check the host, port and proxy: another server may answer"
  )

/** The meaning of a status with an unknown reason. */
const byStatus = (status: number): Details => {
  switch (status) {
    case 403:
      return configuration(
        status,
        "the key or certificate was refused",
        "Check the key, key id, team id and environment"
      )
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
      ? notification("the request is not valid", "Look up the reason in Apple's documentation", status)
      : notApns(status)
  )
}

/** The meaning of a status from another server than APNs. */
const byOther = (status: number): Details => {
  if (status === 429) {
    return {
      status,
      action: "RetryLater",
      meaning: "a server between this program and APNs throttles requests",
      advice: "Retry later; if this lasts, check the proxy",
      delay: throttled
    }
  }
  return byMoment(status) ?? notApns(status)
}

/**
 * The details of a refusal: by its reason, else by its status.
 *
 * @category functions
 * @since 0.1.0
 */
export const detailsOf = (status: number, reason: string | undefined, isForeign = false): Details =>
  isReason(reason) ? table[reason] : isForeign ? byOther(status) : byStatus(status)

/**
 * Classifies a refusal: what it means, and what to do.
 *
 * **Example**
 *
 * ```ts
 * classify(410, "Unregistered", 1732000000000).action // => "DropToken"
 * classify(400, "NewInAnyYear").action // => "FixNotification"
 * classify(500, undefined).action // => "RetryLater"
 * ```
 *
 * `isForeign`: the answer comes from another server, see {@link Body}.
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
 * The content of an answer's body, or of a GOAWAY frame's debug data.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  /** Apple's reason. */
  readonly reason: string | undefined
  /** When APNs found the token dead, in milliseconds since 1970. */
  readonly timestamp: number | undefined
  /** Whether it is an answer from another server than APNs. */
  readonly isForeign?: boolean
}

/**
 * Classifies a refusal from its status and its body.
 *
 * @category functions
 * @since 0.1.0
 */
export const classifyBody = (status: number, { isForeign, reason, timestamp }: Body): Classification =>
  classify(status, reason, timestamp, isForeign)

const decodeBody = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))

/** Apple's reasons have the form of `BadTopic`. Logs and errors show no other text. */
const isWord = (u: unknown): u is string => typeof u === "string" && /^[A-Z][a-z][A-Za-z0-9]{0,62}$/.test(u)

/** Other servers send reasons in JSON too. An unknown reason counts only without keys that Apple never sends. */
const isApples = (reason: unknown, others: object): reason is string =>
  isWord(reason) && (isReason(reason) || Object.keys(others).length === 0)

/**
 * Reads a body. Parts that can't be read are absent. A timestamp after `now`
 * (milliseconds since 1970) becomes `now`: a token that is registered after the
 * answer is alive.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseBody = (text: string, now = Infinity): Body => {
  const { reason, timestamp, ...others } = Option.getOrElse(decodeBody(text), (): Record<string, unknown> => ({}))
  return { reason: isApples(reason, others) ? reason : undefined, timestamp: pastTime(timestamp, now) }
}

/**
 * Reads the body of a refusal. One without a reason from Apple comes from another server.
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
 * The id of an answer, if it is a UUID, as APNs returns it. The id that was `sent` needs no check.
 *
 * @category functions
 * @since 0.1.0
 */
export const idOf = (id: string | undefined, sent?: string): string | undefined =>
  id !== undefined && (id === sent || uuid.test(id)) ? id : undefined
