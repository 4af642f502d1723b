/**
 * Group commit: all operations that arrive in one turn of the event loop share
 * one transaction. Each operation completes after the COMMIT, when the commit is
 * as durable as the broker promises.
 *
 * An operation is a synchronous function. If SQLite fails in one, the
 * transaction rolls back and all of its operations fail with the same error. If
 * another connection holds the write lock, the transaction is retried after a
 * short sleep, until `busyTimeout`. If all operations only read, and no delay or
 * lease has ended, the transaction takes no write lock.
 *
 * A transaction takes operations for {@link turnMillis}, finishes the last one,
 * and commits. That is how long it holds the event loop: COMMIT does not wait for
 * the disk. The operations left over join the next transaction. While one sync
 * runs, later commits gather and share the next sync. If other processes have
 * the file open, a writer under constant load yields the lock after each turn.
 *
 * Whatever is thrown, every operation completes, and the next transaction begins.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { BrokerError, type Unavailable } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { failure, isBusy, isFull, isOfSqlite } from "./failure.ts"
import * as Supervise from "./supervise.ts"
import type { Sync } from "./sync.ts"

/** A transaction takes no more operations after this time. */
const turnMillis = 3

/** A transaction takes no more operations after this many bytes of bodies, because its COMMIT writes them. */
const maxTransactionBytes = 1024 * 1024

/** What an operation does, and what it needs. */
interface Mode {
  /** Whether it only reads. */
  readonly isRead: boolean
  /** Whether delays and leases that have ended must be applied first. */
  readonly isCurrent: boolean
}

const modes = {
  run: { isRead: false, isCurrent: false },
  runCurrent: { isRead: false, isCurrent: true },
  read: { isRead: true, isCurrent: true }
}

interface Operation {
  readonly work: (now: number) => unknown
  readonly mode: Mode
  readonly resume: (effect: Effect.Effect<any, BrokerError>) => void
}

/** A transaction that was committed. */
interface Transaction {
  readonly operations: ReadonlyArray<Operation>
  readonly results: ReadonlyArray<unknown>
  /** The number of changed rows. */
  readonly changes: number
  /** The bytes of the bodies it wrote. */
  readonly bytes: number
}

/** A transaction that was rolled back. Its operations are pending again. */
interface Undone {
  readonly cause: unknown
  readonly fate: Unavailable["fate"]
  /** Whether one of its operations may be the cause. */
  readonly isShared: boolean
}

const refuse = (operations: ReadonlyArray<Operation>, error: BrokerError): void => {
  for (const { resume } of operations) resume(Effect.fail(error))
}

const complete = ({ operations, results }: Transaction, safe: Result.Result<void, BrokerError>): void => {
  if (Result.isFailure(safe)) return refuse(operations, safe.failure)
  for (let i = 0; i < operations.length; i++) operations[i]!.resume(Effect.succeed(results[i]))
}

/** An estimate: a transaction writes this many pages, one for each changed row, and its bodies. */
const pagesPerTransaction = 4

const logInUse = "the disk failed, and backq must empty the log of the file, but other programs use it: end them"

/** What a transaction needs of the jobs and queues in the file. */
export interface Content {
  /** Whether a delay or a lease has ended and is not applied yet. */
  readonly isDue: (now: number) => boolean
  /** Applies the delays and leases that have ended. */
  readonly advance: (now: number) => void
  /** Called before the COMMIT. The function that it returns is called after the COMMIT. */
  readonly complete: (now: number, isOver: () => boolean) => () => void
  /** Drops the state in memory of a transaction that was rolled back. */
  readonly undo: () => void
  /** The bytes of all bodies written so far. */
  readonly bytes: () => number
}

/** What a transaction needs of the disk, and of the other processes. */
export interface Storage {
  /** Throws if the file must not be used any more. */
  readonly check: () => void
  /** Whether other processes have the file open. */
  readonly hasCompany: () => boolean
  /** Makes commits durable. */
  readonly sync: Sync
  /** Waits until the log has room. */
  readonly room: Effect.Effect<void>
  /** Makes space on a full disk. Returns whether there is space now. */
  readonly makeSpace: () => boolean
  /** Reports a commit: about this many pages, and this many bytes of bodies besides. */
  readonly wrote: (pages: number, bytes: number) => void
}

export interface Options {
  readonly broker: string
  readonly database: DatabaseSync
  /** How long a transaction waits for a lock of another connection. */
  readonly busyTimeout: Duration.Duration
  readonly clock: Clock.Clock
  readonly content: Content
  readonly storage: Storage
  /**
   * Called when a transaction has failed. `isShared` means that one operation, or a disk that is full for now, may be
   * the cause, so that waiters should try again.
   */
  readonly onFailure: (error: BrokerError, isShared: boolean) => void
}

export class Commits {
  private pending: Array<Operation> = []
  private hasWork = false
  /** Whether {@link request} was called since the last transaction. */
  private isRequested = false
  private closed: BrokerError | undefined
  /** Operations that are committed and have not completed. */
  private underWay: ReadonlyArray<Operation> = []
  private lastNow = 0
  /** For how long transactions followed each other without a pause. */
  private heldForMillis = 0
  private wakeWriter: (() => void) | undefined
  private unsynced: Array<Transaction> = []
  private isSyncing = false
  private wakeSyncer: (() => void) | undefined
  private readonly begin: StatementSync
  private readonly beginRead: StatementSync
  private readonly commit: StatementSync
  private readonly totalChanges: StatementSync
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
    this.begin = options.database.prepare("BEGIN IMMEDIATE")
    this.beginRead = options.database.prepare("BEGIN")
    this.commit = options.database.prepare("COMMIT")
    this.totalChanges = options.database.prepare("SELECT total_changes() AS count")
  }

  /** Microseconds since the epoch. Each call returns a larger number, unless the wall clock was set back. */
  now(): number {
    const wall = this.options.clock.currentTimeMillisUnsafe() * 1000
    this.lastNow = wall > this.lastNow || this.lastNow - wall > 1_000_000 ? wall : this.lastNow + 1
    return this.lastNow
  }

  /** Runs an operation in the next transaction. An interruption of the caller does not stop it. */
  run<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, modes.run)
  }

  /** {@link run}, after all delays and leases that have ended. */
  runCurrent<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, modes.runCurrent)
  }

  /** {@link runCurrent} for an operation that only reads. */
  read<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, modes.read)
  }

  private enter<A>(work: (now: number) => A, mode: Mode): Effect.Effect<A, BrokerError> {
    return Effect.callback<A, BrokerError>((resume) => {
      if (this.closed !== undefined) return resume(Effect.fail(this.closed))
      this.pending.push({ work, mode, resume })
      this.hasWork = true
      this.wakeWriter?.()
    })
  }

  /** Requests a transaction even if no operation is pending. */
  request(): void {
    this.hasWork = true
    this.isRequested = true
    this.wakeWriter?.()
  }

  /** Fails the pending operations, and every later one. */
  close(error: BrokerError): void {
    this.closed = error
    const left = this.pending
    this.pending = []
    refuse(left, error)
    // There are some only if the broker stopped waiting for the disk.
    for (const { operations } of this.unsynced) {
      refuse(operations, failure(this.options.broker, "was closed", "Unknown"))
    }
    this.unsynced = []
  }

  /** Commits in the background until the scope closes. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => {
    const { broker } = this.options
    return Effect.all([
      Effect.forkScoped(Supervise.forever(`the writer of ${broker}`, this.write, (fault) => this.giveUpAll(fault))),
      Effect.forkScoped(Supervise.forever(`the sync of ${broker}`, this.sync))
    ], { discard: true })
  })

  private readonly untilWork = Effect.callback<void>((resume) => {
    if (this.hasWork) return resume(Effect.void)
    this.heldForMillis = 0
    this.wakeWriter = () => {
      this.wakeWriter = undefined
      resume(Effect.void)
    }
  })

  private readonly untilCommitted = Effect.callback<void>((resume) => {
    if (this.unsynced.length > 0) return resume(Effect.void)
    this.wakeSyncer = () => {
      this.wakeSyncer = undefined
      resume(Effect.void)
    }
  })

  /** Syncs all commits so far. The commits made meanwhile share the next sync. */
  private readonly sync = Effect.gen({ self: this }, function*() {
    yield* this.untilCommitted
    const transactions = this.unsynced
    this.unsynced = []
    this.isSyncing = true
    yield* this.options.storage.sync.onOtherThread.pipe(
      Effect.catchDefect((defect) => Effect.fail(failure(this.options.broker, defect, "Unknown"))),
      Effect.result,
      Effect.map((safe) => {
        this.isSyncing = false
        for (const transaction of transactions) complete(transaction, safe)
      }),
      Effect.uninterruptible
    )
  })

  private millis(): number {
    return monotonicMillis(this.options.clock)
  }

  private readonly write = Effect.gen({ self: this }, function*() {
    yield* this.untilWork
    // The operations that other fibers start in this turn of the event loop join the transaction.
    yield* Effect.yieldNow
    if (!this.isRequested && this.pending.every(({ mode }) => mode.isRead) && this.tryRead()) return
    const { busyTimeout, storage: { room, sync } } = this.options
    yield* room
    const giveUpAt = this.millis() + Duration.toMillis(busyTimeout)
    while (true) {
      const fault = sync.recover()
      if (fault instanceof BrokerError) return this.giveUp(fault)
      const cause = fault === "Busy" ? logInUse : this.tryBegin()
      if (cause === undefined) break
      if (cause !== logInUse && !isBusy(cause) || this.millis() >= giveUpAt) return this.giveUp(cause)
      // The sleep is short, so that one short pause of a busy writer is enough to get the lock.
      yield* Effect.flatMap(Random.nextBetween(0.5, 1.5), (millis) => Effect.sleep(millis))
    }
    const began = this.millis()
    this.runBegun()
    this.heldForMillis += this.millis() - began
    if (this.heldForMillis < turnMillis) return
    this.heldForMillis = 0
    if (this.options.storage.hasCompany()) yield* Effect.sleep(1)
  })

  /** Runs the transaction that has begun, and once more if the disk is full and can be given space. */
  private runBegun(): void {
    const done = this.transaction()
    if (!("cause" in done)) return this.finish(done)
    const again = isFull(done.cause) && this.options.storage.makeSpace() && this.tryBegin() === undefined
    const last = again ? this.transaction() : done
    if ("cause" in last) this.giveUp(last.cause, last.fate, last.isShared)
    else this.finish(last)
  }

  // Plain try/catch from here on: this runs once per transaction, between BEGIN and COMMIT, and must not yield.

  private tryBegin(): unknown {
    try {
      this.begin.run()
      return undefined
    } catch (cause) {
      return cause
    }
  }

  /** Runs the pending reads without a write lock. Returns `false` if a delay or a lease that has ended needs one. */
  private tryRead(): boolean {
    const { content, storage } = this.options
    const batch = this.takePending()
    const results: Array<unknown> = []
    try {
      this.beginRead.run()
      const isCurrent = !content.isDue(this.now())
      if (isCurrent) {
        storage.check()
        this.runTurn(batch, results, () => {})
      }
      this.commit.run()
      this.putBack(batch.splice(results.length))
      complete({ operations: batch, results, changes: 0, bytes: 0 }, Result.void)
      return isCurrent
    } catch (cause) {
      this.putBack(batch)
      this.rollBack()
      if (!isBusy(cause)) this.giveUp(this.explain(cause), "NotSent", true)
      return !isBusy(cause)
    }
  }

  /** If the file must not be used any more, that explains every other error. */
  private explain(cause: unknown): unknown {
    try {
      this.options.storage.check()
      return cause
    } catch (reason) {
      return reason
    }
  }

  private transaction(): Transaction | Undone {
    const { content, storage } = this.options
    const batch = this.takePending()
    const results: Array<unknown> = []
    const bytesBefore = content.bytes()
    let changes: number
    let afterwards: () => void
    let fate: Unavailable["fate"] = "NotSent"
    try {
      const changesBefore = this.changes()
      const isOver = this.runTurn(batch, results, content.advance)
      afterwards = content.complete(this.now(), isOver)
      storage.check()
      fate = "Unknown"
      this.commit.run()
      changes = this.changes() - changesBefore
    } catch (thrown) {
      const cause = fate === "NotSent" ? this.explain(thrown) : thrown
      // An error that is not SQLite's comes from one operation and would come again. The others run without it.
      const culprit = isOfSqlite(cause) ? undefined : batch[results.length]
      this.putBack(batch.filter((operation) => operation !== culprit))
      this.rollBack()
      if (culprit === undefined) return { cause, fate, isShared: batch.length > 0 }
      culprit.resume(Effect.fail(failure(this.options.broker, cause, "Unknown")))
      this.request()
      return { operations: [], results: [], changes: 0, bytes: 0 }
    }
    this.putBack(batch.splice(results.length))
    this.underWay = batch
    afterwards()
    return { operations: batch, results, changes, bytes: content.bytes() - bytesBefore }
  }

  /** Runs operations until the turn ends. Returns a function that says whether the turn has ended. */
  private runTurn(
    batch: ReadonlyArray<Operation>,
    results: Array<unknown>,
    advance: (now: number) => void
  ): () => boolean {
    const { bytes } = this.options.content
    const endAt = this.millis() + turnMillis
    const endAtBytes = bytes() + maxTransactionBytes
    const isOver = () => this.millis() > endAt || bytes() > endAtBytes
    for (const { mode, work } of batch) {
      const now = this.now()
      if (mode.isCurrent) advance(now)
      results.push(work(now))
      if (isOver()) break
    }
    return isOver
  }

  private takePending(): Array<Operation> {
    const batch = this.pending
    this.pending = []
    this.hasWork = false
    this.isRequested = false
    return batch
  }

  /** Leaves operations for the next transaction. */
  private putBack(operations: ReadonlyArray<Operation>): void {
    if (operations.length === 0) return
    this.pending = operations.concat(this.pending)
    this.hasWork = true
  }

  private rollBack(): void {
    this.options.content.undo()
    if (this.options.database.isTransaction) this.options.database.exec("ROLLBACK")
  }

  private changes(): number {
    return Number(this.totalChanges.get()!["count"])
  }

  /** Completes the operations when the commit is durable. Leases went out before: losing a lease loses no job. */
  private finish(transaction: Transaction): void {
    const { storage } = this.options
    const { bytes, changes, operations } = transaction
    if (changes === 0 || operations.length === 0) complete(transaction, Result.void)
    // The system reports a failed write to one sync only, so two must not run at the same time.
    else if (storage.sync.isQuick() && !this.isSyncing) complete(transaction, storage.sync.onMainThread())
    else {
      this.unsynced.push(transaction)
      this.wakeSyncer?.()
    }
    this.underWay = []
    if (changes > 0) storage.wrote(pagesPerTransaction + changes, bytes)
  }

  private giveUpAll(fault: unknown): void {
    const committed = this.underWay
    this.underWay = []
    refuse(committed, failure(this.options.broker, fault, "Unknown"))
    this.giveUp(fault)
  }

  private giveUp(cause: unknown, fate: Unavailable["fate"] = "NotSent", isShared = false): void {
    const error = cause instanceof BrokerError ? cause : failure(this.options.broker, cause, fate)
    const batch = this.takePending()
    this.options.onFailure(error, isShared || error.reason._tag === "OutOfMemory")
    refuse(batch, error)
  }
}
