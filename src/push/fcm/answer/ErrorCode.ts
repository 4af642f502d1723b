/**
 * Why Google refused a message, and what to do about it.
 *
 * An answer is read in this order: the entry of `details` whose type ends with
 * `google.firebase.fcm.v1.FcmError`, wherever it stands; then `fieldViolations`, quota
 * failures and `ErrorInfo`; then `status`; then the HTTP status. A body may be HTML,
 * empty, or have another form: reading never fails.
 *
 * Only a 404 with `UNREGISTERED` means that a token is dead. A 404 without an FcmError comes
 * from a wrong project, path or proxy, and INVALID_ARGUMENT may be a fault of the message,
 * so neither drops a token. A code that does not fit its HTTP status counts by the status.
 *
 * Source: Google, "FCM Error Codes" and "Scale".
 */
import * as Duration from "effect/Duration"
import { parseJson } from "../../../internal/json.ts"
import { clip, safeLine, withoutSecrets } from "../../../internal/text.ts"
import { Action } from "../../job/index.ts"

export { Action }

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What an answer says, in parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  /** Whether it has the form of Google's errors. */
  readonly isGoogles: boolean
  /** The code of FcmError: `UNREGISTERED`. */
  readonly errorCode: string | undefined
  /** Google's status: `NOT_FOUND`. */
  readonly status: string | undefined
  /** The reason of ErrorInfo: `SERVICE_DISABLED`. */
  readonly reason: string | undefined
  /** Google's text, on one line. */
  readonly message: string | undefined
  /** The refused fields, such as `message.android.ttl: Invalid value`. */
  readonly violations: ReadonlyArray<{ readonly field: string; readonly description: string }>
  /** Whether it has a QuotaFailure. */
  readonly isQuotaFailure: boolean
}

/**
 * What a refusal belongs to.
 *
 * | scope | |
 * |---|---|
 * | `Target` | this target only |
 * | `Message` | the message, for every target |
 * | `Project` | all messages of the project |
 * | `ThirdParty` | the project's messages to iOS or to browsers, not those to Android |
 *
 * @category models
 * @since 0.1.0
 */
export type Scope = "Target" | "Message" | "Project" | "ThirdParty"

/**
 * The details of a kind of refusal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Details {
  /** The HTTP status. */
  readonly status: number
  readonly action: Action
  readonly scope: Scope
  /** What happened. */
  readonly meaning: string
  /** What to do next: one sentence for a person. */
  readonly advice: string
  /** How long to wait before a retry, if the answer does not say it. Only with `RetryLater`. */
  readonly delay?: Duration.Duration
}

/**
 * The meaning of an answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Classification extends Details {
  readonly kind: Kind
  /** The code of FcmError, else Google's status. */
  readonly reason: string | undefined
  /** Google's text and the refused fields, for messages. */
  readonly said: string | undefined
  /** How long Google asks to wait (Retry-After). */
  readonly retryAfter: Duration.Duration | undefined
}

// -----------------------------------------------------------------------------
// The table
// -----------------------------------------------------------------------------

/** Google asks for at least a minute after a 429, and for at least 10 seconds after a failure. */
const throttled = Duration.minutes(1)
const failed = Duration.seconds(10)

const details = {
  Unregistered: {
    status: 404,
    action: "DropToken",
    scope: "Target",
    meaning: "the app was removed, or has a new token",
    advice: "Delete the token"
  },
  WrongTarget: {
    status: 400,
    action: "CheckToken",
    scope: "Target",
    meaning: "Google does not know the form of this token",
    advice: "Check that the token is stored whole, and comes from Firebase"
  },
  SenderIdMismatch: {
    status: 403,
    action: "CheckToken",
    scope: "Target",
    meaning: "the token belongs to another project",
    advice: "Push to it with the service account of its project"
  },
  InvalidArgument: {
    status: 400,
    action: "FixNotification",
    scope: "Message",
    meaning: "Google refuses the message",
    advice: "Change the field that Google names"
  },
  PermissionDenied: {
    status: 403,
    action: "FixConfiguration",
    scope: "Project",
    meaning: "the account may not send messages of this project",
    advice: "Enable the API fcm.googleapis.com in the project, and give the account the role " +
      "Firebase Cloud Messaging API Admin"
  },
  ThirdPartyAuthError: {
    status: 401,
    action: "FixConfiguration",
    scope: "ThirdParty",
    meaning: "the project has no valid APNs key, or no valid web push key",
    advice: "Upload the APNs key (for browsers: the web push certificate) in the settings of the Firebase project; " +
      "the service account is not at fault, and Android is not affected"
  },
  Unauthenticated: {
    status: 401,
    action: "RenewAuthorization",
    scope: "Project",
    meaning: "Google does not accept the access token",
    advice: "Check the service account and this machine's clock"
  },
  ProjectQuota: {
    status: 429,
    action: "RetryLater",
    scope: "Project",
    meaning: "the project has used its quota of messages",
    advice: "Wait, and send slower; Google raises the quota on request",
    delay: throttled
  },
  TargetQuota: {
    status: 429,
    action: "RetryLater",
    scope: "Target",
    meaning: "too many messages went to this device or topic",
    advice: "Send fewer messages to it; other targets are not affected",
    delay: throttled
  },
  ServerError: {
    status: 503,
    action: "RetryLater",
    scope: "Target",
    meaning: "Google failed, and may have delivered the message",
    advice: "Retry later, at growing intervals",
    delay: failed
  },
  NotFcm: {
    status: 404,
    action: "FixConfiguration",
    scope: "Project",
    meaning: "this is no answer of FCM about a message: the project is wrong, or another server answers",
    advice: "Check the project's id, the host and the proxy; no token is at fault"
  }
} satisfies Record<string, Details>

/**
 * A kind of refusal.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = keyof typeof details

/**
 * Every kind of refusal, with its details.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: Readonly<Record<Kind, Details>> = details

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

type Json = Readonly<Record<string, unknown>>

const objectOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Json : {}

const listOf = (value: unknown): ReadonlyArray<Json> => Array.isArray(value) ? value.map(objectOf) : []

/**
 * Codes have the form of `QUOTA_EXCEEDED`. Logs and errors show no other text.
 *
 * @category functions
 * @since 0.1.0
 */
export const codeOf = (value: unknown): string | undefined =>
  typeof value === "string" && /^[A-Z][A-Z0-9_]{0,62}$/.test(value) ? value : undefined

const maxShownChars = 500

const lineOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? safeLine(clip(withoutSecrets(value), maxShownChars)) : undefined

/**
 * Reads a body. Parts that can't be read are absent.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseBody = (text: string): Body => {
  const root = objectOf(parseJson(text))
  const error = objectOf(root["error"])
  const all = listOf(error["details"])
  const ofType = (name: string) => all.filter(({ "@type": type }) => typeof type === "string" && type.endsWith(name))
  const violations = ofType("google.rpc.BadRequest").flatMap(({ fieldViolations }) =>
    listOf(fieldViolations).map(({ description, field }) => ({
      field: lineOf(field) ?? "",
      description: lineOf(description) ?? ""
    }))
  )
  const status = codeOf(error["status"])
  return {
    isGoogles: status !== undefined || all.length > 0,
    errorCode: ofType("google.firebase.fcm.v1.FcmError").map(({ errorCode }) => codeOf(errorCode)).find(Boolean),
    status,
    reason: ofType("google.rpc.ErrorInfo").map(({ reason }) => codeOf(reason)).find(Boolean),
    message: lineOf(error["message"]) ?? lineOf(root["error"]),
    violations: violations.slice(0, 10),
    isQuotaFailure: ofType("google.rpc.QuotaFailure").length > 0
  }
}

// -----------------------------------------------------------------------------
// Classifying
// -----------------------------------------------------------------------------

/** Whether a 400 is about the token, not about the message. */
const isAboutTarget = ({ errorCode, message = "", violations }: Body): boolean =>
  errorCode === "UNREGISTERED" || violations.some(({ field }) =>
    field === "message.token" || field === "message.fid"
  ) ||
  (violations.length === 0 && /registration token|installation id/i.test(message))

/**
 * Which quota a 429 means. Google often does not say it: then `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const quotaOf = ({ isQuotaFailure, message = "", reason }: Body): "ProjectQuota" | "TargetQuota" | undefined =>
  /\b(?:device|topic|registration token)\b/i.test(message)
    ? "TargetQuota"
    : isQuotaFailure || reason === "RATE_LIMIT_EXCEEDED" || /quota metric/i.test(message)
    ? "ProjectQuota"
    : undefined

const codes: Readonly<Record<string, Kind | "BadRequest" | "Quota">> = {
  UNREGISTERED: "Unregistered",
  INVALID_ARGUMENT: "BadRequest",
  SENDER_ID_MISMATCH: "SenderIdMismatch",
  QUOTA_EXCEEDED: "Quota",
  THIRD_PARTY_AUTH_ERROR: "ThirdPartyAuthError",
  APNS_AUTH_ERROR: "ThirdPartyAuthError",
  UNAVAILABLE: "ServerError",
  INTERNAL: "ServerError"
}

/** Whether a code can come with a status: a token is dead by a 404 only, and no failure of a server blames a push. */
const fits = (kind: Kind | "BadRequest" | "Quota", status: number): boolean =>
  kind === "Unregistered" ? status === 404 || status === 410 : kind === "ServerError" || status < 500

const byStatus = (status: number, { isGoogles }: Body): Kind | "BadRequest" | "Quota" => {
  if (status >= 500) return "ServerError"
  switch (status) {
    case 400:
    case 413:
      return isGoogles ? "BadRequest" : "NotFcm"
    case 401:
      return "Unauthenticated"
    case 403:
      return "PermissionDenied"
    case 408:
    case 425:
      return "ServerError"
    case 429:
      return "Quota"
    default:
      return "NotFcm"
  }
}

/**
 * Classifies a refusal. It is total: an unknown code counts by its HTTP status.
 * `guess` decides about a 429 that does not say which quota it means.
 *
 * **Example**
 *
 * ```ts
 * classify(404, parseBody("<html>Not found</html>")).action // => "FixConfiguration"
 * classify(503, parseBody("")).action // => "RetryLater"
 * ```
 *
 * @category functions
 * @since 0.1.0
 */
export const classify = (
  status: number,
  body: Body,
  options: {
    readonly retryAfter?: Duration.Duration | undefined
    readonly guess?: "ProjectQuota" | "TargetQuota" | undefined
  } = {}
): Classification => {
  const coded = body.errorCode === undefined ? undefined : codes[body.errorCode]
  const found = coded !== undefined && fits(coded, status) ? coded : byStatus(status, body)
  const kind = found === "BadRequest"
    ? isAboutTarget(body) ? "WrongTarget" : "InvalidArgument"
    : found === "Quota"
    ? quotaOf(body) ?? options.guess ?? "ProjectQuota"
    : found
  const named = body.violations.map(({ description, field }) => field === "" ? description : `${field}: ${description}`)
  const said = [body.message, ...named].filter((text) => text !== undefined && text !== "")
  return {
    ...table[kind],
    kind,
    status,
    reason: body.errorCode ?? body.reason ?? body.status,
    said: said.length === 0 ? undefined : said.join("; "),
    retryAfter: options.retryAfter
  }
}
