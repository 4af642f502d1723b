/** The calls of `reserve` that wait for a job, the longest waiting first. */
import type { BrokerError } from "../../BrokerError.ts"

/** A call of `reserve` that waits, as far as it is counted and failed. */
export interface Waiter {
  readonly queues: ReadonlyArray<string>
  readonly failed: (error: BrokerError) => void
  /** Whether it has looked for jobs once, and found none. */
  isWaiting: boolean
}

/** The waiters of a process. A set, in the order in which they were added. */
export class WaiterSet<W extends Waiter> extends Set<W> {
  /** How many wait on each queue. */
  counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const waiter of this) {
      if (waiter.isWaiting) { for (const queue of waiter.queues) counts.set(queue, (counts.get(queue) ?? 0) + 1) }
    }
    return counts
  }

  /** How many wait, on any queue. */
  get waiting(): number {
    let waiting = 0
    for (const waiter of this) if (waiter.isWaiting) waiting++
    return waiting
  }

  /** Fails all waiters, or some of them, and removes them. */
  fail(error: BrokerError, which: (waiter: W) => boolean = () => true): void {
    for (const waiter of Array.from(this).filter(which)) {
      this.delete(waiter)
      waiter.failed(error)
    }
  }
}
