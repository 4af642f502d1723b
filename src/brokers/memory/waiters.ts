/**
 * The calls of `reserve` that wait for a job, by queue. Who waits longest is
 * served first.
 *
 * One alarm serves all of them: it rings when a queue that somebody waits for
 * changes by itself. It may ring too early, when what it was set for has
 * changed since, never too late.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type { Lease } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import * as Jobs from "./jobs.ts"

/** A consumer, and what it holds. */
export interface Holder extends Jobs.Holder {
  readonly queues: ReadonlyArray<Jobs.Queue>
  isClosed: boolean
}

/** A call of `reserve` that waits. */
export interface Waiter {
  /** Orders waiters by how long they wait. */
  readonly number: number
  readonly holder: Holder
  readonly max: number
  readonly resume: (effect: Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError>) => void
}

/** The calls of `reserve` that wait. */
export class Waiters {
  private readonly byQueue = new Map<Jobs.Queue, Set<Waiter>>()
  private readonly setAlarm: (at: number) => void
  private lastNumber = 0
  private alarmAt = Infinity

  /** `setAlarm` has {@link rang} called at a time, and forgets the time that it was given before. */
  constructor(setAlarm: (at: number) => void) {
    this.setAlarm = setAlarm
  }

  /** Lets a call wait. */
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

  /** Forgets a call. */
  remove(waiter: Waiter): void {
    for (const queue of waiter.holder.queues) {
      const waiting = this.byQueue.get(queue)
      if (waiting?.delete(waiter) && waiting.size === 0) this.byQueue.delete(queue)
    }
  }

  /** How many wait for a queue. */
  count(queue: Jobs.Queue): number {
    return this.byQueue.get(queue)?.size ?? 0
  }

  /** Those of a consumer. */
  of(holder: Holder): ReadonlyArray<Waiter> {
    return holder.queues.flatMap((queue) =>
      Array.from(this.byQueue.get(queue) ?? []).filter((waiter) => waiter.holder === holder)
    )
  }

  /** Who waits longest for a queue that has a job to serve. */
  longestServable(queues: ReadonlyArray<Jobs.Queue>): Waiter | undefined {
    let longest: Waiter | undefined
    for (const queue of queues) {
      if (Jobs.servable(queue) === undefined) continue
      const waiter = this.byQueue.get(queue)?.values().next().value
      if (waiter !== undefined && (longest === undefined || waiter.number < longest.number)) longest = waiter
    }
    return longest
  }

  /** Sets the alarm to the next change of a queue, if somebody waits for it. */
  watch(queue: Jobs.Queue): void {
    const at = Jobs.nextChange(queue)
    if (at >= this.alarmAt || !this.byQueue.has(queue)) return
    this.alarmAt = at
    this.setAlarm(at)
  }

  /** The alarm rang. Returns the queues that somebody waits for. */
  rang(): ReadonlyArray<Jobs.Queue> {
    this.alarmAt = Infinity
    return Array.from(this.byQueue.keys())
  }
}
