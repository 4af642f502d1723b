/**
 * What a pool of connections has to know of the service that it sends to.
 *
 * A provider judges: what an answer, a good-bye and a connection that can't be
 * opened mean. And it speaks: every failure of a push is an error of its own,
 * `E`. It is a value without a state; what it decides depends on nothing but
 * what it is given. All else, such as when to send again and when to stop, is
 * the same for every service, and the pool's.
 */
import type * as Duration from "effect/Duration"
import type { Http2Error, Message } from "../../http2/index.ts"

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/** Headers as they are, names in lower case. */
export type Headers = ReadonlyArray<readonly [name: string, value: string]>

/** A request, but for `authorization`. */
export interface Request {
  readonly method: string
  readonly path: string
  /** Headers that many requests have in common: the same array for all of them. */
  readonly shared: Headers
  readonly headers: ReadonlyArray<Message.Header>
  readonly body: Uint8Array | undefined
  /** Until when it may be sent, in milliseconds since 1970; `undefined` for no end. */
  readonly expiresAt: number | undefined
}

// -----------------------------------------------------------------------------
// Answers
// -----------------------------------------------------------------------------

/** What the pool does about an answer. */
export interface AnswerPolicy {
  /** What has to be new before the request is sent again; `"Nothing"` when it is over. */
  readonly renew: "Nothing" | "Authorization" | "Connection"
  /** Is the connection on which the answer came of no further use? */
  readonly retire: boolean
  /** Do other requests fail alike until somebody mends the configuration: all of this credential, those of its scope? */
  readonly fault: "None" | "Scope" | "All"
  /** Did the server fail? Twice in a row, and the connection is replaced. */
  readonly isServerError: boolean
}

/** Why the service refused a request. */
export interface Refusal {
  readonly status: number
  /** The service's word for it, where the answer had one. */
  readonly reason: string | undefined
}

/** An answer, judged once: whoever sent the request goes on with the refusal. */
export interface Judgement<out R extends Refusal> {
  readonly policy: AnswerPolicy
  /** `undefined` where the service took the request. */
  readonly refusal: R | undefined
}

/** The request was taken: nothing is to be done. */
export const accepted: Judgement<never> = {
  policy: { renew: "Nothing", retire: false, fault: "None", isServerError: false },
  refusal: undefined
}

// -----------------------------------------------------------------------------
// Failures
// -----------------------------------------------------------------------------

/** An error of the service, in words. */
export interface Failure {
  readonly message: string
}

/** The service's error for each way in which a request ends without being accepted. */
export interface Failures<in R extends Refusal, out E extends Failure> {
  /** It was answered, and refused. */
  readonly refused: (refusal: R) => E
  /** It left, or could not be written, and has no answer. */
  readonly unanswered: (error: Http2Error.Http2Error) => E
  /** It was certainly not processed, and sent again as often as it may be. */
  readonly unprocessed: (detail: string) => E
  /** There is no connection for it. */
  readonly notSent: (detail: string) => E
  /** It waited for a connection for too long; `detail` says what for, where that is known. */
  readonly timedOut: (after: Duration.Duration, detail: string | undefined) => E
  /** It was no longer wanted: see `expiresAt` of {@link Request}. */
  readonly expired: (expiresAt: number) => E
  /** The service calls the authorization expired, and another can't be had yet: a fault of all requests. */
  readonly unauthorized: () => E
}

// -----------------------------------------------------------------------------
// The provider
// -----------------------------------------------------------------------------

/** A push service, as the pool sees it. */
export interface Provider<R extends Refusal, E extends Failure> {
  /** What people call the service, for messages. */
  readonly name: string
  /** Judges an answer. `now` gives milliseconds since 1970: few answers need to know. */
  readonly judge: (response: Message.Response, now: () => number) => Judgement<R>
  /** What the end of a connection tells: a fault of the configuration, or that the authorization is too old. */
  readonly judgeEnd: (ending: Pick<Message.Ending, "goaway" | "rejection">) => E | "Expired" | undefined
  /** The fault of the configuration for which a connection can't be opened, if it is one: it won't pass by itself. */
  readonly judgeDial: (error: Http2Error.Http2Error) => E | undefined
  readonly failures: Failures<R, E>
  /** What has a circuit of its own: requests of one scope are refused alike. */
  readonly scopeOf: (request: Request) => string
  /** Does a shared header come again with the next notification, so that the server may remember its value? */
  readonly isRepeated: (name: string) => boolean
}
