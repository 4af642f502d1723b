/**
 * What a pool of connections must know about a push service.
 *
 * A provider judges what an answer, a GOAWAY and a failed connection mean, and makes
 * the errors `E` of its service. It is a value without state, and its functions are
 * pure. Everything else, such as when to send again, is the same for every service:
 * the pool does it.
 */
import type * as Duration from "effect/Duration"
import type { Http2Error, Message } from "../../http2/index.ts"

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/** Headers, with names in lower case. */
export type Headers = ReadonlyArray<readonly [name: string, value: string]>

/** A request without its `authorization` header. */
export interface Request {
  readonly method: string
  readonly path: string
  /** Headers that many requests have in common: the same array for all of them. */
  readonly shared: Headers
  readonly headers: ReadonlyArray<Message.Header>
  readonly body: Uint8Array | undefined
  /** The deadline to send it, in milliseconds since 1970; `undefined` for none. */
  readonly expiresAt: number | undefined
}

// -----------------------------------------------------------------------------
// Answers
// -----------------------------------------------------------------------------

/** What the pool does about an answer. */
export interface AnswerPolicy {
  /** What to renew before the request is sent again; `"Nothing"` if it has ended. */
  readonly renew: "Nothing" | "Authorization" | "Connection"
  /** Whether to retire the connection of the answer. */
  readonly retire: boolean
  /** Which requests fail the same way until an operator fixes the configuration: those of its scope, or all of the credential. */
  readonly fault: "None" | "Scope" | "All"
  /** Whether the server failed. After two such answers in a row the pool replaces the connection. */
  readonly isServerError: boolean
}

/** Why the service refused a request. */
export interface Refusal {
  readonly status: number
  /** The service's reason, if the answer has one. */
  readonly reason: string | undefined
}

/**
 * The service takes no more requests for a while, such as after a 429. Requests fail
 * at once until the pause ends, and then start slowly: see `pauses`.
 */
export interface Pause {
  /** Which requests pause: those of the request's scope, or all of the credential. */
  readonly reach: "Scope" | "All"
  /** How long, in milliseconds, if the service says so. Default: 60 seconds, doubled for each pause in a row. */
  readonly millis: number | undefined
}

/** The judgement of an answer. The sender of the request gets the refusal, so that nothing judges it twice. */
export interface Judgement<out R extends Refusal> {
  readonly policy: AnswerPolicy
  /** `undefined` if the service accepted the request. */
  readonly refusal: R | undefined
  /** The pause that a refusal asks for. The request itself ends with the refusal. */
  readonly pause?: Pause | undefined
}

/** The judgement of an accepted request. */
export const accepted: Judgement<never> = {
  policy: { renew: "Nothing", retire: false, fault: "None", isServerError: false },
  refusal: undefined
}

// -----------------------------------------------------------------------------
// Failures
// -----------------------------------------------------------------------------

/** An error of the service. */
export interface Failure {
  readonly message: string
}

/** Makes the service's error for each way in which a request can fail. */
export interface Failures<in R extends Refusal, out E extends Failure> {
  /** The service refused the request. */
  readonly refused: (refusal: R) => E
  /** The request was not sent, because this refusal paused its scope. `delay`: how long the pause still lasts. */
  readonly paused: (refusal: R, delay: Duration.Duration) => E
  /** The request has no answer: it left, or it is invalid. */
  readonly unanswered: (error: Http2Error.Http2Error) => E
  /** The service did not process the request, in any of its attempts. */
  readonly unprocessed: (detail: string) => E
  /** The pool found no connection for the request. */
  readonly notSent: (detail: string) => E
  /** The request waited too long for a connection. `detail` says why, if that is known. */
  readonly timedOut: (after: Duration.Duration, detail: string | undefined) => E
  /** The request expired before it was sent: see `expiresAt` of {@link Request}. */
  readonly expired: (expiresAt: number) => E
  /** The service says that the authorization has expired, and there can't be a new one yet. All requests fail. */
  readonly unauthorized: () => E
}

// -----------------------------------------------------------------------------
// The provider
// -----------------------------------------------------------------------------

/** A push service, from the point of view of the pool. */
export interface Provider<R extends Refusal, E extends Failure> {
  /** The name of the service, for messages. */
  readonly name: string
  /** Judges an answer. `now` returns milliseconds since 1970; few answers need it. */
  readonly judge: (response: Message.Response, now: () => number) => Judgement<R>
  /** Judges the end of a connection: a configuration fault, an expired authorization, or neither. */
  readonly judgeEnd: (ending: Pick<Message.Ending, "goaway" | "rejection">) => E | "Expired" | undefined
  /** Judges a connection that did not open: a configuration fault, or `undefined` for a transient failure. */
  readonly judgeDial: (error: Http2Error.Http2Error) => E | undefined
  readonly failures: Failures<R, E>
  /** The scope of a request. The service refuses all requests of a scope for the same fault, so each has a circuit. */
  readonly scopeOf: (request: Request) => string
  /** Whether a shared header repeats in other notifications, so that the server may store its value (HPACK). */
  readonly isRepeated: (name: string) => boolean
}
