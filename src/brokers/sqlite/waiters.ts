/**
 * Those who wait for a job, and what wakes them.
 *
 * They are served within the transaction that made jobs ready, the longest
 * waiting first. While somebody waits, and only then, a fiber looks every
 * {@link tick} whether another process has changed the file (`PRAGMA
 * data_version`, which takes no lock) or a delay, a lease or a pause is over,
 * and every second whether a process that held leases has died. When nothing
 * has happened for a second it sleeps until the operating system tells of a
 * change.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { BrokerError } from "../../BrokerError.ts"
import * as Upkeep from "./supervise.ts"

/** Milliseconds. What another process puts starts within twice of it. */
export const tick = 25
/** How often the liveness of other processes is checked. */
const checkEvery = 1000
/** How often other processes are told who waits here, when that changes. */
const tellEvery = 100
/** After how long without a change the fiber sleeps. */
const quietAfter = 1000

/** A call of `reserve`. */
export interface Waiter<Lease> {
  readonly queues: ReadonlyArray<string>
  /** Leases what is ready now. To be called within a transaction. */
  readonly take: (now: number) => ReadonlyArray<Lease>
  readonly served: (leases: NonEmptyReadonlyArray<Lease>) => void
  readonly failed: (error: BrokerError) => void
  /** Has it looked for jobs already? */
  isWaiting: boolean
}

/** What tells of changes of the file. */
export interface Changes {
  /** Changes when another connection has committed, and where that can't be known. */
  readonly version: () => unknown
  /**
   * Waits until the file is not as it was at a version any more. It may be too early: the log is written before its
   * commit is seen. And once in a while too late.
   */
  readonly since: (version: unknown) => Effect.Effect<void>
  /** When time changes something next, in the file's microseconds. */
  readonly next: (now: number) => number
}

/** The other processes that have the file open. */
export interface Others {
  /** Returns to its queues what those that died held. */
  readonly check: Effect.Effect<void>
  /** Tells them how many wait here. Says whether it could. */
  readonly tell: (counts: ReadonlyMap<string, number>) => Effect.Effect<boolean>
}

/** What the waiters need of the file. */
export interface Source {
  readonly broker: string
  readonly clock: {
    /** The file's microseconds. */
    readonly now: () => number
    /** Milliseconds of a clock that nobody sets. */
    readonly monotonic: () => number
  }
  readonly changes: Changes
  readonly others: Others
  /** Begins a transaction soon. */
  readonly want: () => void
}

const sameCounts = (a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean =>
  a.size === b.size && Array.from(a).every(([queue, count]) => b.get(queue) === count)

export class Waiters<Lease> {
  private readonly all = new Set<Waiter<Lease>>()
  private readonly source: Source
  private changeAt = Infinity
  private wakeWatcher: (() => void) | undefined
  private knownElsewhere: ReadonlyMap<string, number> = new Map()
  private closed: BrokerError | undefined

  constructor(source: Source) {
    this.source = source
  }

  /** Enters a call, which looks for jobs in the next transaction. */
  add(waiter: Waiter<Lease>): void {
    if (this.closed !== undefined) return waiter.failed(this.closed)
    this.all.add(waiter)
    this.source.want()
  }

  /** Takes a call out, because nobody waits for it any more. */
  remove(waiter: Waiter<Lease>): void {
    this.all.delete(waiter)
  }

  /** How many wait on each queue. */
  counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const waiter of this.all) {
      if (waiter.isWaiting) { for (const queue of waiter.queues) counts.set(queue, (counts.get(queue) ?? 0) + 1) }
    }
    return counts
  }

  /** How many wait. */
  get size(): number {
    let waiting = 0
    for (const waiter of this.all) if (waiter.isWaiting) waiting++
    return waiting
  }

  /** Fails those who wait, and whoever comes from now on. */
  close(error: BrokerError): void {
    this.closed = error
    this.fail(error)
  }

  /**
   * Serves those who wait, until the turn is over. To be called within a transaction; what it returns, after its
   * COMMIT.
   */
  serve(now: number, isOver: () => boolean): () => void {
    if (this.all.size === 0) return () => {}
    const served: Array<readonly [Waiter<Lease>, NonEmptyReadonlyArray<Lease>]> = []
    const unserved: Array<Waiter<Lease>> = []
    for (const waiter of this.all) {
      // Who is served goes to the end. To look in vain is quick, and whoever did would be first the next time, too.
      if (served.length > 0 && isOver()) {
        this.source.want()
        break
      }
      const leases = waiter.take(now)
      if (isReadonlyArrayNonEmpty(leases)) served.push([waiter, leases])
      else unserved.push(waiter)
    }
    const changeAt = unserved.length > 0 ? this.source.changes.next(now) : Infinity
    return () => {
      for (const [waiter] of served) this.all.delete(waiter)
      for (const waiter of unserved) waiter.isWaiting = true
      this.changeAt = changeAt
      if (unserved.length > 0) this.wakeWatcher?.()
      for (const [waiter, leases] of served) {
        waiter.served(leases)
      }
    }
  }

  /** Looks for jobs again in a tick. */
  tryAgain(): void {
    this.changeAt = this.source.clock.now() + tick * 1000
    this.wakeWatcher?.()
  }

  /** Fails those who wait, or some of them. */
  fail(error: BrokerError, which: (waiter: Waiter<Lease>) => boolean = () => true): void {
    for (const waiter of Array.from(this.all).filter(which)) {
      this.all.delete(waiter)
      waiter.failed(error)
    }
  }

  /** Milliseconds until something becomes ready, or a limit. */
  private sleepFor(limit: number): number {
    return Math.max(1, Math.min(limit, Math.ceil((this.changeAt - this.source.clock.now()) / 1000)))
  }

  private readonly woken = Effect.callback<void>((resume) => {
    this.wakeWatcher = () => {
      this.wakeWatcher = undefined
      resume(Effect.void)
    }
  })

  private readonly somebodyWaits = Effect.suspend(() => this.all.size > 0 ? Effect.void : this.woken)

  /** Tells other processes when the numbers have changed. */
  private readonly tell = Effect.suspend(() => {
    const counts = this.counts()
    if (sameCounts(counts, this.knownElsewhere)) return Effect.void
    return Effect.map(this.source.others.tell(counts), (isTold) => {
      if (isTold) this.knownElsewhere = counts
    })
  })

  /** Watches for as long as it is not interrupted. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => {
    const { source } = this
    let version: unknown = undefined
    let [checkedAt, toldAt, changedAt] = [-Infinity, -Infinity, -Infinity]
    const changed = Effect.sync(() => {
      changedAt = source.clock.monotonic()
    })
    const look = Effect.gen({ self: this }, function*() {
      if (this.all.size === 0) {
        yield* this.tell
        yield* this.somebodyWaits
        yield* changed
      }
      const now = source.clock.monotonic()
      if (now - checkedAt >= checkEvery) {
        checkedAt = now
        yield* source.others.check
      }
      if (now - toldAt >= tellEvery) {
        toldAt = now
        yield* this.tell
      }
      const current = source.changes.version()
      if (current !== version || source.clock.now() >= this.changeAt) {
        version = current
        changedAt = now
        this.changeAt = Infinity
        source.want()
      }
      if (now - changedAt < quietAfter) return yield* Effect.sleep(this.sleepFor(tick))
      yield* Effect.raceAllFirst([
        this.woken,
        // what was written now may be committed in a moment
        Effect.andThen(source.changes.since(version), changed),
        Effect.sleep(this.sleepFor(1000))
      ])
    })
    return Upkeep.forever(`waiting for jobs of ${source.broker}`, look)
  })
}
