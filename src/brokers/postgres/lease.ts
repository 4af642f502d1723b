/** A lease, and what names it to the server: the job's row, the process, and its count of reserves. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import type { JobId, Lease, LeaseInfo } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Place } from "./marks.ts"
import { idOf, leaseInfo, type Row } from "./rows.ts"

/** Where a lease comes from: what settles it in a transaction of the program. */
export interface Origin {
  readonly done: (lease: PostgresLease) => Effect.Effect<void, BrokerError>
}

/** The right to work on a job. */
export class PostgresLease implements Lease {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly info: LeaseInfo
  readonly row: number
  readonly priority: number
  readonly holder: number
  readonly reserve: number
  readonly origin: Origin
  /**
   * Who settles it: the worker; the handler's transaction, while its result is unknown; or no one, because it has
   * committed. `Worker` becomes `Settling` when the worker begins.
   */
  private settler: "Worker" | "Settling" | "Transaction" | "Done" = "Worker"
  private touching: Deferred.Deferred<void> | undefined

  constructor(row: Row, queue: string, holder: number, reserve: number, origin: Origin) {
    this.id = idOf(row[0])
    this.queue = queue
    this.body = row[2] as Uint8Array
    this.info = leaseInfo(row, 3)
    this.row = Number(row[0])
    this.priority = this.info.priority
    this.holder = holder
    this.reserve = reserve
    this.origin = origin
  }

  /** What a log shows of it: nothing of the broker. Private fields would do so, too, but `done` may get a proxy. */
  toJSON(): Pick<PostgresLease, "id" | "queue" | "body" | "info"> {
    const { body, id, info, queue } = this
    return { id, queue, body, info }
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  /** Whether a transaction of the handler settles it, or has settled it. */
  get isHandedOver(): boolean {
    return this.settler === "Transaction" || this.settler === "Done"
  }

  /** Whether a transaction of the handler has settled it. */
  get isDone(): boolean {
    return this.settler === "Done"
  }

  /** Whether the worker settles it now. */
  get isSettling(): boolean {
    return this.settler === "Settling"
  }

  /** The worker begins to settle it. */
  settle(): void {
    this.settler = "Settling"
  }

  /**
   * A transaction of the handler settles it from here on. Waits for a renewal that is under way, which otherwise would
   * wait for the end of the transaction, and everything else of its session with it.
   */
  readonly handOver: Effect.Effect<void> = Effect.suspend(() => {
    this.settler = "Transaction"
    return this.touching === undefined ? Effect.void : Deferred.await(this.touching)
  })

  /** The transaction has committed. */
  commit(): void {
    this.settler = "Done"
  }

  /** The transaction has rolled back, and the worker settles the lease again. */
  takeBack(): void {
    this.settler = "Worker"
  }

  /** Marks leases while a renewal of them is under way. */
  static touched<A>(leases: ReadonlyArray<PostgresLease>, touch: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() => {
      const over = Deferred.makeUnsafe<void>()
      for (const lease of leases) lease.touching = over
      return Effect.ensuring(
        touch,
        Effect.suspend(() => {
          for (const lease of leases) if (lease.touching === over) lease.touching = undefined
          return Deferred.done(over, Exit.void)
        })
      )
    })
  }

  /** Its place in the order in which jobs are served. */
  get place(): Place {
    return { priority: this.priority, id: this.row }
  }
}

/** The order in which jobs are served. */
export const isServedBefore = (a: PostgresLease, b: PostgresLease): number => a.priority - b.priority || a.row - b.row
