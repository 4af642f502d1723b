/**
 * Where a consumer's reserve begins.
 *
 * A queue's table has dead rows before its live ones, which every scan from the
 * beginning reads again: with a million of them, held by somebody's open
 * transaction, that takes a quarter of a second. So a reserve begins at the
 * first job of the one before. A *sweep* begins at the very beginning: after
 * everything that may have made an earlier job ready, and once in a while,
 * since ids are handed out before their transactions commit. Pure, but for its
 * own state.
 */

/** A place in the order in which jobs are served. */
export interface Place {
  readonly priority: number
  readonly id: number
}

/** The very beginning. */
export const beginning: Place = { priority: 0, id: 0 }

/** Milliseconds between two sweeps at least. */
const sweepEvery = 100
/** A sweep takes at most a part of the time. */
const share = 20

/** Where a consumer begins, and when it sweeps. Times are milliseconds. */
export class Mark {
  private place: Place | undefined
  private nextSweep = 0

  /** Where to begin now. */
  from(now: number): Place {
    return this.place === undefined || now >= this.nextSweep ? beginning : this.place
  }

  /** A reserve found jobs, of which this is the first. */
  found(first: Place): void {
    this.place = first
  }

  /** A sweep began and ended. */
  swept(from: number, to: number): void {
    this.nextSweep = to + Math.max(sweepEvery, share * (to - from))
  }

  /** Jobs of a priority were put after all others. */
  put(priority: number): void {
    if (this.place !== undefined && priority < this.place.priority) this.reset()
  }

  /** An earlier job may be ready. */
  reset(): void {
    this.place = undefined
  }
}
