/**
 * Copies the write-ahead log into the database, so that the log stays short.
 *
 * SQLite would do that in the middle of a COMMIT, before anybody is told. Here
 * it comes after the answers, and where the disk is slow, or there is much to
 * copy, a thread with a connection of its own does it while the main one goes
 * on. The thread is started when there is something to copy, so short programs
 * never have it; where none can be started, the main one copies.
 *
 * The log has about {@link due} pages before it is copied, and starts anew when
 * nobody writes meanwhile. Where it has {@link limit} pages while it is copied,
 * this process's writer rests until it is empty. Nothing can be copied past
 * what somebody reads: a transaction that another program leaves open lets the
 * log grow.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { statfsSync, statSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { Worker } from "node:worker_threads"
import { urlOf } from "./file.ts"

/** Pages that are written before the log is copied: 4 MiB. */
const due = 1000

/** Bytes of bodies that are not copied at once, so that the event loop is not held for long. */
const much = 1024 * 1024

/** After how many pages the space of the disk is looked at. */
const lookAfter = 250

/** Pages that the log may have: 16 MiB. */
const limit = 4000

const pageSize = 4096

/** Bytes of a log that has as many pages as it may. Each has a header of 24 bytes. */
const longest = limit * (pageSize + 24)

/** Copies what it can; or waits a moment for those who read, copies everything and empties the log. */
type Mode = "PASSIVE" | "TRUNCATE"

// The thread's program is a string, so that it is there however this module was compiled or bundled. A checkpoint that
// empties the log keeps others from writing, so most is copied before.
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

/** Keeps the log of a file short. */
export interface Checkpoints {
  /** Tells how many pages were written, about, beside how many bytes of bodies. */
  readonly wrote: (pages: number, bytes: number) => void
  /** Copies everything and empties the log, which gives the space at the end of the file back. */
  readonly finish: () => void
  /** Waits while the log is too long and is being copied. */
  readonly room: Effect.Effect<void>
}

/** Copies everything and empties the log at once. Throws, or says no, where that can't be done now. */
export const empty = (database: DatabaseSync): boolean =>
  database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0

/** Keeps the log of an open file short for as long as the scope lasts. `isQuick` says that no thread is needed. */
export const make = Effect.fnUntraced(function*(
  database: DatabaseSync,
  path: string,
  isQuick: () => boolean
): Effect.fn.Return<Checkpoints, never, Scope.Scope> {
  database.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = ${limit * pageSize}`)
  let worker: Worker | undefined
  let isBusy = false
  let isFinishing = false
  let isClosed = false
  let pages = 0
  let bytes = 0
  /** At how many pages the space of the disk was looked at. */
  let lookedAt = 0
  const waiting = new Set<() => void>()
  let isResting = false

  // The log is cut when it starts anew, so a longer file is a longer log.
  const isLong = (): boolean => {
    try {
      return statSync(`${path}-wal`).size > longest
    } catch {
      return false
    }
  }

  // A log that took the last space could not be copied any more.
  const isTight = (): boolean => {
    try {
      const { bavail, bsize } = statfsSync(path)
      return bavail * bsize < longest
    } catch {
      return false
    }
  }

  // A checkpoint that fails is tried again with the next pages; whoever writes is told of a full or broken disk.
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
      // the program goes on without it, and the next pages start another
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
    if (mode === "PASSIVE" && (isFinishing || isLong())) return copy("TRUNCATE")
    if (mode === "TRUNCATE") isFinishing = false
    isResting = false
    for (const resume of waiting) resume()
    waiting.clear()
    copyIfDue()
  }

  const copyIfDue = () => {
    if (pages >= due) copy("PASSIVE")
    else if (pages - lookedAt >= lookAfter) {
      lookedAt = pages
      if (isTight()) copy("TRUNCATE", true)
    }
  }

  const copy = (mode: Mode, atOnce = bytes < much && isQuick() && !isLong()) => {
    if (isBusy || isClosed) return
    pages = 0
    bytes = 0
    lookedAt = 0
    isBusy = true
    if (atOnce) return copyHere(mode)
    // else the thread might not come to its turn
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
      pages += count + Math.ceil(bytesOfBodies / pageSize)
      bytes += bytesOfBodies
      if (!isBusy) copyIfDue()
      else if (pages >= due) isResting ||= isLong()
    },
    finish: () => {
      isFinishing = true
      copy("TRUNCATE")
    },
    room: Effect.callback<void>((resume) => {
      if (!isResting) return resume(Effect.void)
      const resumed = () => resume(Effect.void)
      waiting.add(resumed)
      return Effect.sync(() => waiting.delete(resumed))
    })
  }
})
