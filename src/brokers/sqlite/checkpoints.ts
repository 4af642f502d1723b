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

/** Copies everything and empties the log at once. Throws or returns `false` if that is not possible now. */
export const empty = (database: DatabaseSync): boolean =>
  database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0

/** SQLite cuts the file to `journal_size_limit` when the log starts again, so a long file means a long log. */
const isLogLong = (path: string): boolean => {
  try {
    return statSync(`${path}-wal`).size > maxLogBytes
  } catch {
    return false
  }
}

/** Whether the log could take the last space of the disk. It could never be copied then. */
const isDiskTight = (path: string): boolean => {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize < maxLogBytes
  } catch {
    return false
  }
}

/** Starts the thread for a file. Returns `undefined` if that is not possible. */
const startThread = (path: string): Worker | undefined => {
  try {
    const thread = new Worker(program, {
      eval: true,
      workerData: urlOf(path).href,
      execArgv: [],
      name: "backq checkpoints"
    })
    thread.unref()
    return thread
  } catch {
    return undefined
  }
}

/** Keeps the log of one open file short. */
export class Checkpoints {
  private readonly database: DatabaseSync
  private readonly path: string
  private readonly isQuick: () => boolean
  private thread: Worker | undefined
  /** Whether a copy runs. */
  private isBusy = false
  /** Whether the log must be emptied after the copy that runs. */
  private isFinishing = false
  /** Whether this process stops writing until the log is empty. If it went on, the thread might never get the lock. */
  private isResting = false
  private isClosed = false
  /** The pages, and the bytes of bodies among them, that were written since the last copy began. */
  private pages = 0
  private bytes = 0
  /** The number of pages at the last check of the disk's free space. */
  private spaceCheckedAt = 0
  private readonly waiters = new Set<() => void>()

  /** `isQuick` tells whether the disk needs no thread. */
  constructor(database: DatabaseSync, path: string, isQuick: () => boolean) {
    this.database = database
    this.path = path
    this.isQuick = isQuick
  }

  /** Reports a commit: about this many pages, and this many bytes of bodies besides. */
  readonly wrote = (count: number, bytesOfBodies: number): void => {
    this.pages += count + Math.ceil(bytesOfBodies / pageBytes)
    this.bytes += bytesOfBodies
    if (!this.isBusy) this.copyIfDue()
    else if (this.pages >= duePages) this.isResting ||= isLogLong(this.path)
  }

  /** Copies everything and empties the log. That returns the space at the end of the file to the disk. */
  finish(): void {
    this.isFinishing = true
    this.copy("TRUNCATE")
  }

  /** Waits while the log is too long and is being copied. */
  readonly room: Effect.Effect<void> = Effect.callback<void>((resume) => {
    if (!this.isResting) return resume(Effect.void)
    const resumed = () => resume(Effect.void)
    this.waiters.add(resumed)
    return Effect.sync(() => this.waiters.delete(resumed))
  })

  /** Ends the thread. Nothing is copied after this. */
  readonly close: Effect.Effect<void> = Effect.callback<void>((resume) => {
    this.isClosed = true
    const { thread } = this
    if (thread === undefined) return resume(Effect.void)
    thread.once("exit", () => resume(Effect.void))
    thread.ref()
    thread.postMessage(undefined)
  })

  private copyIfDue(): void {
    if (this.pages >= duePages) return this.copy("PASSIVE")
    if (this.pages - this.spaceCheckedAt < spaceCheckPages) return
    this.spaceCheckedAt = this.pages
    if (isDiskTight(this.path)) this.copy("TRUNCATE", true)
  }

  private copy(mode: Mode, atOnce = this.isShort()): void {
    if (this.isBusy || this.isClosed) return
    this.pages = 0
    this.bytes = 0
    this.spaceCheckedAt = 0
    this.isBusy = true
    if (atOnce) return this.copyHere(mode)
    if (mode === "TRUNCATE") this.isResting = true
    this.thread ??= this.start()
    if (this.thread === undefined) this.copyHere(mode)
    else this.thread.postMessage(mode)
  }

  /** Whether a copy on the main thread holds the event loop only for a moment. */
  private isShort(): boolean {
    return this.bytes < maxBytesOnMainThread && this.isQuick() && !isLogLong(this.path)
  }

  // A failed checkpoint is repeated with the next pages. The next commit reports a full or broken disk.
  private copyHere(mode: Mode): void {
    try {
      this.database.exec(`PRAGMA wal_checkpoint(${mode})`)
    } catch {}
    this.copied(mode)
  }

  private readonly copied = (mode: Mode): void => {
    this.isBusy = false
    if (mode === "PASSIVE" && (this.isFinishing || isLogLong(this.path))) return this.copy("TRUNCATE")
    if (mode === "TRUNCATE") this.isFinishing = false
    this.isResting = false
    for (const resume of this.waiters) resume()
    this.waiters.clear()
    this.copyIfDue()
  }

  /** Starts the thread. If it fails later, the program goes on without it, and the next copy starts another. */
  private start(): Worker | undefined {
    const thread = startThread(this.path)
    if (thread === undefined) return undefined
    const ended = () => {
      if (this.thread !== thread) return
      this.thread = undefined
      if (this.isBusy && !this.isClosed) this.copyHere(this.isResting ? "TRUNCATE" : "PASSIVE")
    }
    return thread.on("error", ended).on("exit", ended).on("message", this.copied)
  }
}

/** Keeps the log of an open file short until the scope closes. `isQuick` tells whether the disk needs no thread. */
export const make = Effect.fnUntraced(function*(
  database: DatabaseSync,
  path: string,
  isQuick: () => boolean
): Effect.fn.Return<Checkpoints, never, Scope.Scope> {
  database.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = ${maxLogPages * pageBytes}`)
  const checkpoints = new Checkpoints(database, path, isQuick)
  yield* Effect.addFinalizer(() => checkpoints.close)
  return checkpoints
})
