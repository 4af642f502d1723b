/**
 * The deliveries that a worker has in hand: those that wait for a free handler,
 * those that run, and those that ended and are not settled yet.
 *
 * Handlers run as fibers of their own, so that one of them can be interrupted
 * alone: no fiber, timer or span is made per job beyond that one.
 */
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Lease, LeaseInfo } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import { callOr } from "../internal/thrown.ts"
import { failed, fromExit, type Interruption, type Verdict } from "./decision.ts"
import type { Dispatched, Work } from "./dispatch.ts"

/** One delivery, from its lease to its settlement. Times are milliseconds of the Clock's monotonic time. */
export interface Entry {
  readonly lease: Lease
  readonly dispatched: Dispatched
  readonly leasedAt: number
  info: LeaseInfo | undefined
  /** When the lease has to be looked after next; Infinity for never. */
  touchAt: number
  startedAt: number
  endedAt: number
  /** When the attempt has to be interrupted, and what for. */
  limit: { readonly at: number; readonly interruption: Interruption } | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  interruption: Interruption | undefined
  verdict: Verdict | undefined
  /** Is its settlement under way? Until then its lease is renewed. */
  settling: boolean
  /** Why the broker did not carry out its settlement at first. */
  refused: BrokerError | undefined
}

/** The deliveries in hand. */
export interface InFlight {
  readonly entries: Set<Entry>
  readonly running: () => number
  readonly waiting: () => number
  /** Ended, and not settled yet. */
  readonly unsettled: () => number
  /** Takes a delivery in: it starts now, or as soon as a handler is free. */
  readonly admit: (entry: Entry) => void
  /** Starts no more; those that wait end with this verdict. */
  readonly close: (verdict: Verdict) => void
  /** Interrupts a handler, or ends a delivery that waits for one. */
  readonly interrupt: (entry: Entry, interruption: Interruption) => void
  /** Forgets a delivery that was settled. */
  readonly remove: (entry: Entry) => void
}

/** Makes an empty table. */
export const make = (options: {
  readonly concurrency: number
  readonly now: () => number
  /** Is a job past its deadline? */
  readonly isExpired: (expiresAt: number) => boolean
  /** Starts a handler. Called with `entry.startedAt` set. */
  readonly run: (entry: Entry, work: Work) => Fiber.Fiber<unknown, unknown>
  /** Is told when a delivery has its verdict. */
  readonly onEnd: (entry: Entry) => void
}): InFlight => {
  const entries = new Set<Entry>()
  let waiting: Array<Entry> = []
  let running = 0
  let ended = 0
  let starting = false

  const end = (entry: Entry, verdict: Verdict) => {
    entry.verdict = verdict
    entry.endedAt = options.now()
    ended++
    options.onEnd(entry)
  }

  const start = (entry: Entry, work: Work) => {
    running++
    entry.startedAt = options.now()
    // an Effect that is none may throw out of the fiber that runs it
    entry.fiber = callOr(() => options.run(entry, work), (thrown) => {
      running--
      end(entry, failed(thrown))
      return undefined
    })
    entry.fiber?.addObserver((exit: Exit.Exit<unknown, unknown>) => {
      running--
      end(entry, fromExit(exit, entry.interruption))
      startWaiting()
    })
  }

  // a handler that ends at once comes back here from within `start`: the outer loop goes on
  const startWaiting = () => {
    if (starting) return
    starting = true
    while (waiting.length > 0 && running < options.concurrency) {
      const entry = waiting.shift()!
      const { expiresAt, next } = entry.dispatched
      if (expiresAt !== undefined && options.isExpired(expiresAt)) end(entry, { _tag: "Expire", expiresAt })
      else start(entry, next as Work)
    }
    starting = false
  }

  return {
    entries,
    running: () => running,
    waiting: () => waiting.length,
    unsettled: () => ended,
    admit: (entry) => {
      entries.add(entry)
      const { next } = entry.dispatched
      if ("verdict" in next) return end(entry, next.verdict)
      waiting.push(entry)
      startWaiting()
    },
    close: (verdict) => {
      const dropped = waiting
      waiting = []
      for (const entry of dropped) end(entry, verdict)
    },
    interrupt: (entry, interruption) => {
      if (entry.verdict !== undefined) return
      if (entry.interruption !== undefined) {
        // a lease that is lost while its handler winds up is lost all the same
        if (interruption._tag === "Lost") entry.interruption = interruption
        return
      }
      if (entry.fiber === undefined) {
        waiting = waiting.filter((other) => other !== entry)
        return end(entry, interruption)
      }
      entry.interruption = interruption
      entry.fiber.interruptUnsafe()
    },
    remove: (entry) => {
      if (entries.delete(entry)) ended--
    }
  }
}
