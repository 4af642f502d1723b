/**
 * The attempts of a worker in progress: those that wait for a free handler, those
 * that run, and those that ended and are not settled yet.
 *
 * At most `concurrency` handlers run at once, each in its own fiber, so that one
 * can be interrupted alone. A job costs no other fiber, timer or span.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MutableList from "effect/MutableList"
import type { Lease } from "../Broker.ts"
import { type BrokerError, leaseLost } from "../BrokerError.ts"
import { type Counts, noCounts, type Outcome } from "../Outcome.ts"
import * as Attempt from "./attempt.ts"
import type { Decision } from "./decision.ts"
import type { Decoded, Work } from "./decodeLease.ts"
import { Gate } from "./gate.ts"
import type { Settings } from "./options.ts"

/** At most this many attempts, or twice the concurrency if that is more, wait for their settlement. */
const minUnsettled = 256

/** The pause before a refused settlement is retried. */
const settleAgainAfterMillis = 250

/** The clocks of a worker. Only deadlines use the wall clock, so that its correction ends no lease. */
export interface Clocks {
  /** Milliseconds of the Clock's monotonic time. */
  readonly now: () => number
  /** Milliseconds since the epoch. */
  readonly wallNow: () => number
}

const interruptLost = (attempt: Attempt.Attempt): void =>
  attempt.interrupt({ _tag: "LeaseLost", handled: false, error: leaseLost(attempt.lease) })

/** The attempts in progress. */
export class Attempts {
  readonly all = new Set<Attempt.Attempt>()
  /** Checked when there may be capacity for more leases, and when attempts were settled. */
  readonly changed = new Gate()
  /** When an attempt was last admitted or ended. */
  lastActiveAt: number
  /** How many jobs were settled, without requeued ones and lost leases. */
  settled = 0
  private readonly counts: { [Tag in Outcome["_tag"]]: number } = { ...noCounts }
  /** Only those that wait for a free handler. */
  private readonly queue = MutableList.make<Attempt.Attempt>()
  /** Only those that ended and that nobody settles yet. */
  private ended: Array<Attempt.Attempt> = []
  /** Set when no more attempts come. */
  private ending: Exit.Exit<never, BrokerError | Cause.Done> | undefined
  /** Checked when attempts have ended. */
  private readonly hasEnded = new Gate()
  /** Those whose settlement was refused and is retried. */
  private refused: ReadonlyArray<Attempt.Attempt> = []
  private runningCount = 0
  private isStarting = false
  private isAdmitting = false
  private isWakeDue = false
  private readonly settings: Settings
  private readonly clocks: Clocks
  private readonly runner: Attempt.Runner

  constructor(
    settings: Settings,
    clocks: Clocks,
    runner: Attempt.Runner
  ) {
    this.settings = settings
    this.clocks = clocks
    this.runner = runner
    this.lastActiveAt = clocks.now()
  }

  /** How many handlers run. */
  get running(): number {
    return this.runningCount
  }

  /** How many wait for a free handler. */
  get waiting(): number {
    return this.queue.length
  }

  /** Restarts the idle time. */
  markActive(): void {
    this.lastActiveAt = this.clocks.now()
  }

  /** How many more leases the worker can take. */
  get capacity(): number {
    const { concurrency, maxJobs, prefetch } = this.settings
    const unsettled = this.all.size - this.runningCount - this.waiting
    return unsettled >= Math.max(2 * concurrency, minUnsettled) ? 0 : Math.min(
      concurrency + prefetch - this.runningCount - this.waiting,
      maxJobs - this.settled - this.all.size
    )
  }

  /** Makes an attempt, which is not admitted yet. */
  make(lease: Lease, decoded: Decoded, leasedAt: number): Attempt.Attempt {
    return Attempt.make(lease, decoded, leasedAt, this.clocks.now, this.onEnd)
  }

  /**
   * Admits attempts: each starts now, or as soon as a handler is free. Those that end within this call are settled
   * together, before it returns.
   */
  admit(attempts: ReadonlyArray<Attempt.Attempt>): void {
    this.markActive()
    this.isAdmitting = true
    for (const attempt of attempts) {
      this.all.add(attempt)
      const { next } = attempt.decoded
      if ("decision" in next) attempt.end(next.decision)
      // a handler is free nearly always, and the list would cost more than all else here
      else if (this.waiting === 0 && this.runningCount < this.settings.concurrency) this.start(attempt)
      else MutableList.append(this.queue, attempt)
    }
    this.isAdmitting = false
    this.hasEnded.check()
  }

  /** Interrupts the attempts whose leases the broker reports as lost. */
  lose(leases: ReadonlyArray<Lease>): void {
    const lost = new Set(leases)
    for (const attempt of this.all) if (lost.has(attempt.lease)) interruptLost(attempt)
  }

  /** Interrupts all attempts, because the broker stays away and their leases are over. */
  loseAll(): void {
    for (const attempt of this.all) interruptLost(attempt)
  }

  /** Ends all attempts that wait for a handler, with this decision. */
  endWaiting(decision: Decision): void {
    for (const attempt of MutableList.takeAll(this.queue)) attempt.end(decision)
  }

  /**
   * Waits for attempts that ended. Those whose settlement was refused come again after a pause. All of them come again
   * until `settling`, because an interruption may end the caller before it has them.
   */
  readonly nextEnded: Effect.Effect<NonEmptyReadonlyArray<Attempt.Attempt>, BrokerError | Cause.Done> = Effect.suspend(
    () =>
      Effect.andThen(
        this.refused.length === 0
          ? this.hasEnded.until(() => this.ended.length > 0 || this.ending !== undefined)
          : Effect.sleep(settleAgainAfterMillis),
        this.endedNow
      )
  )

  private readonly endedNow = Effect.suspend(() => {
    const all = this.refused.length === 0 ? this.ended : [...this.refused, ...this.ended]
    return isReadonlyArrayNonEmpty(all) ? Effect.succeed(all) : this.ending!
  })

  /** Marks that the settlement of attempts from `nextEnded` is under way. */
  settling(attempts: ReadonlyArray<Attempt.Attempt>): void {
    for (const attempt of attempts) attempt.settle()
    const count = attempts.length - this.refused.length
    // others may have ended since
    this.ended = count === this.ended.length ? [] : this.ended.slice(count)
    this.refused = []
  }

  /** Ends `nextEnded` after the last attempt, or fails it because the broker is gone. */
  end(ending: Exit.Exit<never, BrokerError | Cause.Done>): void {
    this.ending = ending
    this.hasEnded.check()
  }

  /** Retries the settlement of these attempts later. */
  settleAgain(refused: ReadonlyArray<Attempt.Attempt>): void {
    this.refused = refused
  }

  /** Removes settled attempts and counts their outcomes. */
  remove(attempts: ReadonlyArray<Attempt.Attempt>, outcomes: ReadonlyArray<Outcome>): void {
    for (const attempt of attempts) this.all.delete(attempt)
    for (const { _tag } of outcomes) {
      this.counts[_tag]++
      if (_tag !== "Requeued" && _tag !== "LeaseLost") this.settled++
    }
    this.changed.check()
  }

  /** A copy of the counts so far. */
  countsSoFar(): Counts {
    return { ...this.counts }
  }

  // An arrow function, because every attempt stores it.
  private readonly onEnd = (attempt: Attempt.Attempt): void => {
    if (attempt.isStarted) this.runningCount--
    else if (this.waiting > 0) MutableList.remove(this.queue, attempt)
    this.lastActiveAt = attempt.endedAt
    this.ended.push(attempt)
    if (!this.isAdmitting) this.wakeSoon()
    this.startWaiting()
  }

  // All attempts that end in one turn of the event loop are settled together. The reserve that follows leaves in the
  // same write, because its fiber goes on right after the settlement was sent.
  private wakeSoon(): void {
    if (this.isWakeDue) return
    this.isWakeDue = true
    Effect.runFork(Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => {
        this.isWakeDue = false
        this.hasEnded.check()
        this.changed.check()
      })
    ))
  }

  // A handler that ends at once calls this from within `start`; then the outer loop continues.
  private startWaiting(): void {
    if (this.isStarting) return
    this.isStarting = true
    while (this.runningCount < this.settings.concurrency) {
      const attempt = MutableList.take(this.queue)
      if (attempt === MutableList.Empty) break
      this.start(attempt)
    }
    this.isStarting = false
  }

  private start(attempt: Attempt.Attempt): void {
    const { expiresAt, next } = attempt.decoded
    if (expiresAt !== undefined && expiresAt <= this.clocks.wallNow()) {
      return attempt.end({ _tag: "Expire", expiresAt })
    }
    this.runningCount++
    attempt.start(this.runner, next as Work)
  }
}
