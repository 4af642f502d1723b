/** The authorization of requests, and its source. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/** The value of the `authorization` header, and when it is valid. */
export interface Authorization {
  readonly value: Redacted.Redacted
  /** 1 for the first value; each new value adds 1. */
  readonly generation: number
  /** When it is valid, in milliseconds since 1970. At `until` a new value replaces it. */
  readonly from: number
  readonly until: number
}

/**
 * Makes the authorization of one credential. It obeys the service's limits on how often
 * that may change. `E` is the failure of an authorizer that asks a server: all requests
 * fail with it, and after a pause the next request tries again.
 */
export interface Authorizer<out E = never> {
  /** The authorization to send now. Makes a new one when the last expires. */
  readonly current: Effect.Effect<Authorization, E>
  /**
   * Call this when the service says that the authorization of this generation has
   * expired. Returns the one for the next attempt. It has the same generation if
   * the limits allow no new one yet.
   */
  readonly expired: (generation: number) => Effect.Effect<Authorization, E>
}
