/**
 * Copies the write-ahead log into the database, so that the log stays short.
 *
 * SQLite would do that in the middle of a COMMIT, before anybody is told. Here
 * it comes after the answers, and where the disk is slow a thread with a
 * connection of its own does it while the main one goes on. The thread is
 * started when there is something to copy, so short programs never have it.
 *
 * The log has about {@link due} pages before it is copied, and starts anew when
 * nobody writes meanwhile. A writer that never rests is stopped when it has
 * {@link limit} pages, and what the thread has left is copied. Nothing can be
 * copied past what somebody reads: a transaction that another program leaves
 * open lets the log grow.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DatabaseSync } from "node:sqlite"
import { Worker } from "node:worker_threads"

/** Pages that are written before the log is copied: 4 MiB. */
const due = 1000

/** Pages that the log may have: 16 MiB. */
const limit = 4000

const pageSize = 4096

// The thread's program is a string, so that it is there however this module was compiled or bundled.
const program = `
const { parentPort, workerData } = require("node:worker_threads")
const { DatabaseSync } = require("node:sqlite")
const database = new DatabaseSync(workerData)
database.exec("PRAGMA synchronous = NORMAL")
const checkpoint = database.prepare("PRAGMA wal_checkpoint(PASSIVE)")
parentPort.on("message", (isLast) => {
  if (isLast) {
    database.close()
    return parentPort.close()
  }
  let log = 0
  try {
    log = checkpoint.get().log
  } catch {}
  parentPort.postMessage(log)
})`

/** Keeps the log of a file short. */
export interface Checkpoints {
  /** Tells how many pages were written, about. */
  readonly wrote: (pages: number) => void
  /** Copies everything and empties the log, which gives the space at the end of the file back. */
  readonly finish: () => void
}

// A checkpoint that fails is tried again with the next pages; whoever writes is told of a full or broken disk.
const checkpoint = (database: DatabaseSync, mode: "PASSIVE" | "RESTART" | "TRUNCATE"): void => {
  try {
    database.exec(`PRAGMA wal_checkpoint(${mode})`)
  } catch {}
}

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
  let pages = 0

  const start = (): Worker => {
    const started = new Worker(program, { eval: true, workerData: path, execArgv: [], name: "backq checkpoints" })
    const gone = () => {
      if (worker === started) worker = undefined
      isBusy = false
    }
    // the program goes on without it, and the next pages start another
    started.on("error", gone).on("exit", gone)
    started.on("message", copied)
    started.unref()
    return started
  }

  const copied = (log: number) => {
    isBusy = false
    if (isFinishing) checkpoint(database, "TRUNCATE")
    else if (log > limit) checkpoint(database, "RESTART")
    isFinishing = false
    if (pages >= due) copy()
  }

  const copy = () => {
    if (isBusy) return
    pages = 0
    if (isQuick()) {
      checkpoint(database, isFinishing ? "TRUNCATE" : "PASSIVE")
      isFinishing = false
      return
    }
    isBusy = true
    worker ??= start()
    worker.postMessage(false)
  }

  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      if (worker === undefined) return resume(Effect.void)
      worker.once("exit", () => resume(Effect.void))
      worker.ref()
      worker.postMessage(true)
    })
  )
  return {
    wrote: (count) => {
      pages += count
      if (pages >= due) copy()
    },
    finish: () => {
      isFinishing = true
      copy()
    }
  }
})
