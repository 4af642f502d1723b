/**
 * The operator's wish that the program comes to an end: SIGINT, SIGTERM or
 * SIGHUP. A command decides what that means for it; what ends every program at
 * once is in `main/signals.ts`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** When the program is to end. Without signals: never. */
export const Shutdown = Context.Reference<{
  /** Completes when the program is asked to come to an end. */
  readonly asked: Effect.Effect<void>
}>("backq/cli/Shutdown", { defaultValue: () => ({ asked: Effect.never }) })
