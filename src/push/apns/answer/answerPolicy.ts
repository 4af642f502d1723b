/**
 * What an answer of APNs means for the connections: pure decisions of the pool.
 *
 * The answer itself is handed on to whoever sent the request, unless the
 * request is to be sent again.
 */
import * as Duration from "effect/Duration"
import type * as Connection from "../../../http2/Connection.ts"
import type * as Http2Error from "../../../http2/Http2Error.ts"
import { textsOf } from "../../../http2/Message.ts"
import * as ApnsError from "./ApnsError.ts"
import * as Reason from "./Reason.ts"

/** What the pool does about an answer. */
export interface Verdict {
  /** What has to be new before the request is sent again; `"Nothing"` when it is over. */
  readonly renew: "Nothing" | "Token" | "Connection"
  /** Is the connection on which the answer came of no further use? */
  readonly retire: boolean
  /** Do other requests fail alike until somebody mends the configuration: all of this credential, those of its scope? */
  readonly fault: "None" | "Scope" | "All"
  /** Did the server fail? Twice in a row, and the connection is replaced. */
  readonly isServerError: boolean
}

const fine: Verdict = { renew: "Nothing", retire: false, fault: "None", isServerError: false }

/** A credential that is not accepted is so for all, and so is a server that isn't Apple's; a topic is wrong for itself. */
const reachOf = (status: number, { isForeign, reason }: Reason.Body): "Scope" | "All" =>
  isForeign === true || status < 400 || (status === 403 && reason !== "TopicMismatch") ? "All" : "Scope"

/** What to do about the answer to a request. */
export const ofAnswer = (status: number, body: Reason.Body): Verdict => {
  if (status < 300) return fine
  const { reason } = body
  const { action, reconnect } = Reason.classify(status, reason, undefined, body.isForeign)
  switch (action) {
    case "RenewToken":
      return { ...fine, renew: "Token", retire: true }
    case "Reconnect":
      return { ...fine, renew: "Connection", retire: true }
    default:
      return {
        renew: "Nothing",
        // one failure of a server is no reason to leave it, unless it says that it is going
        retire: reconnect && (status < 500 || reason === "Shutdown"),
        fault: action === "FixConfiguration" ? reachOf(status, body) : "None",
        isServerError: status >= 500
      }
  }
}

/** The fault of the configuration that a GOAWAY tells of, if it does. A reason that nobody knows yet may be of the moment. */
export const faultIn = (debug: string): ApnsError.ApnsError | undefined => {
  const { reason } = Reason.parseBody(debug)
  return Reason.isReason(reason) && Reason.table[reason].action === "FixConfiguration"
    ? ApnsError.fromAnswer({ status: 403, reason, timestamp: undefined })
    : undefined
}

const faultAmong = (texts: ReadonlyArray<string>): ApnsError.ApnsError | undefined => {
  for (const text of texts) {
    const fault = faultIn(text)
    if (fault !== undefined) return fault
  }
  return undefined
}

/**
 * The fault of the configuration that the end of a connection tells of: in whichever of the peer's words it is, and
 * whatever else it said.
 */
export const faultAtEnd = (
  { goaway, rejection }: Pick<Connection.Ending, "goaway" | "rejection">
): ApnsError.ApnsError | undefined => {
  return (goaway && faultAmong(textsOf(goaway))) ?? (rejection && faultOf(rejection))
}

/** Does the end of a connection tell that the provider token is too old? */
export const isTokenExpired = ({ goaway }: Pick<Connection.Ending, "goaway">): boolean =>
  goaway !== undefined && textsOf(goaway).some((text) => {
    const { reason } = Reason.parseBody(text)
    return Reason.isReason(reason) && Reason.table[reason].action === "RenewToken"
  })

/** The fault of the configuration for which a connection can't be opened, if it is one: it won't go away by itself. */
export const faultOf = ({ message, reason }: Http2Error.Http2Error): ApnsError.ApnsError | undefined => {
  switch (reason._tag) {
    case "TlsRejected":
    case "NotHttp2":
    case "OptionInvalid":
      return ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    case "Unreachable":
      return faultAmong(reason.said ?? [])
    case "ProxyRefused":
      return reason.isPassing ? undefined : ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    default:
      return undefined
  }
}

/** Is it certain that the push was not processed, and may be on another connection? APNs needs the whole of a payload. */
export const isUnprocessed = ({ fate, reason }: Http2Error.Http2Error): boolean =>
  (reason._tag === "Timeout" && reason.isPartial === true) ||
  (fate === "NotProcessed" && reason._tag !== "RequestInvalid")

/** The failure of a push whose request was sent and not answered, or can't be sent at all. */
export const failureOf = (error: Http2Error.Http2Error): ApnsError.ApnsErrorReason => {
  const { message: detail, reason } = error
  switch (reason._tag) {
    case "Timeout":
      return new ApnsError.Timeout({
        stage: reason.sent ? "Answer" : "Queue",
        after: Duration.millis(reason.millis),
        ...(reason.detail === undefined ? undefined : { detail: reason.detail })
      })
    case "Refused":
      return new ApnsError.Refused({ detail: reason.detail })
    case "RequestInvalid":
      return new ApnsError.InvalidNotification({ field: "headers", rule: reason.detail })
    default:
      return error.fate === "Unknown"
        ? new ApnsError.Unknown({ detail: "detail" in reason ? reason.detail : detail, cause: error })
        : new ApnsError.NotSent({ detail, cause: error })
  }
}
