/** The push services that a simulator can be, and how each says no. Pure. */

/**
 * A push service: `google`, `mozilla`, `apple`, `wns` (Microsoft), or `plain`, one of
 * one's own with HTTP/1.1 only.
 *
 * @category models
 * @since 0.1.0
 */
export type Personality = "google" | "mozilla" | "apple" | "wns" | "plain"

/**
 * The host that the endpoints of a push service have.
 *
 * @category constants
 * @since 0.1.0
 */
export const hosts: Readonly<Record<Personality, string>> = {
  google: "fcm.googleapis.com",
  mozilla: "updates.push.services.mozilla.com",
  apple: "web.push.apple.com",
  wns: "wns2-by3p.notify.windows.com",
  plain: "localhost"
}

/**
 * Why a simulator refuses a message.
 *
 * @category models
 * @since 0.1.0
 */
export type Refusal =
  | "UnknownSubscription"
  | "MissingToken"
  | "BadToken"
  | "BadSubject"
  | "KeyMismatch"
  | "DeadSubscription"
  | "BadTtl"
  | "BadTopic"
  | "BadUrgency"
  | "BadEncoding"
  | "BadCachePolicy"
  | "TooLarge"
  | "Throttled"
  | "ServerError"

/**
 * The status and the body of an answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Said {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Statuses as RFC 8030 gives them. */
const statuses: Readonly<Record<Refusal, number>> = {
  UnknownSubscription: 404,
  MissingToken: 401,
  BadToken: 401,
  BadSubject: 401,
  KeyMismatch: 403,
  DeadSubscription: 410,
  BadTtl: 400,
  BadTopic: 400,
  BadUrgency: 400,
  BadEncoding: 400,
  BadCachePolicy: 400,
  TooLarge: 413,
  Throttled: 429,
  ServerError: 503
}

const texts: Readonly<Record<Refusal, string>> = {
  UnknownSubscription:
    "a valid push subscription endpoint should be specified in the URL as such: https://fcm.googleapis.com/wp/dHIoDxE7Hdg",
  MissingToken: "UnauthorizedRegistration",
  BadToken: "invalid JWT provided",
  BadSubject: "invalid JWT provided: sub",
  KeyMismatch:
    "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.",
  DeadSubscription: "push subscription has unsubscribed or expired.",
  BadTtl: "a valid TTL header must be specified.",
  BadTopic: "the topic is not valid.",
  BadUrgency: "the urgency is not valid.",
  BadEncoding: "a content-encoding of aes128gcm must be specified.",
  BadCachePolicy: "the cache policy does not agree with the TTL.",
  TooLarge: "the payload is too large.",
  Throttled: "too many requests.",
  ServerError: "the service is not available."
}

/** Mozilla's statuses and numbers of errors. */
const errnos: Readonly<Record<Refusal, readonly [status: number, errno: number, message: string]>> = {
  UnknownSubscription: [404, 102, "Invalid endpoint"],
  MissingToken: [401, 109, "Missing VAPID token"],
  BadToken: [401, 109, "Invalid VAPID token"],
  BadSubject: [401, 109, "Invalid VAPID token: sub"],
  KeyMismatch: [401, 109, "VAPID public key mismatch"],
  DeadSubscription: [410, 106, "Subscription is no longer available"],
  BadTtl: [400, 111, "Missing TTL value"],
  BadTopic: [400, 113, "Invalid topic"],
  BadUrgency: [400, 112, "Invalid urgency"],
  BadEncoding: [400, 110, "Invalid encryption headers"],
  BadCachePolicy: [400, 999, "Invalid cache policy"],
  TooLarge: [413, 104, "Payload is too large"],
  Throttled: [429, 201, "Too many requests"],
  ServerError: [503, 201, "Use exponential back-off for retries"]
}

/** Apple's statuses and reasons. */
const reasons: Readonly<Record<Refusal, readonly [status: number, reason: string]>> = {
  UnknownSubscription: [404, "BadPath"],
  MissingToken: [403, "MissingAuthorizationHeader"],
  BadToken: [403, "BadJwtToken"],
  BadSubject: [403, "BadJwtToken"],
  KeyMismatch: [400, "VapidPkHashMismatch"],
  DeadSubscription: [410, "Unregistered"],
  BadTtl: [400, "BadTtl"],
  BadTopic: [400, "BadWebPushTopic"],
  BadUrgency: [400, "BadUrgency"],
  BadEncoding: [400, "BadWebPushRequest"],
  BadCachePolicy: [400, "BadWebPushRequest"],
  TooLarge: [413, "PayloadTooLarge"],
  Throttled: [429, "TooManyRequests"],
  ServerError: [503, "ServiceUnavailable"]
}

/**
 * How a push service refuses.
 *
 * @category functions
 * @since 0.1.0
 */
export const refusalOf = (personality: Personality, refusal: Refusal): Said => {
  switch (personality) {
    case "mozilla": {
      const [status, errno, message] = errnos[refusal]
      const body = { code: status, errno, error: "error", message, more_info: "http://autopush.readthedocs.io/" }
      return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) }
    }
    case "apple": {
      const [status, reason] = reasons[refusal]
      return { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ reason }) }
    }
    case "wns": {
      const status = refusal === "Throttled" ? 406 : statuses[refusal]
      return { status, headers: { "x-wns-error-description": texts[refusal], "x-wns-msg-id": "0123" }, body: "" }
    }
    case "google":
    case "plain":
      // Google calls a request without a token a bad one.
      return {
        status: personality === "google" && refusal === "MissingToken" ? 400 : statuses[refusal],
        headers: { "content-type": "text/plain" },
        body: texts[refusal]
      }
  }
}
