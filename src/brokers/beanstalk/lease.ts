/**
 * A connection of a consumer, and the leases that it holds.
 *
 * beanstalkd binds a lease to the connection that reserved the job. Only that
 * connection can settle it, and it ends with the connection. So a lease knows its
 * holder. After a reconnection the holder of an old lease is closed, and the id
 * is never sent: the server may have given it to another job.
 */
import type * as Scope from "effect/Scope"
import type { JobId, Lease, LeaseInfo } from "../../Broker.ts"
import type { Connection } from "./Connection.ts"

/** A connection that holds leases. */
export interface Holder {
  readonly connection: Connection
  readonly scope: Scope.Closeable
  /** In milliseconds since the epoch. */
  readonly openedAt: number
  /** The leases that were not settled and are not known to be lost, by job id. */
  readonly leases: Map<JobId, BeanstalkLease>
  /** Whether a reserve is under way on this connection. */
  reserving: boolean
}

/** A lease that knows its holder. */
export class BeanstalkLease implements Lease {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  info: LeaseInfo | undefined
  // A `#private` field, because a log of the lease would print the whole connection.
  readonly #holder: Holder

  constructor(id: JobId, queue: string, body: Uint8Array, holder: Holder, info: LeaseInfo | undefined) {
    this.id = id
    this.queue = queue
    this.body = body
    this.info = info
    this.#holder = holder
  }

  get holder(): Holder {
    return this.#holder
  }
}
