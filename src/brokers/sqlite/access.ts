/**
 * How operations reach the file: each runs in a transaction of the current
 * session. Names of queues are checked first.
 */
import * as Effect from "effect/Effect"
import { checkQueue } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Presence } from "./presence.ts"
import type { Session } from "./session.ts"

/** One operation. `now` is in microseconds since the epoch. */
export type Work<A> = (session: Session, now: number) => A

/** Runs operations on the file, whichever session is open. */
export class Access {
  private readonly use: Presence["use"]

  constructor(use: Presence["use"]) {
    this.use = use
  }

  /** Runs an operation that does not depend on which delays and leases have ended. */
  run<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.run((now) => work(session, now)))
  }

  /** Runs an operation after all delays and leases that have ended. */
  runCurrent<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.runCurrent((now) => work(session, now)))
  }

  /** Runs an operation that only reads. */
  read<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.read((now) => work(session, now)))
  }

  /** {@link runCurrent}, after a check of the queue's name. */
  runCurrentOn<A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> {
    return Effect.andThen(Effect.fromResult(checkQueue(queue)), this.runCurrent(work))
  }

  /** {@link read}, after a check of the queue's name. */
  readOn<A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> {
    return Effect.andThen(Effect.fromResult(checkQueue(queue)), this.read(work))
  }

  /** Makes the jobs of dead processes ready again. */
  readonly checkProcesses: Effect.Effect<void, BrokerError> = Effect.suspend(() =>
    this.use((session) => session.checkProcesses)
  )
}
