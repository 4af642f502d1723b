/**
 * Makes commits survive a loss of power without holding the event loop for long.
 *
 * SQLite's own way (`synchronous = FULL`) calls `fsync` on the write-ahead log
 * within each COMMIT, on the thread that runs everything else. Here COMMIT only
 * writes to the log (`synchronous = NORMAL`), and the same is done before
 * anybody is told: by another thread where it takes more than {@link slow} on
 * the average, or for the first time, else at once, which is faster than to have another thread do it.
 * The order of writes stays SQLite's: it syncs the log before a checkpoint, and
 * the file before the log starts anew.
 *
 * A disk that fails says so once: the system takes what it could not write for
 * written, and the next sync succeeds without it. So after a failure nothing is
 * safe, and nothing new is begun, until a checkpoint has brought all of the log
 * to the database and its sync has succeeded: see {@link Sync.recover}.
 *
 * The log stays the same file for as long as a connection is open. Nothing else
 * of a database may be opened beside SQLite: closing a descriptor of the file
 * itself would drop the locks that SQLite holds on it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs"
import type { BrokerError } from "../../BrokerError.ts"
import { diskFailed, failure } from "./failure.ts"

/** Milliseconds. */
const slow = 2

/** How many syncs the average is taken over, about. */
const memory = 16

/** Makes what was committed before safe. Where it fails nobody knows what of it is. */
export interface Sync {
  /** Is the disk so quick that it is done best at once? */
  readonly isQuick: () => boolean
  readonly here: () => Result.Result<void, BrokerError>
  readonly elsewhere: Effect.Effect<void, BrokerError>
  /**
   * To be called before a transaction. After a failure, makes safe what the log holds and begins it anew; says that
   * this can't be done now, or why it fails. Then nothing must be written.
   */
  readonly recover: () => "Busy" | BrokerError | undefined
}

/** What is committed is as safe as it has to be. */
export const none: Sync = {
  isQuick: () => true,
  here: () => Result.void,
  elsewhere: Effect.void,
  recover: () => undefined
}

/** What the operating system does. */
export interface Disk {
  readonly fdatasync: (fd: number, done: (cause: Error | null) => void) => void
  readonly fdatasyncSync: (fd: number) => void
}

/** Opens the log of a file for as long as the scope lasts. */
export const openLog = (
  broker: string,
  path: string,
  how: "r" | "r+"
): Effect.Effect<number, BrokerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({ try: () => openSync(`${path}-wal`, how), catch: (cause) => failure(broker, cause) }),
    (log) => Effect.sync(() => closeSync(log))
  )

/** For a database that is open for as long as the scope lasts. `empty` copies all of its log and empties it. */
export const make = Effect.fnUntraced(function*(
  broker: string,
  path: string,
  empty: () => boolean,
  disk: Disk = { fdatasync, fdatasyncSync }
): Effect.fn.Return<Sync & { readonly log: number }, BrokerError, Scope.Scope> {
  const log = yield* openLog(broker, path, "r+")
  const clock = yield* Clock.Clock
  let average: number | undefined
  /** What the disk failed with, until it was made good. */
  let fault: unknown

  const failed = (cause: unknown) => {
    fault = cause
    return diskFailed(broker, cause, "Unknown")
  }

  /** Starts to take the time, which what it returns ends. */
  const timed = () => {
    const began = clock.monotonicTimeNanosUnsafe()
    return () => {
      const millis = Number(clock.monotonicTimeNanosUnsafe() - began) / 1e6
      average = average === undefined ? millis : average + (millis - average) / memory
    }
  }

  const recover: Sync["recover"] = () => {
    if (fault === undefined) return undefined
    const emptied = Result.try({ try: empty, catch: (cause) => diskFailed(broker, cause, "NotSent") })
    if (Result.isFailure(emptied)) return emptied.failure
    if (!emptied.success) return "Busy"
    fault = undefined
    return undefined
  }

  const sync = Effect.callback<void, BrokerError>((resume) => {
    const end = timed()
    disk.fdatasync(log, (cause) => {
      end()
      resume(cause === null ? Effect.void : Effect.fail(failed(cause)))
    })
  })

  return {
    log,
    isQuick: () => average !== undefined && average <= slow,
    here: () => {
      const end = timed()
      const result = Result.try({ try: () => disk.fdatasyncSync(log), catch: failed })
      end()
      return result
    },
    // What was committed before a failure is safe when the log that holds it is.
    elsewhere: Effect.suspend(() => {
      if (fault === undefined) return sync
      return recover() === undefined ? Effect.void : Effect.fail(diskFailed(broker, fault, "Unknown"))
    }),
    recover
  }
})
