/**
 * What a simulator does with a push that it would otherwise accept.
 *
 * The decision is a pure function of the rules, the target of a push, and how many
 * pushes this target has had. So the n-th push to a target is treated the same in
 * every run, whatever the order in which pushes arrive.
 */
import * as Duration from "effect/Duration"
import { answer, type Reaction } from "./Connection.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** What happens to a push. `R` is how the service refuses it. */
export type Behaviour<R> =
  /** The simulator refuses it. */
  | { readonly _tag: "Refuse" } & R
  /** The simulator accepts it later. */
  | { readonly _tag: "Delay"; readonly duration: Duration.Duration }
  /** The simulator ends the connection without an answer. */
  | { readonly _tag: "CutBefore" }
  /** The simulator accepts it and ends the connection. */
  | { readonly _tag: "CutAfter" }
  /** The simulator resets its stream with an HTTP/2 error code. */
  | { readonly _tag: "Reset"; readonly code: number }
  /** The simulator never answers. */
  | { readonly _tag: "Silence" }

/** A behaviour that is no refusal. */
export type Misbehaviour = Exclude<Behaviour<unknown>, { readonly _tag: "Refuse" }>

/** Which pushes get a behaviour. Default: all. */
export interface Rule<out B> {
  readonly do: B
  readonly share?: number | undefined
  readonly targets?: ReadonlyArray<string> | undefined
  readonly times?: number | undefined
}

/** The target of a push, and how many pushes it has had, including this one. */
export interface Target {
  readonly target: string
  readonly nth: number
}

/** What a script says about pushes. */
export interface Rules<out B> {
  readonly seed?: number | undefined
  readonly rules?: ReadonlyArray<Rule<B>> | undefined
  readonly decide?: ((push: Target) => B | undefined) | undefined
}

/** Accepts a push after this long. */
export const delay = (duration: Duration.Input): Misbehaviour => ({
  _tag: "Delay",
  duration: Duration.fromInputUnsafe(duration)
})

/** Ends the connection instead of answering. */
export const cutBefore: Misbehaviour = { _tag: "CutBefore" }

/** Accepts a push and ends the connection right after the answer. */
export const cutAfter: Misbehaviour = { _tag: "CutAfter" }

/** Resets the stream of a push with an HTTP/2 error code. Default: 7 (REFUSED_STREAM): it was not processed. */
export const reset = (code = 7): Misbehaviour => ({ _tag: "Reset", code })

/** Never answers a push. */
export const silence: Misbehaviour = { _tag: "Silence" }

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

/** Decides on a push that would otherwise be accepted; `undefined` accepts it. */
export type Decide<out B> = (target: string) => B | undefined

/** Compiles rules to a function, which counts the pushes to each target. */
export const compile = <B>({ decide, rules: given = [], seed = 0 }: Rules<B>): Decide<B> => {
  const rules = given.map((rule) => ({
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

/** The header of a refusal that says when to try again; none without a time. */
export const retryAfterHeader = (after: Duration.Duration | undefined): Readonly<Record<string, string>> =>
  after === undefined ? {} : { "retry-after": String(Math.ceil(Duration.toSeconds(after))) }

/** The reaction to a push with this behaviour. `accepted` is the answer of an accepted push. */
export const reactionOf = (
  behaviour: Misbehaviour | undefined,
  accepted: {
    readonly headers: Readonly<Record<string, string>>
    readonly status: number
    readonly body: string
    /** In milliseconds. */
    readonly delay: number
  }
): Reaction => {
  const { body, headers, status } = accepted
  switch (behaviour?._tag) {
    case undefined:
      return answer(headers, status, body, accepted)
    case "Delay":
      return answer(headers, status, body, { delay: Duration.toMillis(behaviour.duration) })
    case "CutAfter":
      return answer(headers, status, body, { delay: accepted.delay, cut: true })
    case "CutBefore":
      return { _tag: "Cut" }
    case "Reset":
    case "Silence":
      return behaviour
  }
}
