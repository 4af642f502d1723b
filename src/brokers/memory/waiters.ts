/**
 * The calls of `reserve` that wait for a job, by queue. The longest waiting is
 * served first.
 *
 * One alarm serves all of them. It rings when a delay, a lease or a pause ends in
 * a queue with waiters. It may ring too early, if that has changed since, but
 * never too late.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type { Lease } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import * as Jobs from "./jobs.ts"

/** A consumer and its queues. */
export interface Holder extends Jobs.Holder {
  readonly queues: ReadonlyArray<Jobs.Queue>
  isClosed: boolean
}

/** A call of `reserve` that waits. */
export interface Waiter {
  /** Orders waiters: a smaller number has waited longer. */
  readonly number: number
  readonly holder: Holder
  readonly max: number
  readonly resume: (effect: Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError>) => void
}

/** The waiters of a store. */
export class Waiters {
  private readonly byQueue = new Map<Jobs.Queue, Set<Waiter>>()
  private readonly setAlarm: (at: number) => void
  private lastNumber = 0
  private alarmAt = Infinity

  /** `setAlarm` makes sure that {@link rang} is called at this time. A later call replaces the time. */
  constructor(setAlarm: (at: number) => void) {
    this.setAlarm = setAlarm
  }

  add(waiter: Omit<Waiter, "number">): Waiter {
    const numbered = { ...waiter, number: ++this.lastNumber }
    for (const queue of waiter.holder.queues) {
      const waiting = this.byQueue.get(queue)
      if (waiting === undefined) this.byQueue.set(queue, new Set([numbered]))
      else waiting.add(numbered)
      this.watch(queue)
    }
    return numbered
  }

  remove(waiter: Waiter): void {
    for (const queue of waiter.holder.queues) {
      const waiting = this.byQueue.get(queue)
      if (waiting?.delete(waiter) && waiting.size === 0) this.byQueue.delete(queue)
    }
  }

  /** The number of waiters on a queue. */
  count(queue: Jobs.Queue): number {
    return this.byQueue.get(queue)?.size ?? 0
  }

  /** The waiters of a consumer. */
  of(holder: Holder): ReadonlyArray<Waiter> {
    return holder.queues.flatMap((queue) =>
      Array.from(this.byQueue.get(queue) ?? []).filter((waiter) => waiter.holder === holder)
    )
  }

  /** The waiter that has waited longest on a queue that has a job to serve. */
  longestServable(queues: ReadonlyArray<Jobs.Queue>): Waiter | undefined {
    let longest: Waiter | undefined
    for (const queue of queues) {
      if (Jobs.servable(queue) === undefined) continue
      const waiter = this.byQueue.get(queue)?.values().next().value
      if (waiter !== undefined && (longest === undefined || waiter.number < longest.number)) longest = waiter
    }
    return longest
  }

  /** Sets the alarm to the next end of a delay, lease or pause of a queue, if the queue has waiters. */
  watch(queue: Jobs.Queue): void {
    const at = Jobs.nextChange(queue)
    if (at >= this.alarmAt || !this.byQueue.has(queue)) return
    this.alarmAt = at
    this.setAlarm(at)
  }

  /** Call it when the alarm rings. Returns the queues that have waiters. */
  rang(): ReadonlyArray<Jobs.Queue> {
    this.alarmAt = Infinity
    return Array.from(this.byQueue.keys())
  }
}
