/**
 * Judges answers, GOAWAYs and failed connections of APNs for the pool. Pure.
 *
 * The sender of a request gets the answer, unless the pool sends the request again.
 */
import { type Http2Error, Message } from "../../../http2/index.ts"
import { Provider, Unanswered } from "../../pool/index.ts"
import * as ApnsError from "./ApnsError.ts"
import * as Reason from "./Reason.ts"

type Ending = Pick<Message.Ending, "goaway" | "rejection">

const text = new TextDecoder()

/** A refused credential, or a server that is not Apple's, fails all requests. A refused topic fails its own. */
const reachOf = ({ isForeign, reason, status }: Reason.Classification): "Scope" | "All" =>
  isForeign || status < 400 || (status === 403 && reason !== "TopicMismatch") ? "All" : "Scope"

/** What the pool does about a refusal. */
export const ofRefusal = (refusal: Reason.Classification): Provider.AnswerPolicy => {
  const { action, reason, reconnect, status } = refusal
  const { policy } = Provider.accepted
  switch (action) {
    case "RenewAuthorization":
      return { ...policy, renew: "Authorization", retire: true }
    case "Reconnect":
      return { ...policy, renew: "Connection", retire: true }
    default:
      return {
        renew: "Nothing",
        // A single failure does not retire the connection, unless the server says that it shuts down.
        retire: reconnect && (status < 500 || reason === "Shutdown"),
        fault: action === "FixConfiguration" ? reachOf(refusal) : "None",
        isServerError: status >= 500
      }
  }
}

/** Judges an answer. `now` returns milliseconds since 1970. */
export const judge = (
  { body, status }: Message.Response,
  now: () => number
): Provider.Judgement<Reason.Classification> => {
  if (status < 300) return Provider.accepted
  const refusal = Reason.classifyBody(status, Reason.parseAnswer(text.decode(body), now()))
  return { policy: ofRefusal(refusal), refusal }
}

/** The configuration fault in a GOAWAY's debug data, if there is one. An unknown reason may be transient. */
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
 * The configuration fault that the end of a connection reports, if there is one: in any GOAWAY, or as a rejected
 * certificate.
 */
const faultAtEnd = ({ goaway, rejection }: Ending): ApnsError.ApnsError | undefined =>
  (goaway && faultAmong(Message.textsOf(goaway))) ?? (rejection && judgeDial(rejection))

/** Whether the end of a connection reports an expired provider token. */
const isTokenExpired = ({ goaway }: Ending): boolean =>
  goaway !== undefined && Message.textsOf(goaway).some((text) => {
    const { reason } = Reason.parseBody(text)
    return Reason.isReason(reason) && Reason.table[reason].action === "RenewAuthorization"
  })

/** Judges the end of a connection: a configuration fault, an expired provider token, or neither. */
export const judgeEnd = (end: Ending): ApnsError.ApnsError | "Expired" | undefined =>
  faultAtEnd(end) ?? (isTokenExpired(end) ? "Expired" : undefined)

/** Judges a connection that did not open: a configuration fault, or `undefined` for a transient failure. */
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

/** The failure of a push whose request has no answer, or is invalid. */
export const failureOf = (error: Http2Error.Http2Error): ApnsError.ApnsErrorReason => {
  const reason = Unanswered.reasonOf(error)
  return "rule" in reason ? new ApnsError.InvalidNotification({ field: "headers", rule: reason.rule }) : reason
}
