/**
 * How a simulator of FCM misbehaves: dead tokens, refusals, quotas, strange, slow, cut
 * and missing answers, GOAWAY frames, a clock that differs. A script is data.
 */
import * as Duration from "effect/Duration"
import { Behaviour as Base } from "../push/index.ts"
import * as Answers from "./answers.ts"

/**
 * An answer that refuses a push.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal extends Answers.Refusal {}

/**
 * What happens to a push that would otherwise be accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type Behaviour = Base.Behaviour<Refusal>

/**
 * Refuses a push in Google's form.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (
  status: number,
  errorCode?: string,
  options: { readonly message?: string | undefined; readonly retryAfter?: Duration.Input | undefined } = {}
): Behaviour => ({
  _tag: "Refuse",
  ...Answers.refusal(status, {
    errorCode,
    message: options.message,
    retryAfter: options.retryAfter === undefined ? undefined : Duration.fromInputUnsafe(options.retryAfter)
  })
})

/**
 * Answers with any status and text, as proxies and login portals do.
 *
 * @category constructors
 * @since 0.1.0
 */
export const raw = (status: number, body = "", contentType = "text/html"): Behaviour => ({
  _tag: "Refuse",
  status,
  body,
  headers: { "content-type": contentType },
  reason: undefined
})

/**
 * Accepts a push after this long.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delay: (duration: Duration.Input) => Behaviour = Base.delay

/**
 * Ends the connection instead of answering, so that the sender can't know whether the push was accepted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutBefore: Behaviour = Base.cutBefore

/**
 * Accepts a push and ends the connection right after the answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutAfter: Behaviour = Base.cutAfter

/**
 * Resets the stream of a push with an HTTP/2 error code. Default: 7 (REFUSED_STREAM), which means that it was not processed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reset: (code?: number) => Behaviour = Base.reset

/**
 * Never answers a push.
 *
 * @category constructors
 * @since 0.1.0
 */
export const silence: Behaviour = Base.silence

/**
 * A quota: so many messages in a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Quota {
  readonly messages: number
  readonly per: Duration.Input
  /** The answer's Retry-After. Default: none. */
  readonly retryAfter?: Duration.Input | undefined
}

/**
 * A GOAWAY frame. Google's debug data is plain text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Goaway {
  /** The HTTP/2 error code. Default: 0. */
  readonly code?: number | undefined
  /** Default: `server_shutting_down`. */
  readonly debug?: string | undefined
  /** At most this many of the newest open streams are reported as not processed. Default: 0. */
  readonly unprocessed?: number | undefined
}

/**
 * How a simulator misbehaves. An empty script changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script extends Base.Rules<Behaviour> {
  /** Tokens and installation ids that are dead. */
  readonly dead?: ReadonlyArray<string> | undefined
  /** Tokens of another project. */
  readonly foreign?: ReadonlyArray<string> | undefined
  /** Tokens of iOS and browsers, while the project has no valid key for them. */
  readonly withoutKey?: ReadonlyArray<string> | undefined
  /** Projects whose API is not enabled. */
  readonly disabled?: ReadonlyArray<string> | undefined
  readonly quota?: {
    /** Of each project. */
    readonly project?: Quota | undefined
    /** Of each token. */
    readonly device?: Quota | undefined
    /** Of each topic. */
    readonly topic?: Quota | undefined
  } | undefined
  /** How long every answer takes. Default: 0. */
  readonly delay?: Duration.Input | undefined
  /** Sends a GOAWAY on a connection after each `everyPushes` pushes, or on all connections after each `every`. */
  readonly goaway?:
    | Goaway & { readonly everyPushes?: number | undefined; readonly every?: Duration.Input | undefined }
    | undefined
  /** Closes a connection that is idle for so long, with a GOAWAY or without. Default: never. */
  readonly idle?: { readonly after: Duration.Input; readonly how?: "Goaway" | "Cut" | undefined } | undefined
  readonly tokens?: {
    /** How long a new access token is valid. Default: 3599 seconds. */
    readonly lifetime?: Duration.Input | undefined
    /** How far the simulator's clock is ahead. Negative: behind. Default: 0. */
    readonly clockAhead?: Duration.Input | undefined
    /** The token host answers with this status. Default: as Google does. */
    readonly status?: number | undefined
    /** Calls all tokens expired that were issued before this count: 1 expires none. Default: 1. */
    readonly validFrom?: number | undefined
  } | undefined
}
