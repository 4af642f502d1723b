/**
 * What answers, good-byes and failed connections of APNs mean for the pool: pure decisions.
 *
 * The answer itself is handed on to whoever sent the request, unless the
 * request is to be sent again.
 */
import * as Duration from "effect/Duration"
import { type Http2Error, Message } from "../../../http2/index.ts"
import { Provider } from "../../pool/index.ts"
import * as ApnsError from "./ApnsError.ts"
import * as Reason from "./Reason.ts"

type Ending = Pick<Message.Ending, "goaway" | "rejection">

const text = new TextDecoder()

/** A credential that is not accepted is so for all, and so is a server that isn't Apple's; a topic is wrong for itself. */
const reachOf = ({ isForeign, reason, status }: Reason.Classification): "Scope" | "All" =>
  isForeign || status < 400 || (status === 403 && reason !== "TopicMismatch") ? "All" : "Scope"

/** What to do about an answer that is no success. */
export const ofRefusal = (refusal: Reason.Classification): Provider.AnswerPolicy => {
  const { action, reason, reconnect, status } = refusal
  const { policy } = Provider.accepted
  switch (action) {
    case "RenewToken":
      return { ...policy, renew: "Authorization", retire: true }
    case "Reconnect":
      return { ...policy, renew: "Connection", retire: true }
    default:
      return {
        renew: "Nothing",
        // one failure of a server is no reason to leave it, unless it says that it is going
        retire: reconnect && (status < 500 || reason === "Shutdown"),
        fault: action === "FixConfiguration" ? reachOf(refusal) : "None",
        isServerError: status >= 500
      }
  }
}

/** What an answer means, and what to do about it. `now` gives milliseconds since 1970. */
export const judge = (
  { body, status }: Message.Response,
  now: () => number
): Provider.Judgement<Reason.Classification> => {
  if (status < 300) return Provider.accepted
  const refusal = Reason.classifyBody(status, Reason.parseAnswer(text.decode(body), now()))
  return { policy: ofRefusal(refusal), refusal }
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
const faultAtEnd = ({ goaway, rejection }: Ending): ApnsError.ApnsError | undefined =>
  (goaway && faultAmong(Message.textsOf(goaway))) ?? (rejection && judgeDial(rejection))

/** Does the end of a connection tell that the provider token is too old? */
const isTokenExpired = ({ goaway }: Ending): boolean =>
  goaway !== undefined && Message.textsOf(goaway).some((text) => {
    const { reason } = Reason.parseBody(text)
    return Reason.isReason(reason) && Reason.table[reason].action === "RenewToken"
  })

/** What the end of a connection tells: a fault of the configuration, or that the provider token is too old. */
export const judgeEnd = (end: Ending): ApnsError.ApnsError | "Expired" | undefined =>
  faultAtEnd(end) ?? (isTokenExpired(end) ? "Expired" : undefined)

/** The fault of the configuration for which a connection can't be opened, if it is one: it won't go away by itself. */
export const judgeDial = ({ message, reason }: Http2Error.Http2Error): ApnsError.ApnsError | undefined => {
  switch (reason._tag) {
    case "TlsRejected":
    case "NotHttp2":
    case "OptionInvalid":
      return ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    case "Unreachable":
      return faultAmong(reason.said ?? [])
    case "ProxyRefused":
      return reason.isTransient ? undefined : ApnsError.make(new ApnsError.ConfigFault({ detail: message }))
    default:
      return undefined
  }
}

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
