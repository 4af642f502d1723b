/**
 * How the file's rows are read, and how its times are counted: in whole
 * microseconds since the epoch.
 *
 * SQLite checks what it writes, not what it reads: a file that another program
 * or a broken disk wrote may have anything anywhere. What a job or a wait
 * depends on is checked here when it is read; {@link Damaged} is thrown.
 */
import * as Duration from "effect/Duration"
import * as Record from "effect/Record"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import { type JobId, type JobState, type LeaseInfo, maxDelay } from "../../Broker.ts"
import type { JobStats, ListedJob, Page } from "../../Inspector.ts"
import { Paging } from "../shared/index.ts"
import { Damaged, isFull } from "./failure.ts"

/** Bytes of bodies that are read at a time, about. */
export const mostBytes = 512 * 1024

/** The columns that {@link jobStats} reads beside `due`. */
export const known = `priority, put_at, ttr, deliveries, forgiven, lost, buries, reason, failure_tag, failure_message,
    failure_at`

export type Row = Record<string, any>

/** Prepares statements, by their names. */
export const prepareAll = <Name extends string>(
  database: DatabaseSync,
  sql: Readonly<Record<Name, string>>
): Record<Name, StatementSync> => Record.map(sql, (text) => database.prepare(text))

export interface Counters {
  readonly deliveries: number
  readonly forgiven: number
  readonly lost: number
  readonly buries: number
  readonly priority: number
  readonly ttr: number
}

const maxUint32 = 4294967295

const isCount = (value: unknown): boolean =>
  Number.isInteger(value) && value as number >= 0 && value as number <= maxUint32

const areCounters = (row: Counters): boolean =>
  isCount(row.deliveries) && isCount(row.forgiven) && isCount(row.lost) && isCount(row.buries)
  && isCount(row.priority) && row.ttr >= 0 && Number.isSafeInteger(row.ttr)

const damaged = (row: unknown, what: string): Damaged =>
  new Damaged({ detail: `job ${String((row as Row)["id"])} has ${what}` })

/** The bytes of a job's body, which is there. */
export const bytesOf = (body: unknown, row: unknown): Uint8Array => {
  if (body instanceof Uint8Array) return body
  throw damaged(row, "a body that is no bytes")
}

/** A number. */
export const numberOf = (value: unknown, what: string): number => {
  if (typeof value === "number") return value
  throw new Damaged({ detail: `${what} is no number` })
}

/** When something happens next, of those that have a time; infinite when there is none. */
export const timeOf = (row: Row | undefined): number => {
  const due: unknown = row?.["due"]
  return due === null || due === undefined ? Infinity : numberOf(due, "a time")
}

export const leaseInfo = (row: Counters): LeaseInfo => {
  if (!areCounters(row)) throw damaged(row, "counters that are none")
  return {
    attempt: Math.max(1, row.deliveries - row.forgiven),
    abandoned: row.lost,
    buries: row.buries,
    priority: row.priority,
    ttr: Duration.millis(row.ttr / 1000)
  }
}

export const idOf = (row: Row): JobId => String(row["id"]) as JobId

/** The largest row that an id can name. */
const largestRow = 999_999_999_999_999

/** Finds a row where a table has no more numbers for rows. backq's own tables are the first of `sqlite_sequence`. */
export const usedUp = (table: "job" | "process"): string =>
  `SELECT 1 FROM sqlite_sequence WHERE rowid <= 100
    AND (name = '${table}' AND seq >= ${largestRow} OR (SELECT max(id) FROM ${table}) >= ${largestRow})`

/**
 * Adds rows, and returns the last. Their numbers never come again, so a file that was tampered with may have no more:
 * then SQLite says that the disk is full, or gives one that no number can be.
 */
export const added = (
  statement: StatementSync,
  values: ReadonlyArray<SQLInputValue>,
  isUsedUp: StatementSync
): number => {
  let row: number | bigint
  try {
    row = statement.run(...values).lastInsertRowid
  } catch (cause) {
    if (!isFull(cause) || isUsedUp.get() === undefined) throw cause
    row = Infinity
  }
  if (row <= largestRow) return Number(row)
  throw new Damaged({ detail: "the numbers for what is added to it are used up" })
}

/** The row of an id, where it can be one. */
export const rowId = (id: string): number => /^[1-9]\d{0,14}$/.test(id) ? Number(id) : 0

const longest = Duration.toMillis(maxDelay)

/** At most the longest delay, so that no time in the file comes to be more than a number can be. */
export const microseconds = (duration: Duration.Duration): number =>
  Math.ceil(Math.min(Duration.toMillis(duration), longest)) * 1000

/**
 * When a duration that begins now is over; null when it is over at once. The clock counts whole milliseconds, so
 * one more makes sure that it is never too early.
 */
export const dueAfter = (now: number, duration: Duration.Duration): number | null => {
  const length = microseconds(duration)
  return length > 0 ? now + length + 1000 : null
}

/** Until a time, as the duration that was asked for counts it. */
export const timeLeft = (now: number, due: number | null): Duration.Duration =>
  Duration.millis(due === null ? 0 : Math.max(0, Math.floor((due - 1000 - now) / 1000)))

const isText = (value: unknown): boolean => value === null || typeof value === "string"

const isTime = (value: unknown): boolean => typeof value === "number"

const isTold = (row: Row): boolean =>
  isText(row["reason"]) && isText(row["failure_tag"]) && isTime(row["put_at"])
  && (row["due"] === null || isTime(row["due"]))
  && (row["failure_tag"] === null || typeof row["failure_message"] === "string" && isTime(row["failure_at"]))

export const jobStats = (row: Row, id: JobId, queue: string, state: JobState | undefined, now: number): JobStats => {
  if (state === undefined || typeof queue !== "string" || !isTold(row)) {
    throw damaged({ id }, "a state, a time or a text that is none")
  }
  return {
    ...leaseInfo(row as Row & Counters),
    attempt: Math.max(state === "reserved" ? 1 : 0, row["deliveries"] - row["forgiven"]),
    id,
    queue,
    state,
    age: Duration.millis(Math.max(0, Math.floor((now - row["put_at"]) / 1000))),
    timeLeft: timeLeft(now, row["due"]),
    reason: row["reason"] ?? undefined,
    lastFailure: row["failure_tag"] === null ? undefined : {
      tag: row["failure_tag"],
      message: row["failure_message"],
      at: Math.floor(row["failure_at"] / 1000)
    }
  }
}

/** A page of the rows that were found: as many as were asked for, or about as many as can be read in one go. */
export const readPage = (request: Paging.Request, rows: Iterable<Row>, show: (row: Row) => ListedJob): Page => {
  const found: Array<{ readonly row: Row; readonly job: ListedJob }> = []
  let { limit } = request
  let bytes = 0
  for (const row of rows) {
    const job = show(row)
    found.push({ row, job })
    if (found.length > limit) break
    bytes += job.body.length
    if (bytes >= mostBytes) limit = found.length
  }
  return Paging.page(
    { ...request, limit },
    found,
    ({ row }) => ({ order: row["place"], number: row["id"] }),
    ({ job }) => job
  )
}
