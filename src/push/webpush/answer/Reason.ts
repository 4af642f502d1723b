/**
 * What the answers of push services mean, and what to do. Pure.
 *
 * All services answer with the status of RFC 8030, and each has its own way to say more:
 * Mozilla by `errno`, Apple by `reason`, Google by a text, Microsoft by headers. A
 * service is known by the host of the endpoint; an unknown one is judged by the status.
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import { Message } from "../../../http2/index.ts"
import { parseJson } from "../../../internal/json.ts"
import { httpDate, retryAfter } from "../../../internal/peerNumber.ts"
import { clip, oneLine, safeLine, withoutSecrets } from "../../../internal/text.ts"
import { Action } from "../../job/index.ts"

export { Action }

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * A push service that has answers of its own.
 *
 * @category models
 * @since 0.1.0
 */
export type Service = "Google" | "Mozilla" | "Apple" | "Microsoft" | "Other"

/**
 * The push service of a host.
 *
 * @category functions
 * @since 0.1.0
 */
export const serviceOf = (host: string): Service => {
  if (host === "fcm.googleapis.com" || host === "jmt17.google.com") return "Google"
  if (host.endsWith(".push.services.mozilla.com")) return "Mozilla"
  if (host.endsWith(".push.apple.com")) return "Apple"
  return host.endsWith(".notify.windows.com") ? "Microsoft" : "Other"
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A refusal, and what to do about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal {
  readonly service: Service
  readonly status: number
  /** The service's reason: safe to show. */
  readonly reason: string | undefined
  readonly action: Action
  /** How long to wait before a retry. Only with `RetryLater`. */
  readonly delay: Duration.Duration | undefined
  /** Whether the service told the delay. */
  readonly isAsked: boolean
  /** How many seconds the clock of the service is ahead of this one; only with a refused authorization. */
  readonly skew: number | undefined
}

/** A rule for an answer. The delay is in seconds. */
type Rule = Action | { readonly action: "RetryLater"; readonly seconds: number }

const later = (seconds: number): Rule => ({ action: "RetryLater", seconds })

// -----------------------------------------------------------------------------
// The reasons of each service
// -----------------------------------------------------------------------------

/** https://mozilla-services.github.io/autopush-rs/errors.html */
const mozilla: Readonly<Record<number, Rule>> = {
  101: "FixNotification",
  102: "DropToken",
  103: "DropToken",
  104: "FixNotification",
  105: "DropToken",
  106: "DropToken",
  108: "FixNotification",
  109: "RenewAuthorization",
  110: "FixNotification",
  111: "FixNotification",
  112: "FixNotification",
  113: "FixNotification",
  114: "FixNotification",
  201: later(120),
  202: later(0),
  900: later(10),
  901: later(10),
  902: later(10),
  903: later(10),
  999: later(10)
}

/** Apple: Sending web push notifications in web apps and browsers. */
const apple: Readonly<Record<string, Rule>> = {
  BadJwtToken: "RenewAuthorization",
  ExpiredJwtToken: "RenewAuthorization",
  BadAuthorizationHeader: "RenewAuthorization",
  MissingAuthorizationHeader: "RenewAuthorization",
  BadVapidPublicKey: "RenewAuthorization",
  VapidPkHashMismatch: "CheckToken",
  BadTtl: "FixNotification",
  BadUrgency: "FixNotification",
  BadWebPushTopic: "FixNotification",
  BadWebPushRequest: "FixNotification",
  Unregistered: "DropToken",
  ExpiredSubscription: "DropToken",
  TooManyRequests: later(60)
}

/** Texts that say that the subscription belongs to another VAPID key. */
const mismatch = /do not correspond to the credentials|public key mismatch|VapidPkHashMismatch/i

/** The rule of a status that no reason explains. RFC 8030, sections 5 and 8.4. */
const byStatus = (service: Service, status: number, text: string): Rule => {
  if (status === 404 || status === 410) return "DropToken"
  if (status === 401 || status === 403) return mismatch.test(text) ? "CheckToken" : "RenewAuthorization"
  if (status === 400 && service === "Google" && /UnauthorizedRegistration/i.test(text)) return "RenewAuthorization"
  if (status === 405) return "ReportBug"
  if (status === 429 || (status === 406 && service === "Microsoft")) return later(60)
  if (status === 408 || status >= 500) return later(10)
  return "FixNotification"
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/** Messages show at most this much of a body. */
const maxReasonChars = 200

/** Servers repeat the URL or the path of the request, which is a secret. */
const location = /(?:https?:\/)?\/[^\s"'<>]{4,}/g

const shown = (text: string): string =>
  safeLine(clip(oneLine(withoutSecrets(text.replace(location, "/...")), 1000), maxReasonChars))

const decoder = new TextDecoder()

/** What a service says, and what its own table says about it. */
interface Said {
  readonly text: string
  readonly rule: Rule | undefined
}

const json = (text: string): Record<string, unknown> => {
  const value = parseJson(text)
  return Predicate.isObject(value) ? value as Record<string, unknown> : {}
}

const textOf = (value: unknown): string => typeof value === "string" ? value : ""

const readMozilla = (body: string): Said => {
  const { errno, message } = json(body)
  if (typeof errno !== "number") return { text: "", rule: undefined }
  const text = `errno ${errno}${textOf(message) === "" ? "" : `: ${textOf(message)}`}`
  return { text, rule: mismatch.test(text) ? "CheckToken" : mozilla[errno] }
}

const readApple = (body: string): Said => {
  const reason = textOf(json(body)["reason"])
  return { text: reason, rule: Object.hasOwn(apple, reason) ? apple[reason] : undefined }
}

const windowsHeaders = ["x-wns-error-description", "x-wns-notificationstatus", "x-wns-status", "x-wns-msg-id"]

const readWindows = (headers: Message.Response["headers"]): Said => {
  const parts = windowsHeaders.flatMap((name) => {
    const value = Message.header(headers, name)
    return value === undefined ? [] : [name === "x-wns-error-description" ? value : `${name} ${value}`]
  })
  return { text: parts.join(", "), rule: undefined }
}

/** A page of HTML is of a proxy or a portal. It says nothing, and may be long. */
const plain = (body: string): string => body.trimStart().startsWith("<") ? "" : body

const said = (service: Service, { body, headers }: Message.Response): Said => {
  if (service === "Microsoft") return readWindows(headers)
  const text = decoder.decode(body)
  if (service === "Mozilla") return readMozilla(text)
  if (service === "Apple") return readApple(text)
  return { text: plain(text), rule: undefined }
}

/** A rule of a service that does not fit the status is of another server, which only pretends. */
const fits = (rule: Rule, status: number): boolean =>
  rule === "DropToken" ? status >= 400 && status < 500 : rule === "CheckToken" ? status < 500 : status >= 400

/**
 * What a refusal means. `now` is in milliseconds since 1970.
 *
 * @category functions
 * @since 0.1.0
 */
export const classify = (service: Service, response: Message.Response, now: number): Refusal => {
  const { headers, status } = response
  const { rule: own, text } = said(service, response)
  const rule = own !== undefined && fits(own, status) ? own : byStatus(service, status, text)
  const action = typeof rule === "string" ? rule : rule.action
  const asked = typeof rule === "string" ? undefined : Message.header(headers, "retry-after")
  const wait = asked === undefined ? undefined : retryAfter(asked, now)
  const date = action === "RenewAuthorization" ? Message.header(headers, "date") : undefined
  const at = date === undefined ? undefined : httpDate(date, now)
  return {
    service,
    status,
    reason: text === "" ? undefined : shown(text),
    action,
    delay: typeof rule === "string" ? undefined : wait ?? Duration.seconds(rule.seconds),
    isAsked: wait !== undefined,
    skew: at === undefined ? undefined : Math.round((at - now) / 1000)
  }
}

/**
 * Whether the service takes no more messages for a while: Microsoft says so by 406.
 *
 * @category functions
 * @since 0.1.0
 */
export const isThrottle = ({ action, status }: Refusal): boolean =>
  action === "RetryLater" && (status === 429 || status === 406)
