/**
 * One delivery of a job, from its lease to its settlement: it waits for a free
 * handler, runs, ends with a decision, and is settled.
 *
 * Only the methods here write its state; all other modules read it. Times are
 * milliseconds of the Clock's monotonic time.
 */
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Lease, LeaseInfo } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import { callOr } from "../internal/thrown.ts"
import { type Decision, failed, fromExit, type Interruption } from "./decision.ts"
import type { Decoded, Work } from "./decodeLease.ts"

/** When an attempt must be interrupted, and the decision on it then. */
export interface Limit {
  readonly at: number
  readonly interruption: Interruption
}

/** Starts handlers, and the limits of their attempts. */
export interface Runner {
  /** When the attempt must end. Lets the renewal end it then. */
  readonly startLimit: (attempt: Attempt, work: Work) => Limit | undefined
  readonly run: (attempt: Attempt, work: Work) => Fiber.Fiber<unknown, unknown>
}

class State {
  readonly lease: Lease
  readonly decoded: Decoded
  readonly leasedAt: number
  /** What the broker knows about the delivery; `undefined` until the worker asks. */
  info: LeaseInfo | undefined
  /** When to renew or inspect its lease next. */
  renewAt = Infinity
  startedAt: number
  endedAt: number
  /** Whether its handler was called. */
  isStarted = false
  limit: Limit | undefined = undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined = undefined
  interruption: Interruption | undefined = undefined
  decision: Decision | undefined = undefined
  /** Whether its settlement is under way. Until then its lease is renewed. */
  isSettling = false
  /** Why the broker refused its settlement at first. */
  refusal: BrokerError | undefined = undefined
  readonly now: () => number
  readonly onEnd: (attempt: Attempt) => void

  constructor(
    lease: Lease,
    decoded: Decoded,
    leasedAt: number,
    now: () => number,
    onEnd: (attempt: Attempt) => void
  ) {
    this.lease = lease
    this.decoded = decoded
    this.leasedAt = this.startedAt = this.endedAt = leasedAt
    this.info = lease.info
    this.now = now
    this.onEnd = onEnd
  }

  /** Runs the handler. The attempt ends when the handler does. */
  start(runner: Runner, work: Work): void {
    this.startedAt = this.now()
    this.limit = runner.startLimit(this, work)
    this.isStarted = true
    // a value that is not an Effect may throw out of the fiber that runs it
    this.fiber = callOr(() => runner.run(this, work), (thrown) => void this.end(failed(thrown)))
    this.fiber?.addObserver((exit: Exit.Exit<unknown, unknown>) => this.end(fromExit(exit, this.interruption)))
  }

  /** Ends with a decision. An attempt ends once. */
  end(decision: Decision): void {
    this.decision = decision
    this.endedAt = this.now()
    this.onEnd(this)
  }

  /** Interrupts the handler. An attempt that still waits for one ends at once. */
  interrupt(interruption: Interruption): void {
    if (this.decision !== undefined) return
    if (this.fiber === undefined) return this.end(interruption)
    const isFirst = this.interruption === undefined
    // the lease may be lost while an interrupted handler cleans up
    if (isFirst || interruption._tag === "LeaseLost") this.interruption = interruption
    if (isFirst) this.fiber.interruptUnsafe()
  }

  /** Stores what the broker knows about the delivery. */
  inform(info: LeaseInfo): void {
    this.info = info
  }

  /** Sets when to renew or inspect the lease next. */
  renewNextAt(at: number): void {
    this.renewAt = at
  }

  /** Replaces the decision, because the lease is lost. */
  lose(error: BrokerError): void {
    this.decision = { _tag: "LeaseLost", handled: this.decision?._tag === "Done", error }
  }

  /** Replaces the decision by a failure: the transaction in which its handler settled it was rolled back. */
  undo(error: BrokerError): void {
    this.decision = failed(error)
  }

  /** Marks that its settlement is under way. */
  settle(): void {
    this.isSettling = true
  }

  /** Stores why the broker refused its settlement, unless it did before. Returns the first reason. */
  refuse(error: BrokerError): BrokerError {
    return this.refusal ??= error
  }
}

/** A delivery, read-only for other modules. */
export type Attempt = Readonly<State>

/** Makes a delivery that waits for a handler. Calls `onEnd` once, when the decision is made. */
export const make = (
  lease: Lease,
  decoded: Decoded,
  leasedAt: number,
  now: () => number,
  onEnd: (attempt: Attempt) => void
): Attempt => new State(lease, decoded, leasedAt, now, onEnd)
