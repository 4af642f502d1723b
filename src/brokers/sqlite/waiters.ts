/**
 * The calls of `reserve` that wait for a job, and what wakes them.
 *
 * The transaction that makes jobs ready also serves the waiters, the longest
 * waiting first. While there are waiters, and only then, a fiber watches the
 * file. Every {@link tickMillis} it checks whether another process has changed
 * the file (`PRAGMA data_version`, which takes no lock), and whether a delay, a
 * lease or a pause has ended. Every second it checks whether a process has died.
 * After a second without a change it sleeps until the operating system reports a
 * write.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { BrokerError } from "../../BrokerError.ts"
import { Waiting } from "../shared/index.ts"
import * as Supervise from "./supervise.ts"

/** How often the file is checked. A job of another process starts within twice this time. */
export const tickMillis = 25
/** How often to check whether other processes have died. */
const checkIntervalMillis = 1000
/** The number of idle workers is written to the file at most this often. */
const reportIntervalMillis = 100
/** After this time without a change the fiber sleeps. */
const quietAfterMillis = 1000

/** A call of `reserve` that waits. */
export interface Waiter<Lease> extends Waiting.Waiter {
  /** Leases ready jobs. Call it within a transaction. */
  readonly take: (now: number) => ReadonlyArray<Lease>
  readonly served: (leases: NonEmptyReadonlyArray<Lease>) => void
}

/** Reports changes of the file. */
export interface Changes {
  /** A value that changes with each commit of another connection, and whenever it can't be read. */
  readonly version: () => unknown
  /**
   * Waits until the file may have changed since a version. It may return too early, because the log is written before
   * the commit is visible. Rarely it returns too late.
   */
  readonly since: (version: unknown) => Effect.Effect<void>
  /** When the next delay, lease or pause ends, in microseconds since the epoch. */
  readonly next: (now: number) => number
}

/** The other processes that have the file open. */
export interface Others {
  /** Makes the jobs of dead processes ready again. */
  readonly check: Effect.Effect<void>
  /** Writes the number of waiters by queue. Returns whether that succeeded. */
  readonly report: (counts: ReadonlyMap<string, number>) => Effect.Effect<boolean>
}

/** What the waiters need of the session. */
export interface Source {
  readonly broker: string
  readonly clock: {
    /** Microseconds since the epoch. */
    readonly now: () => number
    /** Milliseconds of a monotonic clock. */
    readonly monotonic: () => number
  }
  readonly changes: Changes
  readonly others: Others
  /** Requests a transaction. */
  readonly request: () => void
}

const sameCounts = (a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean =>
  a.size === b.size && Array.from(a).every(([queue, count]) => b.get(queue) === count)

/** The waiters of this process. */
export class Waiters<Lease> {
  private readonly all = new Waiting.WaiterSet<Waiter<Lease>>()
  private readonly source: Source
  private changeAt = Infinity
  private wakeWatcher: (() => void) | undefined
  private reported: ReadonlyMap<string, number> = new Map()
  private closed: BrokerError | undefined

  constructor(source: Source) {
    this.source = source
  }

  /** Adds a waiter. It looks for jobs in the next transaction. */
  add(waiter: Waiter<Lease>): void {
    if (this.closed !== undefined) return waiter.failed(this.closed)
    this.all.add(waiter)
    this.source.request()
  }

  remove(waiter: Waiter<Lease>): void {
    this.all.delete(waiter)
  }

  /** The number of waiters by queue. */
  counts(): ReadonlyMap<string, number> {
    return this.all.counts()
  }

  /** The number of waiters. */
  get size(): number {
    return this.all.waiting
  }

  /** Fails all waiters, and every later one. */
  close(error: BrokerError): void {
    this.closed = error
    this.fail(error)
  }

  /** Serves waiters until the turn ends. Call it within a transaction, and the function it returns after the COMMIT. */
  serve(now: number, isOver: () => boolean): () => void {
    if (this.all.size === 0) return () => {}
    const served: Array<readonly [Waiter<Lease>, NonEmptyReadonlyArray<Lease>]> = []
    const unserved: Array<Waiter<Lease>> = []
    for (const waiter of this.all) {
      // An unsuccessful scan is cheap. Only served waiters move to the end, so the others are scanned first next time.
      if (served.length > 0 && isOver()) {
        this.source.request()
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

  /** Lets the waiters look for jobs again after a tick. */
  tryAgain(): void {
    this.changeAt = this.source.clock.now() + tickMillis * 1000
    this.wakeWatcher?.()
  }

  /** Fails all waiters, or some of them. */
  fail(error: BrokerError, which?: (waiter: Waiter<Lease>) => boolean): void {
    this.all.fail(error, which)
  }

  /** Milliseconds until something becomes ready, at most `limit` and at least 1. */
  private sleepFor(limit: number): number {
    return Math.max(1, Math.min(limit, Math.ceil((this.changeAt - this.source.clock.now()) / 1000)))
  }

  private readonly woken = Effect.callback<void>((resume) => {
    this.wakeWatcher = () => {
      this.wakeWatcher = undefined
      resume(Effect.void)
    }
  })

  private readonly untilWaiter = Effect.suspend(() => this.all.size > 0 ? Effect.void : this.woken)

  /** Writes the number of waiters by queue, if it has changed. */
  private readonly report = Effect.suspend(() => {
    const counts = this.counts()
    if (sameCounts(counts, this.reported)) return Effect.void
    return Effect.map(this.source.others.report(counts), (isReported) => {
      if (isReported) this.reported = counts
    })
  })

  /** Watches the file until interrupted. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => {
    const { source } = this
    let version: unknown = undefined
    let [checkedAt, reportedAt, changedAt] = [-Infinity, -Infinity, -Infinity]
    const changed = Effect.sync(() => {
      changedAt = source.clock.monotonic()
    })
    const look = Effect.gen({ self: this }, function*() {
      if (this.all.size === 0) {
        yield* this.report
        yield* this.untilWaiter
        yield* changed
      }
      const now = source.clock.monotonic()
      if (now - checkedAt >= checkIntervalMillis) {
        checkedAt = now
        yield* source.others.check
      }
      if (now - reportedAt >= reportIntervalMillis) {
        reportedAt = now
        yield* this.report
      }
      const current = source.changes.version()
      if (current !== version || source.clock.now() >= this.changeAt) {
        version = current
        changedAt = now
        this.changeAt = Infinity
        source.request()
      }
      if (now - changedAt < quietAfterMillis) return yield* Effect.sleep(this.sleepFor(tickMillis))
      yield* Effect.raceAllFirst([
        this.woken,
        // A write that is seen now may be committed in a moment.
        Effect.andThen(source.changes.since(version), changed),
        Effect.sleep(this.sleepFor(1000))
      ])
    })
    return Supervise.forever(`the wait for jobs of ${source.broker}`, look)
  })
}
