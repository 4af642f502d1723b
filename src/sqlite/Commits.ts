/**
 * Group commit: operations that are asked for in one turn of the event loop
 * share one transaction, and each is answered after its COMMIT.
 *
 * An operation is a synchronous function. If SQLite fails in one of them, the
 * transaction is undone and all of its operations fail alike. While another
 * connection writes, nothing blocks: the transaction is tried again after a
 * short sleep, until a limit.
 *
 * One turn holds the event loop for about {@link turn} and a COMMIT; operations
 * that are left over have the next.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { brokerClosed, type BrokerError, type Unavailable } from "../BrokerError.ts"
import { failure, isBusy } from "./failure.ts"

/** Milliseconds after which a transaction takes no more operations. */
const turn = 4

interface Operation {
  readonly work: (now: number) => unknown
  readonly resume: (effect: Effect.Effect<any, BrokerError>) => void
}

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
  private readonly begin: StatementSync
  private readonly commit: StatementSync
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
    this.begin = options.database.prepare("BEGIN IMMEDIATE")
    this.commit = options.database.prepare("COMMIT")
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
    for (const { resume } of left) resume(Effect.fail(brokerClosed(this.options.broker)))
  }

  /** Commits for as long as its scope lasts. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => this.write).pipe(
    Effect.forever,
    Effect.forkScoped,
    Effect.asVoid
  )

  private readonly wanted = Effect.callback<void>((resume) => {
    if (this.isWanted) return resume(Effect.void)
    this.wakeWriter = () => {
      this.wakeWriter = undefined
      resume(Effect.void)
    }
  })

  private readonly write = Effect.gen({ self: this }, function*() {
    yield* this.wanted
    // What other fibers ask for in this turn joins.
    yield* Effect.yieldNow
    const { busyTimeout, clock } = this.options
    const giveUpAt = clock.monotonicTimeNanosUnsafe() + BigInt(Math.ceil(Duration.toMillis(busyTimeout) * 1e6))
    while (true) {
      const cause = this.tryBegin()
      if (cause === undefined) return this.transaction()
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

  private transaction(): void {
    const { atEnd, clock, database } = this.options
    const batch = this.pending
    this.pending = []
    this.isWanted = false
    const results: Array<unknown> = []
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
      return this.giveUp(cause, fate, batch.length > 0)
    }
    const left = batch.splice(results.length)
    if (left.length > 0) {
      this.pending = left.concat(this.pending)
      this.isWanted = true
    }
    afterwards()
    for (let i = 0; i < batch.length; i++) batch[i]!.resume(Effect.succeed(results[i]))
  }

  private giveUp(cause: unknown, fate: Unavailable["fate"] = "NotSent", isShared = false): void {
    const error = failure(this.options.broker, cause, fate)
    const batch = this.pending
    this.pending = []
    this.isWanted = false
    this.options.onFailure(error, isShared || error.reason._tag === "OutOfMemory")
    for (const { resume } of batch) resume(Effect.fail(error))
  }
}
