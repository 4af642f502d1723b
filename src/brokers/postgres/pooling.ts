/**
 * Whether a pooler in transaction mode is between this program and the server.
 *
 * Behind one a session is nobody's own: it keeps no settings, no locks, and what
 * it listens for never arrives. The broker then polls, and says by heartbeats
 * that it is alive. It finds out by itself, and logs it once.
 */
import * as Effect from "effect/Effect"

/** What a user says of a pooler: `auto` finds out, `none` insists on sessions of its own. */
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

  /** Is a pooler there, as far as is known? */
  get isPooled(): boolean {
    return this.mode === "transaction" || this.isFound
  }

  /** May a pooler be there that nobody named? */
  get isOpen(): boolean {
    return this.mode === "auto" && !this.isFound
  }

  /** A pooler was found. */
  readonly found: Effect.Effect<void> = Effect.suspend(() => {
    if (this.isPooled) return Effect.void
    this.isFound = true
    return Effect.logWarning(
      `${this.broker} is behind a pooler in transaction mode: the broker polls for jobs, and those of a dead worker ` +
        "are ready after 10 seconds. Name a URL of the server itself in listen to be told of jobs at once, or set " +
        "pooler=transaction to silence this"
    )
  })
}
