/** Waits for events elsewhere: in another process, on another connection. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/** Waits until a condition holds; fails with its name when that takes 40 seconds. */
export const eventually = <E = never, R = never>(
  what: string,
  condition: Effect.Effect<boolean, E, R> | (() => boolean)
): Effect.Effect<void, E, R> =>
  Effect.repeat(typeof condition === "function" ? Effect.sync(condition) : condition, {
    until: (holds) => holds,
    schedule: Schedule.spaced("10 millis")
  }).pipe(Effect.timeoutOrElse({
    duration: "40 seconds",
    orElse: () => Effect.die(new Error(`waited in vain: ${what}`))
  }))
