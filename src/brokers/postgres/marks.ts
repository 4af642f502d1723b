/**
 * Where a consumer's reserve begins.
 *
 * A queue's table has dead rows before its live ones, and every scan from the
 * beginning reads them again: with a million of them, kept by somebody's open
 * transaction, that takes a quarter of a second. So a reserve begins at the
 * first job of the reserve before it. What this process itself makes ready
 * moves the mark back to that job.
 *
 * A *sweep* begins at the very beginning. It finds the jobs that the mark
 * misses: more urgent ones of other processes, and those of long transactions,
 * since a job gets its id before its transaction commits. Sweeps take at most a
 * twentieth of the time. In health that is one in 20 ms while the queue has few
 * jobs, and one in 100 ms under load. Pure, but for its own state.
 */

/** A place in the order in which jobs are served. */
export interface Place {
  readonly priority: number
  readonly id: number
}

/** The very beginning. */
export const beginning: Place = { priority: 0, id: 0 }

/** The least pause between two sweeps under load. */
const sweepEveryMillis = 100
/** A pause after a sweep is at least this many times as long as the sweep. */
const share = 20

const isBefore = (a: Place, b: Place): boolean => a.priority < b.priority || a.priority === b.priority && a.id < b.id

/** The place that comes first. */
export const earliest = (a: Place, b: Place): Place => isBefore(b, a) ? b : a

/** Where a consumer begins, and when it sweeps. Times are milliseconds. */
export class Mark {
  /** `undefined` before the first job was found. */
  private place: Place | undefined
  /** What became ready since the last reserve began. */
  private ready: Place | undefined
  private nextSweep = 0
  private restUntil = 0

  /** Where a reserve begins now. */
  begin(now: number): Place {
    const { place, ready } = this
    this.ready = undefined
    if (place === undefined || now >= this.nextSweep) return beginning
    if (ready !== undefined) this.place = earliest(place, ready)
    return this.place!
  }

  /** Whether a reserve that found too few jobs may sweep. */
  maySweep(now: number): boolean {
    return now >= this.restUntil
  }

  /** A reserve found jobs, of which this is the first. */
  found(first: Place): void {
    this.place = first
  }

  /** A sweep began and ended. */
  swept(from: number, to: number): void {
    this.restUntil = to + share * (to - from)
    this.nextSweep = Math.max(this.restUntil, to + sweepEveryMillis)
  }

  /** A job at a place is ready. */
  lower(place: Place): void {
    this.ready = this.ready === undefined ? place : earliest(this.ready, place)
  }

  /** Another process made jobs ready, nearly always after all others. */
  suspect(): void {
    this.nextSweep = Math.min(this.nextSweep, this.restUntil)
  }
}
