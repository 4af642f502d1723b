/**
 * Makes commits durable, so that they survive a loss of power, without holding
 * the event loop for long.
 *
 * With `synchronous = FULL` SQLite would call `fsync` on the write-ahead log in
 * each COMMIT, on the main thread. Here COMMIT only writes to the log
 * (`synchronous = NORMAL`), and this module syncs the log before the operations
 * complete. If a sync takes longer than {@link slowSyncMillis} on average, and the
 * first time, a thread does it. A faster one runs on the main thread, which costs
 * less than handing it over. The order of writes stays SQLite's: it syncs the log
 * before a checkpoint, and the file before the log starts again.
 *
 * The system reports a failed write only once: the next sync succeeds although
 * the data is not on disk. So after a failure no commit counts as durable and no
 * transaction begins, until a checkpoint has copied all of the log and its sync
 * has succeeded: see {@link Sync.recover}.
 *
 * The log stays the same file as long as a connection is open. Never open the
 * database file itself beside SQLite: closing its descriptor would drop SQLite's
 * locks (https://sqlite.org/howtocorrupt.html, section 2.2).
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs"
import type { BrokerError } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { diskFailed, failure } from "./failure.ts"

/** A sync that takes longer than this on average runs on a thread. */
const slowSyncMillis = 2

/** The average is over about this many syncs. */
const averagedSyncs = 16

/** Makes all commits so far durable. After a failure it is unknown which of them are. */
export interface Sync {
  /** Whether syncs are so fast that they should run on the main thread. */
  readonly isQuick: () => boolean
  /** Syncs on the main thread. */
  readonly onMainThread: () => Result.Result<void, BrokerError>
  /** Syncs on another thread. */
  readonly onOtherThread: Effect.Effect<void, BrokerError>
  /**
   * Call it before each transaction. After a failed sync it makes all of the log durable. Begin no transaction if it
   * returns `"Busy"` (another process uses the log) or an error.
   */
  readonly recover: () => "Busy" | BrokerError | undefined
}

/** For `durability: "normal"`: every commit counts as durable. */
export const none: Sync = {
  isQuick: () => true,
  onMainThread: () => Result.void,
  onOtherThread: Effect.void,
  recover: () => undefined
}

/** The system calls, which tests replace. */
export interface Disk {
  readonly fdatasync: (fd: number, done: (cause: Error | null) => void) => void
  readonly fdatasyncSync: (fd: number) => void
}

/** Opens the log of a file until the scope closes. */
export const openLog = (
  broker: string,
  path: string,
  how: "r" | "r+"
): Effect.Effect<number, BrokerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({ try: () => openSync(`${path}-wal`, how), catch: (cause) => failure(broker, cause) }),
    (log) => Effect.sync(() => closeSync(log))
  )

/** Syncs the log of one open database. */
class LogSync implements Sync {
  private readonly broker: string
  readonly log: number
  private readonly empty: () => boolean
  private readonly disk: Disk
  private readonly clock: Clock.Clock
  private averageMillis: number | undefined
  /** The failure of the last sync, until {@link recover} succeeds. */
  private fault: unknown

  constructor(broker: string, log: number, empty: () => boolean, disk: Disk, clock: Clock.Clock) {
    this.broker = broker
    this.log = log
    this.empty = empty
    this.disk = disk
    this.clock = clock
  }

  readonly isQuick = (): boolean => this.averageMillis !== undefined && this.averageMillis <= slowSyncMillis

  readonly onMainThread = (): Result.Result<void, BrokerError> => {
    const began = monotonicMillis(this.clock)
    const result = Result.try({
      try: () => this.disk.fdatasyncSync(this.log),
      catch: (cause) => this.failed(cause)
    })
    this.measured(began)
    return result
  }

  private readonly syncOnThread: Effect.Effect<void, BrokerError> = Effect.callback((resume) => {
    const began = monotonicMillis(this.clock)
    this.disk.fdatasync(this.log, (cause) => {
      this.measured(began)
      resume(cause === null ? Effect.void : Effect.fail(this.failed(cause)))
    })
  })

  // Commits before a failure are durable once the log that holds them is.
  readonly onOtherThread: Effect.Effect<void, BrokerError> = Effect.suspend(() => {
    if (this.fault === undefined) return this.syncOnThread
    return this.recover() === undefined
      ? Effect.void
      : Effect.fail(diskFailed(this.broker, this.fault, "Unknown"))
  })

  readonly recover = (): "Busy" | BrokerError | undefined => {
    if (this.fault === undefined) return undefined
    const emptied = Result.try({ try: this.empty, catch: (cause) => diskFailed(this.broker, cause, "NotSent") })
    if (Result.isFailure(emptied)) return emptied.failure
    if (!emptied.success) return "Busy"
    this.fault = undefined
    return undefined
  }

  private failed(cause: unknown): BrokerError {
    this.fault = cause
    return diskFailed(this.broker, cause, "Unknown")
  }

  private measured(began: number): void {
    const millis = monotonicMillis(this.clock) - began
    this.averageMillis = this.averageMillis === undefined
      ? millis
      : this.averageMillis + (millis - this.averageMillis) / averagedSyncs
  }
}

/** Opens the log of a database, and syncs it until the scope closes. `empty` copies all of the log and empties it. */
export const make = Effect.fnUntraced(function*(
  broker: string,
  path: string,
  empty: () => boolean,
  disk: Disk = { fdatasync, fdatasyncSync }
): Effect.fn.Return<Sync & { readonly log: number }, BrokerError, Scope.Scope> {
  const log = yield* openLog(broker, path, "r+")
  return new LogSync(broker, log, empty, disk, yield* Clock.Clock)
})
