/**
 * How a simulator misbehaves: refusals, slow, cut and missing answers, GOAWAY frames.
 *
 * A script is data. Its decision is a pure function of the script, the subscription, and
 * how many messages this subscription has had.
 */
import * as Duration from "effect/Duration"
import { Behaviour as Base } from "../push/index.ts"
import type { Refusal } from "./Personality.ts"

/**
 * What happens to a message that would otherwise be accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type Behaviour = Base.Behaviour<{
  readonly refusal: Refusal
  readonly retryAfter: Duration.Duration | undefined
}>

/**
 * Refuses a message in the words of the push service.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (
  refusal: Refusal,
  options: { readonly retryAfter?: Duration.Input | undefined } = {}
): Behaviour => ({
  _tag: "Refuse",
  refusal,
  retryAfter: options.retryAfter === undefined ? undefined : Duration.fromInputUnsafe(options.retryAfter)
})

/**
 * Accepts a message after this long.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delay: (duration: Duration.Input) => Behaviour = Base.delay

/**
 * Ends the connection instead of answering.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutBefore: Behaviour = Base.cutBefore

/**
 * Accepts a message and ends the connection right after the answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cutAfter: Behaviour = Base.cutAfter

/**
 * Resets the stream of a message with an HTTP/2 error code. Default: 7 (REFUSED_STREAM): it was not processed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reset: (code?: number) => Behaviour = Base.reset

/**
 * Never answers a message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const silence: Behaviour = Base.silence

/**
 * Which messages get a behaviour.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule extends Base.Rule<Behaviour> {
  readonly do: Behaviour
  /** The share of the messages, from 0 to 1. The shares of several rules add up. Default: 1. */
  readonly share?: number | undefined
  /** The ends of endpoints: the ids of subscriptions. Default: all. */
  readonly targets?: ReadonlyArray<string> | undefined
  /** Only the first messages to each subscription, at most this many. Default: all. */
  readonly times?: number | undefined
}

/**
 * How a simulator misbehaves. An empty script changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script {
  /** With another seed the same shares affect other messages. Default: 0. */
  readonly seed?: number | undefined
  /** The first rule that applies decides. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** Decides when no rule applies. */
  readonly decide?: ((push: Base.Target) => Behaviour | undefined) | undefined
  /** How long every answer takes. Default: 0. */
  readonly delay?: Duration.Input | undefined
  /** Sends a GOAWAY on a connection after so many messages. Default: never. */
  readonly goawayEvery?: number | undefined
}
