/**
 * The deliveries that a worker has in hand: those that wait for a free handler,
 * those that run, and those that ended and are not settled yet.
 *
 * At most `concurrency` handlers run at once, each in a fiber of its own, so
 * that one of them can be interrupted alone. No other fiber, timer or span is
 * made per job.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import * as Queue from "effect/Queue"
import type { Lease } from "../Broker.ts"
import { type BrokerError, leaseLost } from "../BrokerError.ts"
import { type Counts, noCounts, type Outcome } from "../Outcome.ts"
import * as Attempt from "./attempt.ts"
import type { Decision } from "./decision.ts"
import type { Decoded, Work } from "./decodeLease.ts"
import type { Settings } from "./options.ts"

/** Deliveries that wait for their settlement are bounded by this, or by twice the concurrency if that is more. */
const minUnsettled = 256

/** How long after its refusal a settlement is tried again. */
const settleAgainAfter = Duration.millis(250)

/** Which clocks a worker goes by. A correction of the wall clock must end no lease: only deadlines go by it. */
export interface Clocks {
  /** Milliseconds of the Clock's monotonic time. */
  readonly now: () => number
  /** Milliseconds since the epoch. */
  readonly wallNow: () => number
}

/** The deliveries in hand. */
export class Attempts {
  readonly all = new Set<Attempt.Attempt>()
  /** Open when there may be room for more leases, or when a delivery was settled. */
  readonly changed = Latch.makeUnsafe(false)
  /** When a delivery came or ended last. */
  lastActiveAt: number
  /** How many jobs were settled; those that run again at once do not count. */
  settled = 0
  private readonly counts: { [Tag in Outcome["_tag"]]: number } = { ...noCounts }
  /** Those that wait for a free handler, and no others. */
  private readonly queue = MutableList.make<Attempt.Attempt>()
  private readonly ended: Queue.Queue<Attempt.Attempt, BrokerError | Cause.Done>
  /** Those whose settlement was refused and is tried again. */
  private refused: ReadonlyArray<Attempt.Attempt> = []
  private runningCount = 0
  private isStarting = false
  private readonly settings: Settings
  private readonly clocks: Clocks
  private readonly runner: Attempt.Runner

  constructor(
    settings: Settings,
    clocks: Clocks,
    runner: Attempt.Runner,
    ended: Queue.Queue<Attempt.Attempt, BrokerError | Cause.Done>
  ) {
    this.settings = settings
    this.clocks = clocks
    this.runner = runner
    this.ended = ended
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

  /** Something happened: the idle time begins anew. */
  markActive(): void {
    this.lastActiveAt = this.clocks.now()
  }

  /** How many more leases there is room for. */
  get capacity(): number {
    const { concurrency, maxJobs, prefetch } = this.settings
    const unsettled = this.all.size - this.runningCount - this.waiting
    return unsettled >= Math.max(2 * concurrency, minUnsettled) ? 0 : Math.min(
      concurrency + prefetch - this.runningCount - this.waiting,
      maxJobs - this.settled - this.all.size
    )
  }

  /** A delivery of this worker, not admitted yet. */
  make(lease: Lease, decoded: Decoded, leasedAt: number): Attempt.Attempt {
    return Attempt.make(lease, decoded, leasedAt, this.clocks.now, this.onEnd)
  }

  /** Takes deliveries in: each starts now, or as soon as a handler is free. */
  admit(attempts: ReadonlyArray<Attempt.Attempt>): void {
    this.markActive()
    for (const attempt of attempts) {
      this.all.add(attempt)
      const { next } = attempt.decoded
      if ("decision" in next) attempt.end(next.decision)
      // the list costs more than all else here, and a handler is free nearly always
      else if (this.waiting === 0 && this.runningCount < this.settings.concurrency) this.start(attempt)
      else MutableList.append(this.queue, attempt)
    }
  }

  /** The broker says that these leases are lost. */
  lose(leases: ReadonlyArray<Lease>): void {
    const lost = new Set(leases)
    for (const attempt of this.all) {
      if (lost.has(attempt.lease)) {
        attempt.interrupt({ _tag: "LeaseLost", handled: false, error: leaseLost(attempt.lease) })
      }
    }
  }

  /** Ends all that wait for a handler with this decision. */
  endWaiting(decision: Decision): void {
    for (const attempt of MutableList.takeAll(this.queue)) attempt.end(decision)
  }

  /** Waits for deliveries that ended. Those whose settlement was refused come again after a while. */
  readonly takeEnded: Effect.Effect<NonEmptyReadonlyArray<Attempt.Attempt>, BrokerError | Cause.Done> = Effect
    .suspend(() =>
      this.refused.length === 0
        ? Queue.takeAll(this.ended)
        : Effect.map(Effect.delay(Queue.clear(this.ended), settleAgainAfter), (ended) => {
          const [first, ...rest] = this.refused
          this.refused = []
          return [first!, ...rest, ...ended] as const
        })
    )

  /** No more deliveries end. */
  readonly end: Effect.Effect<unknown> = Effect.suspend(() => Queue.end(this.ended))

  /** The broker is gone, and no more deliveries end. */
  fail(cause: Cause.Cause<BrokerError>): Effect.Effect<unknown> {
    return Queue.failCause(this.ended, cause)
  }

  /** Has deliveries settled again later. */
  settleAgain(refused: ReadonlyArray<Attempt.Attempt>): void {
    this.refused = refused
  }

  /** Forgets deliveries that were settled, and counts what became of them. */
  remove(attempts: ReadonlyArray<Attempt.Attempt>, outcomes: ReadonlyArray<Outcome>): void {
    for (const attempt of attempts) this.all.delete(attempt)
    for (const { _tag } of outcomes) {
      this.counts[_tag]++
      if (_tag !== "Requeued" && _tag !== "LeaseLost") this.settled++
    }
    this.changed.openUnsafe()
  }

  /** How many deliveries ended which way so far. */
  countsSoFar(): Counts {
    return { ...this.counts }
  }

  // An arrow, since every attempt is given it.
  private readonly onEnd = (attempt: Attempt.Attempt): void => {
    if (attempt.isStarted) this.runningCount--
    else if (this.waiting > 0) MutableList.remove(this.queue, attempt)
    this.lastActiveAt = attempt.endedAt
    Queue.offerUnsafe(this.ended, attempt)
    this.changed.openUnsafe()
    this.startWaiting()
  }

  // A handler that ends at once comes back here from within `start`: then the outer loop goes on.
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
