/**
 * Keeps background work running. A defect ends one round of the work and is
 * logged; then the next round begins.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** The pause after a defect. */
const pauseAfterFault = "100 millis"

/** After a defect was logged, others are not logged for this time. */
const quietSeconds = 60

/** Repeats a round forever. `onFault` gets each defect, and must fail what the round left unfinished. */
export const forever = (
  what: string,
  round: Effect.Effect<unknown>,
  onFault: (fault: unknown) => void = () => {}
): Effect.Effect<never> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const seconds = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e9
    let loggedAt = -Infinity
    const failed = (fault: unknown) =>
      Effect.suspend(() => {
        onFault(fault)
        const isQuiet = seconds() - loggedAt < quietSeconds
        if (!isQuiet) loggedAt = seconds()
        return isQuiet ? Effect.void : Effect.logError(`${what} failed and starts again`, fault)
      }).pipe(Effect.andThen(Effect.sleep(pauseAfterFault)))
    return yield* Effect.forever(Effect.catchDefect(Effect.forever(round), failed))
  })
