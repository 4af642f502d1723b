/**
 * What a simulator is to do beside checking requests: dead tokens, refusals,
 * slow, cut and missing answers, GOAWAY frames, limits on streams.
 *
 * A script is data, and what it decides is a pure function of the script, the
 * target of a push, and how many pushes this target has had. Hence the same
 * script gives the n-th push to a token the same fate in every run, whatever
 * the order in which pushes arrive.
 */
import * as Duration from "effect/Duration"
import type { Reason } from "../../push/apns/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What happens to a push that would have been accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type Behaviour =
  /** It is refused. */
  | { readonly _tag: "Refuse"; readonly reason: Reason.Reason; readonly retryAfter: Duration.Duration | undefined }
  /** It is accepted, later. */
  | { readonly _tag: "Delay"; readonly duration: Duration.Duration }
  /** The connection ends without an answer. */
  | { readonly _tag: "CutBefore" }
  /** It is accepted, and the connection ends. */
  | { readonly _tag: "CutAfter" }
  /** Its stream is reset, with an HTTP/2 error code. */
  | { readonly _tag: "Reset"; readonly code: number }
  /** It is never answered. */
  | { readonly _tag: "Silence" }

/**
 * Refuses a push for one of Apple's reasons.
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
 * Answers a push after some time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delay = (duration: Duration.Input): Behaviour => ({
  _tag: "Delay",
  duration: Duration.fromInputUnsafe(duration)
})

/**
 * Ends the connection instead of an answer: the sender can't know whether the push was accepted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutBefore: Behaviour = { _tag: "CutBefore" }

/**
 * Answers a push, and ends the connection right after.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutAfter: Behaviour = { _tag: "CutAfter" }

/**
 * Resets the stream of a push. Default: 7 (REFUSED_STREAM), which says that it was not processed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reset = (code = 7): Behaviour => ({ _tag: "Reset", code })

/**
 * Leaves a push without an answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const silence: Behaviour = { _tag: "Silence" }

/**
 * Which pushes a behaviour is for. Without a limit: all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly do: Behaviour
  /**
   * The share of the pushes, 0 to 1. The shares of several rules add up: with
   * 0.1 and 0.2, three of ten pushes are hit. Default: 1.
   */
  readonly share?: number | undefined
  /** The device tokens, or channel ids. Default: all. */
  readonly targets?: ReadonlyArray<string> | undefined
  /** Only so many pushes to each target, the first ones. Default: all. */
  readonly times?: number | undefined
}

/**
 * A device token that is dead.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dead {
  /** Since when: milliseconds since the epoch. */
  readonly since: number
  /** Default: `"Unregistered"`. */
  readonly reason?: "Unregistered" | "ExpiredToken" | undefined
}

/**
 * A GOAWAY frame (RFC 9113, section 6.8). The connection ends once what it had begun is answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Goaway {
  /** The HTTP/2 error code. Default: 0 (NO_ERROR). */
  readonly code?: number | undefined
  /** The reason in the debug data, as APNs gives it. Default: no debug data. */
  readonly reason?: string | undefined
  /** So many of the streams that are open, the newest, are said not to be processed. Default: 0. */
  readonly unprocessed?: number | undefined
}

/**
 * What a simulator is to do. Without a script it is an APNs on a good day.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script {
  /** Another seed hits other pushes with the same shares. Default: 0. */
  readonly seed?: number | undefined
  /** The device tokens that are dead. */
  readonly dead?: Readonly<Record<string, Dead>> | undefined
  /** The apps of device tokens, by bundle id; a push with the topic of another is refused. Default: every topic fits. */
  readonly apps?: Readonly<Record<string, string>> | undefined
  /** The first that applies decides. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** For what rules can't say; asked when no rule applies. */
  readonly decide?: ((push: Target) => Behaviour | undefined) | undefined
  /** How long every answer takes. Default: none. */
  readonly delay?: Duration.Input | undefined
  /** Sends a GOAWAY on a connection after every so many pushes, or on all after every so much time. */
  readonly goaway?:
    | Goaway & { readonly everyPushes?: number | undefined; readonly every?: Duration.Input | undefined }
    | undefined
  /** SETTINGS_MAX_CONCURRENT_STREAMS; a change reaches open connections. */
  readonly maxStreams?: {
    /** Until a push with a provider token was accepted. Default: 1. */
    readonly before?: number | undefined
    /** From then on, and with a certificate from the start. Default: 1000. */
    readonly after?: number | undefined
    /** After so many refusals on a connection it is `before` again, until a push is accepted. Default: never. */
    readonly refusals?: number | undefined
  } | undefined
  /**
   * How many refusals (4xx) APNs bears: then it closes the connection with a GOAWAY. An accepted push is the end of a
   * row, and a dead token (410) is no fault of the sender's. Default: any number.
   */
  readonly patience?: {
    /** So many refusals in a row. */
    readonly refusals?: number | undefined
    /** So many pushes to bad device tokens in a row. */
    readonly badTokens?: number | undefined
  } | undefined
}

/**
 * Where a push goes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  /** The device token or the channel id. */
  readonly target: string
  /** How many pushes this target has had, this one included. */
  readonly nth: number
}

// -----------------------------------------------------------------------------
// Deciding
// -----------------------------------------------------------------------------

/** A number from 0 to 1 for a push (FNV-1a, and the finalizer of MurmurHash3). */
const draw = (seed: number, { nth, target }: Target): number => {
  let hash = 0x811c9dc5
  const mix = (byte: number) => {
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  for (let index = 0; index < target.length; index++) mix(target.charCodeAt(index))
  for (let shift = 0; shift < 32; shift += 8) {
    mix((seed >>> shift) & 0xff)
    mix((nth >>> shift) & 0xff)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000
}

/**
 * What is to happen to a push that would be accepted; `undefined`: nothing special.
 *
 * @category models
 * @since 0.1.0
 */
export type Decide = (target: string) => Behaviour | undefined

/**
 * Makes the function that decides by a script; it counts the pushes to each target.
 *
 * @category functions
 * @since 0.1.0
 */
export const compile = (script: Script): Decide => {
  const { decide, seed = 0 } = script
  const rules = (script.rules ?? []).map((rule) => ({
    do: rule.do,
    share: rule.share ?? 1,
    times: rule.times ?? Infinity,
    targets: rule.targets === undefined ? undefined : new Set(rule.targets)
  }))
  if (rules.length === 0 && decide === undefined) return () => undefined
  const seen = new Map<string, number>()

  return (target) => {
    const nth = (seen.get(target) ?? 0) + 1
    seen.set(target, nth)
    let drawn = draw(seed, { target, nth })
    for (const rule of rules) {
      if (nth > rule.times || rule.targets?.has(target) === false) continue
      if (drawn < rule.share) return rule.do
      drawn -= rule.share
    }
    return decide?.({ target, nth })
  }
}
