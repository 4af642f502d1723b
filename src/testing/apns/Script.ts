/**
 * How a simulator misbehaves: dead tokens, refusals, slow, cut and missing
 * answers, GOAWAY frames, limits on streams.
 *
 * A script is data. Its decision is a pure function of the script, the target of
 * a push, and how many pushes this target has had. So it treats the n-th push to
 * a token the same in every run, whatever the order in which pushes arrive.
 */
import * as Duration from "effect/Duration"
import type { Reason } from "../../push/apns/index.ts"
import { Behaviour as Base } from "../push/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What happens to a push that would otherwise be accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type Behaviour = Base.Behaviour<{
  readonly reason: Reason.Reason
  readonly retryAfter: Duration.Duration | undefined
}>

/**
 * Refuses a push with one of Apple's reasons.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (
  reason: Reason.Reason,
  options: { readonly retryAfter?: Duration.Input | undefined } = {}
): Behaviour => ({
  _tag: "Refuse",
  reason,
  retryAfter: options.retryAfter === undefined ? undefined : Duration.fromInputUnsafe(options.retryAfter)
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
 * Which pushes get a behaviour. Default: all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly do: Behaviour
  /**
   * The share of the pushes, from 0 to 1. The shares of several rules add up: 0.1
   * and 0.2 together affect three of ten pushes. Default: 1.
   */
  readonly share?: number | undefined
  /** The device tokens, or channel ids. Default: all. */
  readonly targets?: ReadonlyArray<string> | undefined
  /** Only the first pushes to each target, at most this many. Default: all. */
  readonly times?: number | undefined
}

/**
 * A dead device token.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dead {
  /** When it died, in milliseconds since the epoch. */
  readonly since: number
  /** Apple's reason. Default: `"Unregistered"`. */
  readonly reason?: "Unregistered" | "ExpiredToken" | undefined
}

/**
 * A GOAWAY frame (RFC 9113, section 6.8). The connection ends after the open streams are answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Goaway {
  /** The HTTP/2 error code. Default: 0 (NO_ERROR). */
  readonly code?: number | undefined
  /** The reason in the debug data, as APNs writes it. Default: no debug data. */
  readonly reason?: string | undefined
  /** At most this many of the newest open streams are reported as not processed. Default: 0. */
  readonly unprocessed?: number | undefined
}

/**
 * How a simulator misbehaves. An empty script changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script {
  /** With another seed the same shares affect other pushes. Default: 0. */
  readonly seed?: number | undefined
  /** The dead device tokens. */
  readonly dead?: Readonly<Record<string, Dead>> | undefined
  /** The bundle ids of device tokens. A push with the topic of another app is refused. Default: every topic fits. */
  readonly apps?: Readonly<Record<string, string>> | undefined
  /** The first rule that applies decides. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** Decides when no rule applies. */
  readonly decide?: ((push: Target) => Behaviour | undefined) | undefined
  /** How long every answer takes. Default: 0. */
  readonly delay?: Duration.Input | undefined
  /** Sends a GOAWAY on a connection after each `everyPushes` pushes, or on all connections after each `every`. */
  readonly goaway?:
    | Goaway & { readonly everyPushes?: number | undefined; readonly every?: Duration.Input | undefined }
    | undefined
  /** SETTINGS_MAX_CONCURRENT_STREAMS. A change also applies to open connections. */
  readonly maxStreams?: {
    /** Until a push with a provider token is accepted. Default: 1. */
    readonly before?: number | undefined
    /** After that, and with a certificate from the start. Default: 1000. */
    readonly after?: number | undefined
    /** After this many refusals on a connection `before` applies again, until a push is accepted. Default: never. */
    readonly refusals?: number | undefined
  } | undefined
  /**
   * After how many refusals (4xx) in a row the simulator closes the connection with a GOAWAY. An accepted push ends the
   * row. A dead token (410) does not count. Default: never.
   */
  readonly patience?: {
    /** At this many refusals in a row. */
    readonly refusals?: number | undefined
    /** At this many pushes to bad device tokens in a row. */
    readonly badTokens?: number | undefined
  } | undefined
}

/**
 * The target of a push.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  /** The device token or the channel id. */
  readonly target: string
  /** How many pushes this target has had, including this one. */
  readonly nth: number
}

// -----------------------------------------------------------------------------
// Deciding
// -----------------------------------------------------------------------------

/**
 * Decides on a push that would otherwise be accepted; `undefined` accepts it.
 *
 * @category models
 * @since 0.1.0
 */
export type Decide = Base.Decide<Behaviour>

/**
 * Compiles a script to a function, which counts the pushes to each target.
 *
 * @category functions
 * @since 0.1.0
 */
export const compile = (script: Script): Decide => Base.compile(script)
