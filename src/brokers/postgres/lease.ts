/** A lease, and what names it to the server: the job's row, the process, and its count of reserves. */
import type { JobId, Lease, LeaseInfo } from "../../Broker.ts"
import { idOf, leaseInfo, type Row } from "./rows.ts"

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

  constructor(row: Row, queue: string, holder: number, reserve: number) {
    this.id = idOf(row[0])
    this.queue = queue
    this.body = row[2] as Uint8Array
    this.info = leaseInfo(row, 3)
    this.row = Number(row[0])
    this.priority = this.info.priority
    this.holder = holder
    this.reserve = reserve
  }
}

/** The order in which jobs are served. */
export const isServedBefore = (a: PostgresLease, b: PostgresLease): number => a.priority - b.priority || a.row - b.row
