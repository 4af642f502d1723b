/**
 * Lets one fiber wait for a condition. The code that may fulfil the condition
 * calls `check`, and the waiting fiber goes on within that call. So the caller
 * decides in which order fibers go on, and no turn of the event loop passes.
 */
import * as Effect from "effect/Effect"

interface Waiting {
  readonly isFulfilled: () => boolean
  readonly goOn: () => void
}

/** A place where one fiber waits. */
export class Gate {
  private waiting: Waiting | undefined

  /** Waits until the condition holds. */
  until(isFulfilled: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiting: Waiting = { isFulfilled, goOn: () => resume(Effect.void) }
      if (isFulfilled()) return waiting.goOn()
      this.waiting = waiting
      return Effect.sync(() => {
        if (this.waiting === waiting) this.waiting = undefined
      })
    })
  }

  /** Lets the waiting fiber go on if its condition holds. */
  check(): void {
    const { waiting } = this
    if (waiting === undefined || !waiting.isFulfilled()) return
    this.waiting = undefined
    waiting.goOn()
  }
}
