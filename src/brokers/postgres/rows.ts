/** How the server's rows are read: arrays of values, with `bigint` where a column has 8 bytes. Pure. */
import * as Duration from "effect/Duration"
import { type JobId, type JobState, type LeaseInfo, maxDelay } from "../../Broker.ts"
import type { JobStats, ListedJob, Page, PeekedJob } from "../../Inspector.ts"
import { Paging } from "../shared/index.ts"
import type { Rows } from "./driver.ts"

export type Row = Rows[number]

export const states: ReadonlyArray<JobState> = ["ready", "delayed", "reserved", "buried"]

/** Bytes of bodies that a page has, about. */
const pageBytes = 4 * 1024 * 1024

const text = (value: unknown): string | undefined => value === null ? undefined : String(value)

const isDigits = /^[1-9]\d{0,17}$/

/** The row of an id, where it can be one. */
export const rowId = (id: string): bigint => isDigits.test(id) ? BigInt(id) : 0n

/** The id of a row. */
export const idOf = (value: unknown): JobId => String(value) as JobId

const longest = Duration.toMillis(maxDelay)

/** Whole milliseconds, rounded up. */
export const wholeMillis = (duration: Duration.Duration): number =>
  Math.ceil(Math.min(Duration.toMillis(duration), longest))

/** Reads the columns `priority, ttr, deliveries, forgiven, lost, buries` from a place on. */
export const leaseInfo = (row: Row, from: number): LeaseInfo => ({
  attempt: Math.max(1, Number(row[from + 2]) - Number(row[from + 3])),
  abandoned: Number(row[from + 4]),
  buries: Number(row[from + 5]),
  priority: Number(row[from]),
  ttr: Duration.millis(Number(row[from + 1]))
})

export const peeked = (row: Row | undefined): PeekedJob | undefined =>
  row === undefined ? undefined : { id: idOf(row[0]), body: row[1] as Uint8Array }

/** What is known of a job, from the third column on. One that was not delivered yet is at attempt 0. */
export const jobStats = (row: Row, queue: string): JobStats => {
  const state = states[Number(row[9])]!
  const tag = text(row[13])
  return {
    ...leaseInfo(row, 3),
    attempt: Math.max(state === "reserved" ? 1 : 0, Number(row[5]) - Number(row[6])),
    id: idOf(row[2]),
    queue,
    state,
    age: Duration.millis(Number(row[10])),
    timeLeft: Duration.millis(Number(row[11])),
    reason: text(row[12]),
    lastFailure: tag === undefined ? undefined : { tag, message: text(row[14]) ?? "", at: Number(row[15]) }
  }
}

/** A page of the rows that were found, whose first column orders them. */
export const page = (request: Paging.Request, rows: Rows, queue: string): Page => {
  const found: Array<{ readonly place: Paging.Place; readonly job: ListedJob }> = []
  let { limit } = request
  let bytes = 0
  for (const row of rows) {
    const body = row[1] as Uint8Array
    found.push({
      place: { order: Number(row[0]), number: Number(row[2]) },
      job: {
        ...jobStats(row, queue),
        state: request.state,
        body,
        finishedAt: request.state === "done" ? Number(row[16]) : undefined
      }
    })
    if (found.length > limit) break
    bytes += body.length
    if (bytes >= pageBytes) limit = found.length
  }
  return Paging.page({ ...request, limit }, found, ({ place }) => place, ({ job }) => job)
}
