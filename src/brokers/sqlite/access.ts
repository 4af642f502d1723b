/**
 * How operations come to the file: each is carried out within a transaction of
 * the opening of the moment, and its queue's name is checked before.
 */
import * as Effect from "effect/Effect"
import { checkQueue } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Presence } from "./presence.ts"
import type { Session } from "./session.ts"

/** A part of a transaction. `now` is in the file's microseconds. */
export type Work<A> = (session: Session, now: number) => A

/** The way to the file. */
export class Access {
  private readonly use: Presence["use"]

  constructor(use: Presence["use"]) {
    this.use = use
  }

  /** Carries out work that need not see which delays and leases are over. */
  put<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.run((now) => work(session, now)))
  }

  /** Carries out work that sees the jobs as they are now. */
  run<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.runNow((now) => work(session, now)))
  }

  /** Carries out work that only reads. */
  read<A>(work: Work<A>): Effect.Effect<A, BrokerError> {
    return this.use((session) => session.commits.read((now) => work(session, now)))
  }

  /** {@link run} for a queue. */
  runOn<A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> {
    return Effect.andThen(Effect.fromResult(checkQueue(queue)), this.run(work))
  }

  /** {@link read} for a queue. */
  readOn<A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> {
    return Effect.andThen(Effect.fromResult(checkQueue(queue)), this.read(work))
  }

  /** Returns to its queues what processes that died held. */
  readonly checkProcesses: Effect.Effect<void, BrokerError> = Effect.suspend(() =>
    this.use((session) => session.checkProcesses)
  )
}
