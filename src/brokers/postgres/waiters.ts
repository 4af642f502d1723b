/**
 * Calls that wait for a job, and the one fiber that serves them, the longest
 * waiting first. If a queue is empty, only the first of its waiters asks the
 * server.
 *
 * The fiber wakes when this process puts, on notifications, and when a delay,
 * lease or pause ends. It also polls, because notifications can get lost.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { type BrokerError, notSent } from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import { Waiting } from "../shared/index.ts"
import { isWorthWaiting } from "./failure.ts"

/** Milliseconds after a change at which others may see what it brought. After the last the waiters poll. */
const looks = [10, 50, 250]

const pauses: Limits = { firstMillis: 50, longestMillis: 500 }

/** A call of `reserve`. */
export interface Waiter<Lease> extends Waiting.Waiter {
  /** Leases what is ready. `isShort`: there is no more for it. */
  readonly take: Effect.Effect<{ readonly leases: ReadonlyArray<Lease>; readonly isShort: boolean }, BrokerError>
  readonly served: (leases: NonEmptyReadonlyArray<Lease>) => void
  /** Requeues jobs that were leased for a call that has ended. */
  readonly requeue: (leases: ReadonlyArray<Lease>) => Effect.Effect<void>
}

/** What the waiters need of the server. */
export interface Source {
  /** Ends delays and leases that are over. */
  readonly advance: Effect.Effect<void, BrokerError>
  /** Milliseconds until the next delay, lease or pause is over. */
  readonly nextDue: Effect.Effect<number, BrokerError>
  /** Milliseconds between two looks while nothing is heard. */
  readonly poll: () => number
  /** For how many milliseconds the server may be away. */
  readonly patience: number
  /** The number of those who wait may have changed. */
  readonly onIdle: () => void
}

/** The calls that wait. */
export class Waiters<Lease> {
  private readonly all = new Waiting.WaiterSet<Waiter<Lease>>()
  private readonly source: Source
  private wake: (() => void) | undefined
  private isWoken = false
  private looked = 0
  /** Milliseconds until the next delay, lease or pause is over, if that was just asked. */
  private due: number | undefined
  private awaySince: number | undefined
  private failures = 0

  constructor(source: Source) {
    this.source = source
  }

  /** Enters a call. */
  add(waiter: Waiter<Lease>): void {
    this.all.add(waiter)
    this.look()
  }

  /** Takes a call out. */
  remove(waiter: Waiter<Lease>): void {
    if (this.all.delete(waiter) && waiter.isWaiting) this.source.onIdle()
  }

  /** A call found no job, and waits. */
  private idle(waiter: Waiter<Lease>): void {
    if (waiter.isWaiting || !this.all.has(waiter)) return
    waiter.isWaiting = true
    this.source.onIdle()
  }

  /** Something may be ready. */
  look(): void {
    this.looked = 0
    this.isWoken = true
    this.wake?.()
  }

  /** Fails some of those who wait. */
  fail(error: BrokerError, which?: (waiter: Waiter<Lease>) => boolean): void {
    this.all.fail(error, which)
    this.source.onIdle()
  }

  /** How many wait on each queue. */
  counts(): ReadonlyMap<string, number> {
    return this.all.counts()
  }

  /** How many wait. */
  get size(): number {
    return this.all.waiting
  }

  private readonly woken = Effect.callback<void>((resume) => {
    if (this.isWoken) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  private readonly serve = Effect.gen({ self: this }, function*() {
    yield* this.source.advance
    const empty = new Set<string>()
    for (const waiter of Array.from(this.all)) {
      if (waiter.queues.every((queue) => empty.has(queue))) {
        this.idle(waiter)
        continue
      }
      const { isShort, leases } = yield* waiter.take
      if (isShort) { for (const queue of waiter.queues) empty.add(queue) }
      if (!this.all.has(waiter)) yield* waiter.requeue(leases)
      else if (isReadonlyArrayNonEmpty(leases)) {
        this.remove(waiter)
        waiter.served(leases)
      } else this.idle(waiter)
    }
    this.awaySince = undefined
    this.failures = 0
  })

  /** Waits for the server, for as long as the waiters have patience. */
  private readonly away = Effect.fnUntraced(function*(this: Waiters<Lease>, error: BrokerError) {
    const now = yield* Clock.currentTimeMillis
    this.awaySince ??= now
    if (!isWorthWaiting(error) || now - this.awaySince >= this.source.patience) {
      this.awaySince = undefined
      return this.fail(notSent(error))
    }
    yield* Effect.sleep(Math.min(pauseMillis(++this.failures, 1, pauses), this.source.patience))
    this.isWoken = true
  })

  /** Waits until jobs may be ready. `true`: nothing says that there are any. */
  private readonly rest = Effect.gen({ self: this }, function*() {
    if (this.isWoken) return false
    if (this.all.size === 0) return yield* Effect.as(this.woken, false)
    const due = this.due ?? (yield* this.source.nextDue)
    const poll = this.source.poll() * (0.9 + 0.2 * (yield* Random.next))
    const look = Math.min(looks[this.looked] ?? poll, poll)
    this.looked++
    const heard = yield* Effect.timeoutOption(this.woken, Math.max(1, Math.min(due, look)))
    return Option.isNone(heard) && look < due
  })

  /**
   * Serves where there is most likely no job, and asks beside it when there will be one: one write, one wake-up of the
   * server. A failure of the second question must not interrupt the first, which may be leasing jobs.
   */
  private readonly poll = Effect.suspend(() =>
    Effect.map(
      Effect.all([this.serve, Effect.option(this.source.nextDue)], { concurrency: 2 }),
      ([, due]) => {
        this.due = Option.getOrUndefined(due)
      }
    )
  )

  /** Serves for as long as it is not interrupted. */
  readonly run: Effect.Effect<never> = Effect.forever(
    Effect.catch(
      Effect.flatMap(this.rest, (isPoll) => {
        this.isWoken = false
        this.due = undefined
        if (this.all.size === 0) return Effect.void
        return isPoll ? this.poll : this.serve
      }),
      (error) => this.away(error)
    )
  )
}
