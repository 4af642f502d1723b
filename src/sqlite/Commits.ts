/**
 * Group commit: operations that are asked for in one turn of the event loop
 * share one transaction, and each is answered after its COMMIT, when that is as
 * safe as it is asked to be.
 *
 * An operation is a synchronous function. If SQLite fails in one of them, the
 * transaction is undone and all of its operations fail alike. While another
 * connection writes, nothing blocks: the transaction is tried again after a
 * short sleep, until a limit.
 *
 * One turn holds the event loop for about {@link turn} and a COMMIT, which does
 * not wait for the disk; operations that are left over have the next. The
 * commits that are made while others are on their way to the disk go together.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { brokerClosed, type BrokerError, type Unavailable } from "../BrokerError.ts"
import { failure, isBusy } from "./failure.ts"
import type { Sync } from "./Sync.ts"

/** Milliseconds after which a transaction takes no more operations. */
const turn = 4

interface Operation {
  readonly work: (now: number) => unknown
  readonly resume: (effect: Effect.Effect<any, BrokerError>) => void
}

/** What a transaction carried out. */
interface Transaction {
  readonly operations: ReadonlyArray<Operation>
  readonly results: ReadonlyArray<unknown>
  /** How many rows it changed. */
  readonly changes: number
}

const refuse = (operations: ReadonlyArray<Operation>, error: BrokerError): void => {
  for (const { resume } of operations) resume(Effect.fail(error))
}

const answer = ({ operations, results }: Transaction, safe: Result.Result<void, BrokerError>): void => {
  if (Result.isFailure(safe)) return refuse(operations, safe.failure)
  for (let i = 0; i < operations.length; i++) operations[i]!.resume(Effect.succeed(results[i]))
}

const nothing: Transaction = { operations: [], results: [], changes: 0 }

/** Pages that a transaction writes beside about one for each row it changes. */
const pagesPerTransaction = 4

/** What happens at the end of every transaction, before its COMMIT. Returns what to do after it. */
export type AtEnd = (now: number) => () => void

/** How operations are committed. */
export interface Options {
  readonly broker: string
  readonly database: DatabaseSync
  /** How long a lock of another connection is borne. */
  readonly busyTimeout: Duration.Duration
  readonly clock: Clock.Clock
  readonly atEnd: AtEnd
  /** Makes what was committed safe. */
  readonly sync: Sync
  /** Called with about how many pages a transaction wrote. */
  readonly onWritten: (pages: number) => void
  /**
   * Called when a transaction could not be carried out. `isShared` says that an operation may have been the cause, or
   * a disk that is full for now, so that what else belonged to the transaction is worth trying again.
   */
  readonly onFailure: (error: BrokerError, isShared: boolean) => void
}

export class Commits {
  private pending: Array<Operation> = []
  private isWanted = false
  private isClosed = false
  private lastNow = 0
  private wakeWriter: (() => void) | undefined
  private unsafe: Array<Transaction> = []
  private wakeSyncer: (() => void) | undefined
  private readonly begin: StatementSync
  private readonly commit: StatementSync
  private readonly totalChanges: StatementSync
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
    this.begin = options.database.prepare("BEGIN IMMEDIATE")
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
    return Effect.callback<A, BrokerError>((resume) => {
      if (this.isClosed) return resume(Effect.fail(brokerClosed(this.options.broker)))
      this.pending.push({ work, resume })
      this.want()
    })
  }

  /** Asks for a transaction, also without an operation. */
  want(): void {
    this.isWanted = true
    this.wakeWriter?.()
  }

  /** Refuses what comes from now on, and what still waits. */
  close(): void {
    this.isClosed = true
    const left = this.pending
    this.pending = []
    refuse(left, brokerClosed(this.options.broker))
    // only where the disk did not answer before the broker gave up waiting
    for (const { operations } of this.unsafe) refuse(operations, failure(this.options.broker, "was closed", "Unknown"))
    this.unsafe = []
  }

  /** Commits for as long as its scope lasts. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.all([
      Effect.forkScoped(Effect.forever(this.write)),
      Effect.forkScoped(Effect.forever(this.makeSafe))
    ], { discard: true })
  )

  private readonly wanted = Effect.callback<void>((resume) => {
    if (this.isWanted) return resume(Effect.void)
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
    yield* Effect.result(this.options.sync.elsewhere).pipe(
      Effect.map((safe) => {
        for (const transaction of transactions) answer(transaction, safe)
      }),
      Effect.uninterruptible
    )
  })

  private readonly write = Effect.gen({ self: this }, function*() {
    yield* this.wanted
    // What other fibers ask for in this turn joins.
    yield* Effect.yieldNow
    const { busyTimeout, clock } = this.options
    const giveUpAt = clock.monotonicTimeNanosUnsafe() + BigInt(Math.ceil(Duration.toMillis(busyTimeout) * 1e6))
    while (true) {
      const cause = this.tryBegin()
      if (cause === undefined) return this.finish(this.transaction())
      if (!isBusy(cause) || clock.monotonicTimeNanosUnsafe() >= giveUpAt) return this.giveUp(cause)
      yield* Effect.flatMap(Random.nextBetween(0.5, 3), (millis) => Effect.sleep(millis))
    }
  })

  // try/catch from here on: this runs once for each transaction, between BEGIN and COMMIT, and must not yield.

  private tryBegin(): unknown {
    try {
      this.begin.run()
      return undefined
    } catch (cause) {
      return cause
    }
  }

  private transaction(): Transaction {
    const { atEnd, clock, database } = this.options
    const batch = this.pending
    this.pending = []
    this.isWanted = false
    const results: Array<unknown> = []
    const changesBefore = this.changes()
    let afterwards: () => void
    let fate: Unavailable["fate"] = "NotSent"
    try {
      const endAt = clock.monotonicTimeNanosUnsafe() + BigInt(turn * 1e6)
      for (const operation of batch) {
        results.push(operation.work(this.now()))
        if (results.length % 16 === 0 && clock.monotonicTimeNanosUnsafe() > endAt) break
      }
      afterwards = atEnd(this.now())
      fate = "Unknown"
      this.commit.run()
    } catch (cause) {
      if (database.isTransaction) database.exec("ROLLBACK")
      this.pending = batch.concat(this.pending)
      this.giveUp(cause, fate, batch.length > 0)
      return nothing
    }
    const left = batch.splice(results.length)
    if (left.length > 0) {
      this.pending = left.concat(this.pending)
      this.isWanted = true
    }
    const changes = this.changes() - changesBefore
    afterwards()
    return { operations: batch, results, changes }
  }

  private changes(): number {
    return Number(this.totalChanges.get()!["count"])
  }

  /** Answers a transaction's operations when it is safe. A lease is handed out before: losing one loses no job. */
  private finish(transaction: Transaction): void {
    const { onWritten, sync } = this.options
    const { changes, operations } = transaction
    if (changes === 0 || operations.length === 0) answer(transaction, Result.void)
    else if (sync.isQuick()) answer(transaction, sync.here())
    else {
      this.unsafe.push(transaction)
      this.wakeSyncer?.()
    }
    if (changes > 0) onWritten(pagesPerTransaction + changes)
  }

  private giveUp(cause: unknown, fate: Unavailable["fate"] = "NotSent", isShared = false): void {
    const error = failure(this.options.broker, cause, fate)
    const batch = this.pending
    this.pending = []
    this.isWanted = false
    this.options.onFailure(error, isShared || error.reason._tag === "OutOfMemory")
    refuse(batch, error)
  }
}
