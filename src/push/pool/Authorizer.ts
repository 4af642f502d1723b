/** What requests are authorized with, and where it comes from. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/** The header `authorization`, for as long as it is good. */
export interface Authorization {
  readonly value: Redacted.Redacted
  /** 1 for the first, then one more each. */
  readonly generation: number
  /** It is good in this time, in milliseconds since 1970: the end is when another takes its place. */
  readonly from: number
  readonly until: number
}

/** Gives the authorization of one credential. It keeps the rules of its service on how often that may change. */
export interface Authorizer {
  /** The one to send now. Makes a new one when it is time. */
  readonly current: Effect.Effect<Authorization>
  /**
   * The service called the one of this generation expired. Gives the one to try
   * again with; with the same generation where there can be no other yet.
   */
  readonly expired: (generation: number) => Effect.Effect<Authorization>
}
