/**
 * What an answer of APNs means for the connections: pure decisions of the pool.
 *
 * The answer itself is handed on to whoever sent the request, unless the
 * request is to be sent again.
 */
import * as Duration from "effect/Duration"
import type * as Http2Error from "../http2/Http2Error.ts"
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
const reachOf = (status: number, reason: string | undefined): "Scope" | "All" =>
  status < 400 || (status === 403 && reason !== "TopicMismatch") ? "All" : "Scope"

/** What to do about the answer to a request. */
export const ofAnswer = (status: number, { reason }: Reason.Body): Verdict => {
  if (status < 300) return fine
  const { action, reconnect } = Reason.classify(status, reason)
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
        fault: action === "FixConfiguration" ? reachOf(status, reason) : "None",
        isServerError: status >= 500
      }
  }
}

/** The fault of the configuration that a GOAWAY tells of, if it does. */
export const faultIn = (debug: string): ApnsError.ApnsError | undefined => {
  const { reason } = Reason.parseBody(debug)
  if (reason === undefined) return undefined
  const { action, status } = Reason.classify(403, reason)
  return action === "FixConfiguration" ? ApnsError.fromAnswer({ status, reason, timestamp: undefined }) : undefined
}

/** The fault of the configuration for which a connection can't be opened, if it is one: it won't go away by itself. */
export const faultOf = ({ message, reason }: Http2Error.Http2Error): ApnsError.ApnsError | undefined => {
  switch (reason._tag) {
    case "TlsRejected":
    case "NotHttp2":
    case "OptionInvalid":
      return ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    case "ProxyRefused":
      return reason.status >= 500
        ? undefined
        : ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    default:
      return undefined
  }
}

/** The failure of a push whose request was sent and not answered, or can't be sent at all. */
export const failureOf = (error: Http2Error.Http2Error): ApnsError.ApnsErrorReason => {
  const { message: detail, reason } = error
  switch (reason._tag) {
    case "Timeout":
      return new ApnsError.Timeout({ stage: reason.sent ? "Answer" : "Queue", after: Duration.millis(reason.millis) })
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
