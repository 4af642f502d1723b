/**
 * Group commit: operations that are asked for in one turn of the event loop
 * share one transaction, and each is answered after its COMMIT, when that is as
 * safe as it is asked to be.
 *
 * An operation is a synchronous function. If SQLite fails in one of them, the
 * transaction is undone and all of its operations fail alike. While another
 * connection writes, nothing blocks: the transaction is tried again after a
 * short sleep, until a limit. Where all that is asked for only reads, and no
 * time is over, nothing is locked.
 *
 * One turn holds the event loop for about {@link turn}, one operation more, and
 * a COMMIT, which does not wait for the disk; operations that are left over have
 * the next. The commits that are made while others are on their way to the disk
 * go together. Where other processes have the file open, a writer that never
 * rests lets them in after each turn.
 *
 * Whatever is thrown, each operation is answered, and the next transaction
 * begins.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { BrokerError, type Unavailable } from "../../BrokerError.ts"
import { failure, isBusy, isFull, isOfSqlite } from "./failure.ts"
import * as Upkeep from "./supervise.ts"
import type { Sync } from "./sync.ts"

/** Milliseconds after which a transaction takes no more operations. */
const turn = 3

/** Bytes after which a transaction takes no more operations: its COMMIT has to write them. */
const most = 1024 * 1024

interface Operation {
  readonly work: (now: number) => unknown
  /** Does it only read? */
  readonly isRead: boolean
  /** Has it to see the jobs as they are now? */
  readonly isCurrent: boolean
  readonly resume: (effect: Effect.Effect<any, BrokerError>) => void
}

/** What a transaction carried out. */
interface Transaction {
  readonly operations: ReadonlyArray<Operation>
  readonly results: ReadonlyArray<unknown>
  /** How many rows it changed. */
  readonly changes: number
  /** How many bytes of bodies it wrote. */
  readonly bytes: number
}

/** Why a transaction was not carried out. Its operations are pending again. */
interface Undone {
  readonly cause: unknown
  readonly fate: Unavailable["fate"]
  /** May one of its operations have been the cause? */
  readonly isShared: boolean
}

const refuse = (operations: ReadonlyArray<Operation>, error: BrokerError): void => {
  for (const { resume } of operations) resume(Effect.fail(error))
}

const answer = ({ operations, results }: Transaction, safe: Result.Result<void, BrokerError>): void => {
  if (Result.isFailure(safe)) return refuse(operations, safe.failure)
  for (let i = 0; i < operations.length; i++) operations[i]!.resume(Effect.succeed(results[i]))
}

/** Pages that a transaction writes beside its bodies and about one for each row that it changes. */
const pagesPerTransaction = 4

const logInUse = "the disk failed, and other programs use the log of the file, which has to be emptied: end them"

/** What is in the file, as far as a transaction has to look after it. */
export interface Content {
  /** Is there time that has passed and is not applied? */
  readonly isDue: (now: number) => boolean
  /** Applies the time that has passed. */
  readonly advance: (now: number) => void
  /** Completes a transaction before its COMMIT. Returns what to do after it. */
  readonly complete: (now: number, isOver: () => boolean) => () => void
  /** Forgets what belonged to a transaction that was undone. */
  readonly undo: () => void
  /** How many bytes of bodies were written so far. */
  readonly bytes: () => number
}

/** Where the file is kept. */
export interface Storage {
  /** Throws where the file is not to be used any more. */
  readonly check: () => void
  /** Do other processes have the file open? */
  readonly hasCompany: () => boolean
  /** Makes what was committed safe. */
  readonly sync: Sync
  /** Waits until there may be written. */
  readonly room: Effect.Effect<void>
  /** Makes space on a full disk. Says whether it could. */
  readonly makeSpace: () => boolean
  /** Takes note of about how many pages a transaction wrote, and how many bytes of bodies beside them. */
  readonly wrote: (pages: number, bytes: number) => void
}

/** How operations are committed. */
export interface Options {
  readonly broker: string
  readonly database: DatabaseSync
  /** How long a lock of another connection is borne. */
  readonly busyTimeout: Duration.Duration
  readonly clock: Clock.Clock
  readonly content: Content
  readonly storage: Storage
  /**
   * Called when a transaction could not be carried out. `isShared` says that an operation may have been the cause, or
   * a disk that is full for now, so that what else belonged to the transaction is worth trying again.
   */
  readonly onFailure: (error: BrokerError, isShared: boolean) => void
}

export class Commits {
  private pending: Array<Operation> = []
  private isWanted = false
  /** Was a transaction asked for beside the operations? */
  private isAsked = false
  private closed: BrokerError | undefined
  /** What is committed and not answered yet. */
  private underWay: ReadonlyArray<Operation> = []
  private lastNow = 0
  /** For how many milliseconds the file was held without a rest. */
  private heldFor = 0
  private wakeWriter: (() => void) | undefined
  private unsafe: Array<Transaction> = []
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

  /** Microseconds since the epoch, never twice the same unless the wall clock was set back. */
  now(): number {
    const wall = this.options.clock.currentTimeMillisUnsafe() * 1000
    this.lastNow = wall > this.lastNow || this.lastNow - wall > 1_000_000 ? wall : this.lastNow + 1
    return this.lastNow
  }

  /** Carries out an operation in the next transaction. Once asked for it is carried out, whoever waits for it. */
  run<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, false, false)
  }

  /** Carries out an operation that sees the jobs as they are now. */
  runNow<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, false, true)
  }

  /** Carries out an operation that only reads, and sees the jobs as they are now. */
  read<A>(work: (now: number) => A): Effect.Effect<A, BrokerError> {
    return this.enter(work, true, true)
  }

  private enter<A>(work: (now: number) => A, isRead: boolean, isCurrent: boolean): Effect.Effect<A, BrokerError> {
    return Effect.callback<A, BrokerError>((resume) => {
      if (this.closed !== undefined) return resume(Effect.fail(this.closed))
      this.pending.push({ work, isRead, isCurrent, resume })
      this.isWanted = true
      this.wakeWriter?.()
    })
  }

  /** Asks for a transaction, also without an operation. */
  want(): void {
    this.isWanted = true
    this.isAsked = true
    this.wakeWriter?.()
  }

  /** Refuses what comes from now on, and what still waits. */
  close(error: BrokerError): void {
    this.closed = error
    const left = this.pending
    this.pending = []
    refuse(left, error)
    // only where the disk did not answer before the broker gave up waiting
    for (const { operations } of this.unsafe) refuse(operations, failure(this.options.broker, "was closed", "Unknown"))
    this.unsafe = []
  }

  /** Commits for as long as its scope lasts. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => {
    const { broker } = this.options
    return Effect.all([
      Effect.forkScoped(Upkeep.forever(`writing to ${broker}`, this.write, (fault) => this.giveUpAll(fault))),
      Effect.forkScoped(Upkeep.forever(`the sync of ${broker}`, this.makeSafe))
    ], { discard: true })
  })

  private readonly wanted = Effect.callback<void>((resume) => {
    if (this.isWanted) return resume(Effect.void)
    this.heldFor = 0
    this.wakeWriter = () => {
      this.wakeWriter = undefined
      resume(Effect.void)
    }
  })

  private readonly committed = Effect.callback<void>((resume) => {
    if (this.unsafe.length > 0) return resume(Effect.void)
    this.wakeSyncer = () => {
      this.wakeSyncer = undefined
      resume(Effect.void)
    }
  })

  /** Makes safe what was committed until now. What is committed meanwhile has the next turn together. */
  private readonly makeSafe = Effect.gen({ self: this }, function*() {
    yield* this.committed
    const transactions = this.unsafe
    this.unsafe = []
    this.isSyncing = true
    yield* this.options.storage.sync.elsewhere.pipe(
      Effect.catchDefect((defect) => Effect.fail(failure(this.options.broker, defect, "Unknown"))),
      Effect.result,
      Effect.map((safe) => {
        this.isSyncing = false
        for (const transaction of transactions) answer(transaction, safe)
      }),
      Effect.uninterruptible
    )
  })

  private millis(): number {
    return Number(this.options.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  private readonly write = Effect.gen({ self: this }, function*() {
    yield* this.wanted
    // What other fibers ask for in this turn joins.
    yield* Effect.yieldNow
    if (!this.isAsked && this.pending.every(({ isRead }) => isRead) && this.tryRead()) return
    const { busyTimeout, storage: { room, sync } } = this.options
    yield* room
    const giveUpAt = this.millis() + Duration.toMillis(busyTimeout)
    while (true) {
      const fault = sync.recover()
      if (fault instanceof BrokerError) return this.giveUp(fault)
      const cause = fault === "Busy" ? logInUse : this.tryBegin()
      if (cause === undefined) break
      if (cause !== logInUse && !isBusy(cause) || this.millis() >= giveUpAt) return this.giveUp(cause)
      // Often, so that a short rest of somebody who writes and writes is enough.
      yield* Effect.flatMap(Random.nextBetween(0.5, 1.5), (millis) => Effect.sleep(millis))
    }
    const began = this.millis()
    this.carryOut()
    this.heldFor += this.millis() - began
    if (this.heldFor < turn) return
    this.heldFor = 0
    if (this.options.storage.hasCompany()) yield* Effect.sleep(1)
  })

  /** Carries out the transaction that is begun. */
  private carryOut(): void {
    const done = this.transaction()
    if (!("cause" in done)) return this.finish(done)
    const again = isFull(done.cause) && this.options.storage.makeSpace() && this.tryBegin() === undefined
    const last = again ? this.transaction() : done
    if ("cause" in last) this.giveUp(last.cause, last.fate, last.isShared)
    else this.finish(last)
  }

  // try/catch from here on: this runs once for each transaction, between BEGIN and COMMIT, and must not yield.

  private tryBegin(): unknown {
    try {
      this.begin.run()
      return undefined
    } catch (cause) {
      return cause
    }
  }

  /** Carries out what is pending, if no time is over that would have to be applied before. Says whether it did. */
  private tryRead(): boolean {
    const { content, storage } = this.options
    const batch = this.takePending()
    const results: Array<unknown> = []
    try {
      this.beginRead.run()
      const isCurrent = !content.isDue(this.now())
      if (isCurrent) {
        storage.check()
        this.carryOutTurn(batch, results, () => {})
      }
      this.commit.run()
      this.putBack(batch.splice(results.length))
      answer({ operations: batch, results, changes: 0, bytes: 0 }, Result.void)
      return isCurrent
    } catch (cause) {
      this.putBack(batch)
      this.rollBack()
      if (!isBusy(cause)) this.giveUp(this.explain(cause), "NotSent", true)
      return !isBusy(cause)
    }
  }

  /** A file that is not to be used any more is the reason for whatever else goes wrong with it. */
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
      const isOver = this.carryOutTurn(batch, results, content.advance)
      afterwards = content.complete(this.now(), isOver)
      storage.check()
      fate = "Unknown"
      this.commit.run()
      changes = this.changes() - changesBefore
    } catch (thrown) {
      const cause = fate === "NotSent" ? this.explain(thrown) : thrown
      // What is not SQLite's was thrown by one operation, and would be again: the others go on without it.
      const culprit = isOfSqlite(cause) ? undefined : batch[results.length]
      this.putBack(batch.filter((operation) => operation !== culprit))
      this.rollBack()
      if (culprit === undefined) return { cause, fate, isShared: batch.length > 0 }
      culprit.resume(Effect.fail(failure(this.options.broker, cause, "Unknown")))
      this.want()
      return { operations: [], results: [], changes: 0, bytes: 0 }
    }
    this.putBack(batch.splice(results.length))
    this.underWay = batch
    afterwards()
    return { operations: batch, results, changes, bytes: content.bytes() - bytesBefore }
  }

  /** Carries out operations until the turn is over. Returns what says whether it is. */
  private carryOutTurn(
    batch: ReadonlyArray<Operation>,
    results: Array<unknown>,
    advance: (now: number) => void
  ): () => boolean {
    const { bytes } = this.options.content
    const endAt = this.millis() + turn
    const endAtBytes = bytes() + most
    const isOver = () => this.millis() > endAt || bytes() > endAtBytes
    for (const { isCurrent, work } of batch) {
      const now = this.now()
      if (isCurrent) advance(now)
      results.push(work(now))
      if (isOver()) break
    }
    return isOver
  }

  private takePending(): Array<Operation> {
    const batch = this.pending
    this.pending = []
    this.isWanted = false
    this.isAsked = false
    return batch
  }

  /** Leaves operations for the next turn. */
  private putBack(operations: ReadonlyArray<Operation>): void {
    if (operations.length === 0) return
    this.pending = operations.concat(this.pending)
    this.isWanted = true
  }

  private rollBack(): void {
    this.options.content.undo()
    if (this.options.database.isTransaction) this.options.database.exec("ROLLBACK")
  }

  private changes(): number {
    return Number(this.totalChanges.get()!["count"])
  }

  /** Answers a transaction's operations when it is safe. A lease is handed out before: losing one loses no job. */
  private finish(transaction: Transaction): void {
    const { storage } = this.options
    const { bytes, changes, operations } = transaction
    if (changes === 0 || operations.length === 0) answer(transaction, Result.void)
    // Of two syncs at a time one would be told of a failure, and the other not.
    else if (storage.sync.isQuick() && !this.isSyncing) answer(transaction, storage.sync.here())
    else {
      this.unsafe.push(transaction)
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
