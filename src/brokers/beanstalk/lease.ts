/**
 * The connections of a consumer, and the leases they hold.
 *
 * beanstalkd ties a lease to the connection that reserved the job: only there
 * can it be settled, and it ends with the connection. So a lease remembers its
 * holder. After a reconnection an old lease has a holder that is gone, and its
 * id, which the server may have given to another job, is never sent.
 */
import type * as Scope from "effect/Scope"
import type { JobId, Lease, LeaseInfo } from "../../Broker.ts"
import type { Connection } from "./Connection.ts"

/** A connection of a consumer. */
export interface Holder {
  readonly connection: Connection
  readonly scope: Scope.Closeable
  /** In milliseconds since the epoch. */
  readonly openedAt: number
  /** The leases that are neither settled nor known to be lost, by the ids of their jobs. */
  readonly leases: Map<JobId, BeanstalkLease>
  /** Is a reserve under way on this connection? */
  reserving: boolean
}

/** A lease that knows where it is held. */
export class BeanstalkLease implements Lease {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly holder: Holder
  info: LeaseInfo | undefined

  constructor(id: JobId, queue: string, body: Uint8Array, holder: Holder, info: LeaseInfo | undefined) {
    this.id = id
    this.queue = queue
    this.body = body
    this.holder = holder
    this.info = info
  }
}
