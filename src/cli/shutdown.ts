/**
 * A request to stop: SIGINT, SIGTERM or SIGHUP. Each command decides how it
 * stops. The signals that end every program at once are in `main/signals.ts`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** The request to stop. Without signals it never comes. */
export const Shutdown = Context.Reference<{
  /** Completes when the program has to stop. */
  readonly asked: Effect.Effect<void>
}>("backq/cli/Shutdown", { defaultValue: () => ({ asked: Effect.never }) })
