/**
 * The operator's wish that the program ends: SIGINT or SIGTERM once for "come
 * to an end", twice for "at once". A command decides what the first means for
 * it; the second ends every program.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** When the program is to end. Without signals: never. */
export const Shutdown = Context.Reference<{
  /** Completes when the program is asked to come to an end. */
  readonly asked: Effect.Effect<void>
  /** Completes when it is told to end at once: what it started has to go now. */
  readonly forced: Effect.Effect<void>
}>("backq/cli/Shutdown", { defaultValue: () => ({ asked: Effect.never, forced: Effect.never }) })
