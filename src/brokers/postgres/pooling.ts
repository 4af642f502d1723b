/**
 * Whether a pooler in transaction mode is between this program and the server.
 *
 * Behind one, a session keeps no settings and no locks, and receives no
 * notifications. The broker then polls and sends heartbeats. It detects the pooler
 * itself and logs it once.
 */
import * as Effect from "effect/Effect"

/** The option `pooler`: `auto` detects one, `none` requires sessions. */
export type Mode = "auto" | "none" | "transaction"

export const modes: ReadonlyArray<Mode> = ["auto", "none", "transaction"]

/** What is known of a pooler. */
export class Pooling {
  private readonly broker: string
  private readonly mode: Mode
  private isFound = false

  constructor(broker: string, mode: Mode) {
    this.broker = broker
    this.mode = mode
  }

  /** Whether a pooler is known to be there. */
  get isPooled(): boolean {
    return this.mode === "transaction" || this.isFound
  }

  /** Whether there may be a pooler that no option names. */
  get isOpen(): boolean {
    return this.mode === "auto" && !this.isFound
  }

  /** A pooler was found, or `listen` names another database or a pooler. */
  readonly found = (option?: "listen"): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.isPooled) return Effect.void
      this.isFound = true
      const why = option === undefined
        ? `${this.broker} is behind a pooler in transaction mode`
        : `${this.broker}: ${option} must be a URL of the same database without a pooler, and nothing is heard there`
      const todo = option === undefined
        ? ". Name a URL of the server itself in listen to be told of jobs at once, or set pooler=transaction to silence this"
        : ""
      return Effect.logWarning(
        `${why}: the broker polls for jobs, and those of a dead worker are ready after 10 seconds${todo}`
      )
    })
}
