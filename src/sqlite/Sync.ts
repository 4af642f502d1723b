/**
 * Makes commits survive a loss of power without holding the event loop for long.
 *
 * SQLite's own way (`synchronous = FULL`) calls `fsync` on the write-ahead log
 * within each COMMIT, on the thread that runs everything else. Here COMMIT only
 * writes to the log (`synchronous = NORMAL`), and the same is done before
 * anybody is told: by another thread where it takes more than {@link slow} on
 * the average, else at once, which is faster than to have another thread do it.
 * The order of writes stays SQLite's: it syncs the log before a checkpoint, and
 * the file before the log starts anew.
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
import type { BrokerError } from "../BrokerError.ts"
import { failure } from "./failure.ts"

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
}

/** What is committed is as safe as it has to be. */
export const none: Sync = { isQuick: () => true, here: () => Result.void, elsewhere: Effect.void }

/** For a database that is open for as long as the scope lasts. */
export const make = Effect.fnUntraced(function*(
  broker: string,
  path: string
): Effect.fn.Return<Sync, BrokerError, Scope.Scope> {
  const log = yield* Effect.acquireRelease(
    Effect.try({ try: () => openSync(`${path}-wal`, "r+"), catch: (cause) => failure(broker, cause) }),
    (log) => Effect.sync(() => closeSync(log))
  )
  const clock = yield* Clock.Clock
  let average = 0

  const failed = (cause: unknown) => failure(broker, cause, "Unknown")

  /** Starts to take the time, which what it returns ends. */
  const timed = () => {
    const began = clock.monotonicTimeNanosUnsafe()
    return () => {
      average += (Number(clock.monotonicTimeNanosUnsafe() - began) / 1e6 - average) / memory
    }
  }

  return {
    isQuick: () => average <= slow,
    here: () => {
      const end = timed()
      const result = Result.try({ try: () => fdatasyncSync(log), catch: failed })
      end()
      return result
    },
    elsewhere: Effect.callback<void, BrokerError>((resume) => {
      const end = timed()
      fdatasync(log, (cause) => {
        end()
        resume(cause === null ? Effect.void : Effect.fail(failed(cause)))
      })
    })
  }
})
