/**
 * Handles the signals that end a program.
 *
 * SIGTERM, SIGINT and SIGHUP ask it to end. A second SIGTERM or SIGINT, or
 * SIGQUIT at any time, ends it at once: its processes get SIGTERM, and SIGKILL a
 * second later; then it exits with 130. A second SIGHUP has no effect, since
 * shells and terminals send several.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { Process } from "../process/index.ts"

/** The exit code of a program that a signal ended. */
export const interrupted = 130

/** How long a forced end may take at most. */
const maxForcedEndMillis = 1000

const exitSoon = Effect.andThen(Effect.sleep(maxForcedEndMillis), Effect.sync(() => process.exit(interrupted)))

/** The signals that came so far. */
export interface Signals {
  /** Completes when a signal asks the program to end. */
  readonly asked: Effect.Effect<void>
  /** Whether a signal asked the program to end. */
  readonly isAsked: () => boolean
  /** Whether a signal ends the program at once. */
  readonly isForced: () => boolean
  /** Stops listening: signals have their default effect again. */
  readonly close: () => void
}

/** Starts to listen. Calls `onAsked` once, at the first signal. */
export const listen = (onAsked: () => void): Signals => {
  const asked = Deferred.makeUnsafe<void>()
  let isAsked = false
  let isForced = false
  const ask = () => {
    if (isAsked) return
    isAsked = true
    Deferred.doneUnsafe(asked, Effect.void)
    onAsked()
  }
  const force = () => {
    if (isForced) return
    isForced = true
    Effect.runFork(Effect.andThen(Process.endAll, exitSoon))
    ask()
  }
  const askOrForce = () => isAsked ? force() : ask()
  const listeners = [["SIGHUP", ask], ["SIGINT", askOrForce], ["SIGTERM", askOrForce], ["SIGQUIT", force]] as const
  for (const [name, listener] of listeners) process.on(name, listener)
  return {
    asked: Deferred.await(asked),
    isAsked: () => isAsked,
    isForced: () => isForced,
    close: () => {
      for (const [name, listener] of listeners) process.removeListener(name, listener)
    }
  }
}
