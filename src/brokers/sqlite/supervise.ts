/**
 * Background work that goes on whatever happens: what it throws outside of
 * Effect's error channel ends one round of it, is logged, and the next begins.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Between two rounds that failed. */
const rest = "100 millis"

/** Seconds in which the same fault is told once. */
const quiet = 60

/**
 * Repeats a round for ever. `onFault` is called with what a round died of, so that nobody waits for what it left
 * undone.
 */
export const forever = (
  what: string,
  round: Effect.Effect<unknown>,
  onFault: (fault: unknown) => void = () => {}
): Effect.Effect<never> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const seconds = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e9
    let toldAt = -Infinity
    const failed = (fault: unknown) =>
      Effect.suspend(() => {
        onFault(fault)
        const isKnown = seconds() - toldAt < quiet
        if (!isKnown) toldAt = seconds()
        return isKnown ? Effect.void : Effect.logError(`${what} failed, and begins anew`, fault)
      }).pipe(Effect.andThen(Effect.sleep(rest)))
    return yield* Effect.forever(Effect.catchDefect(Effect.forever(round), failed))
  })
