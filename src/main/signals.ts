/**
 * What the signals that end a program mean here.
 *
 * SIGTERM, SIGINT and SIGHUP ask it to come to an end. A second SIGTERM or
 * SIGINT, or SIGQUIT at any time, ends it at once: processes that it runs get
 * SIGTERM, and SIGKILL a second later; then it exits with 130. A second SIGHUP
 * means nothing: shells and terminals send several.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { Process } from "../process/index.ts"

/** The exit code of a program that a signal ended. */
export const interrupted = 130

/** How long the end may take that is to come at once. */
const lastTime = "1 second"

const exitSoon = Effect.andThen(Effect.sleep(lastTime), Effect.sync(() => process.exit(interrupted)))

/** What came so far. */
export interface Signals {
  /** Completes when the program is asked to come to an end. */
  readonly asked: Effect.Effect<void>
  /** Was the program asked to come to an end? */
  readonly isAsked: () => boolean
  /** Was it told to end at once? */
  readonly isForced: () => boolean
  /** Listens no more: signals do what they do without us. */
  readonly close: () => void
}

/** Listens from now on. `onAsked` is called once. */
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
