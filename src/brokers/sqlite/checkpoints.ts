/**
 * Copies the write-ahead log into the database, so that the log stays short.
 *
 * SQLite would copy in the middle of a COMMIT, before the operations complete.
 * Here it happens after they have completed. If the disk is slow, or there is
 * much to copy, a thread with its own connection copies, and the main thread goes
 * on. The thread starts with the first such copy, so that short programs never
 * have it. If it can't be started, the main thread copies.
 *
 * The log is copied when it has about {@link duePages} pages. It starts from its
 * beginning again if no process writes meanwhile. If it reaches
 * {@link maxLogPages} pages while it is copied, this process stops writing until
 * the log is empty.
 *
 * Limit: a copy stops at the first page that an open transaction may still need.
 * So the log grows as long as another program leaves a transaction open.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { statfsSync, statSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { Worker } from "node:worker_threads"
import { urlOf } from "./file.ts"

/** The log is copied each time this many pages were written: 4 MiB. */
const duePages = 1000

/** The main thread copies less than this. More would hold the event loop for long. */
const maxBytesOnMainThread = 1024 * 1024

/** The free space of the disk is checked each time this many pages were written. */
const spaceCheckPages = 250

/** Writing stops while the log has more pages than this: 16 MiB. */
const maxLogPages = 4000

const pageBytes = 4096

/** Each page in the log has a header of 24 bytes (https://sqlite.org/fileformat2.html#walformat). */
const maxLogBytes = maxLogPages * (pageBytes + 24)

/** `PASSIVE` copies what it can. `TRUNCATE` waits a moment for readers, copies everything and empties the log. */
type Mode = "PASSIVE" | "TRUNCATE"

// The thread's program is a string, so that it exists however this module was compiled or bundled. Emptying the log
// keeps others from writing, so a passive checkpoint copies most of it first.
const program = `
const { parentPort, workerData } = require("node:worker_threads")
const { DatabaseSync } = require("node:sqlite")
const database = new DatabaseSync(new URL(workerData), { timeout: 25, defensive: true })
database.exec("PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL")
parentPort.on("message", (mode) => {
  if (mode === undefined) {
    database.close()
    return parentPort.close()
  }
  try {
    database.exec("PRAGMA wal_checkpoint(PASSIVE)")
    if (mode === "TRUNCATE") database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
  } catch {}
  parentPort.postMessage(mode)
})`

/** Keeps the log short. */
export interface Checkpoints {
  /** Reports a commit: about this many pages, and this many bytes of bodies besides. */
  readonly wrote: (pages: number, bytes: number) => void
  /** Copies everything and empties the log. That returns the space at the end of the file to the disk. */
  readonly finish: () => void
  /** Waits while the log is too long and is being copied. */
  readonly room: Effect.Effect<void>
}

/** Copies everything and empties the log at once. Throws or returns `false` if that is not possible now. */
export const empty = (database: DatabaseSync): boolean =>
  database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0

/** Keeps the log of an open file short until the scope closes. `isQuick` tells whether the disk needs no thread. */
export const make = Effect.fnUntraced(function*(
  database: DatabaseSync,
  path: string,
  isQuick: () => boolean
): Effect.fn.Return<Checkpoints, never, Scope.Scope> {
  database.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = ${maxLogPages * pageBytes}`)
  let worker: Worker | undefined
  let isBusy = false
  let isFinishing = false
  let isClosed = false
  let pages = 0
  let bytes = 0
  /** The number of pages at the last check of the disk's free space. */
  let spaceCheckedAt = 0
  const waiters = new Set<() => void>()
  let isResting = false

  // SQLite cuts the file to `journal_size_limit` when the log starts again, so a long file means a long log.
  const isLogLong = (): boolean => {
    try {
      return statSync(`${path}-wal`).size > maxLogBytes
    } catch {
      return false
    }
  }

  // A log that took the last space of the disk could never be copied.
  const isDiskTight = (): boolean => {
    try {
      const { bavail, bsize } = statfsSync(path)
      return bavail * bsize < maxLogBytes
    } catch {
      return false
    }
  }

  // A failed checkpoint is repeated with the next pages. The next commit reports a full or broken disk.
  const copyHere = (mode: Mode) => {
    try {
      database.exec(`PRAGMA wal_checkpoint(${mode})`)
    } catch {}
    copied(mode)
  }

  const start = (): Worker | undefined => {
    try {
      const started = new Worker(program, {
        eval: true,
        workerData: urlOf(path).href,
        execArgv: [],
        name: "backq checkpoints"
      })
      const gone = () => {
        if (worker !== started) return
        worker = undefined
        if (isBusy && !isClosed) copyHere(isResting ? "TRUNCATE" : "PASSIVE")
      }
      // The program goes on without the thread, and the next copy starts another.
      started.on("error", gone).on("exit", gone)
      started.on("message", copied)
      started.unref()
      return started
    } catch {
      return undefined
    }
  }

  const copied = (mode: Mode) => {
    isBusy = false
    if (mode === "PASSIVE" && (isFinishing || isLogLong())) return copy("TRUNCATE")
    if (mode === "TRUNCATE") isFinishing = false
    isResting = false
    for (const resume of waiters) resume()
    waiters.clear()
    copyIfDue()
  }

  const copyIfDue = () => {
    if (pages >= duePages) copy("PASSIVE")
    else if (pages - spaceCheckedAt >= spaceCheckPages) {
      spaceCheckedAt = pages
      if (isDiskTight()) copy("TRUNCATE", true)
    }
  }

  const copy = (mode: Mode, atOnce = bytes < maxBytesOnMainThread && isQuick() && !isLogLong()) => {
    if (isBusy || isClosed) return
    pages = 0
    bytes = 0
    spaceCheckedAt = 0
    isBusy = true
    if (atOnce) return copyHere(mode)
    // If writing went on, the thread might never get the lock.
    if (mode === "TRUNCATE") isResting = true
    worker ??= start()
    if (worker === undefined) copyHere(mode)
    else worker.postMessage(mode)
  }

  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      isClosed = true
      if (worker === undefined) return resume(Effect.void)
      worker.once("exit", () => resume(Effect.void))
      worker.ref()
      worker.postMessage(undefined)
    })
  )
  return {
    wrote: (count, bytesOfBodies) => {
      pages += count + Math.ceil(bytesOfBodies / pageBytes)
      bytes += bytesOfBodies
      if (!isBusy) copyIfDue()
      else if (pages >= duePages) isResting ||= isLogLong()
    },
    finish: () => {
      isFinishing = true
      copy("TRUNCATE")
    },
    room: Effect.callback<void>((resume) => {
      if (!isResting) return resume(Effect.void)
      const resumed = () => resume(Effect.void)
      waiters.add(resumed)
      return Effect.sync(() => waiters.delete(resumed))
    })
  }
})
