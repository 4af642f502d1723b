/**
 * Reads rows of the file. Times in the file are whole microseconds since the
 * epoch.
 *
 * SQLite checks the types of what it writes, but not of what it reads. Another
 * program or a broken disk may have put anything anywhere. So this module checks
 * every value that matters to a job or to a wait, and throws {@link Damaged}.
 */
import * as Duration from "effect/Duration"
import * as Record from "effect/Record"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import { type JobId, type JobState, type LeaseInfo, maxDelay } from "../../Broker.ts"
import type { JobStats, ListedJob, Page } from "../../Inspector.ts"
import { maxUint32 } from "../../internal/uint32.ts"
import { Paging } from "../shared/index.ts"
import { Damaged, isFull } from "./failure.ts"

/** One operation reads or writes bodies of about this size. */
export const batchBytes = 512 * 1024

/** The columns that {@link jobStats} reads, apart from `due`. */
export const statsColumns =
  `priority, put_at, ttr, deliveries, forgiven, lost, buries, reason, failure_tag, failure_message,
    failure_at`

export type Row = Record<string, any>

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

const isCount = (value: unknown): boolean =>
  Number.isInteger(value) && value as number >= 0 && value as number <= maxUint32

const areCounters = (row: Counters): boolean =>
  isCount(row.deliveries) && isCount(row.forgiven) && isCount(row.lost) && isCount(row.buries)
  && isCount(row.priority) && row.ttr >= 0 && Number.isSafeInteger(row.ttr)

const damaged = (row: unknown, what: string): Damaged =>
  new Damaged({ detail: `job ${String((row as Row)["id"])} has ${what}` })

/** A body. Throws {@link Damaged} for another type. */
export const bytesOf = (body: unknown, row: unknown): Uint8Array => {
  if (body instanceof Uint8Array) return body
  throw damaged(row, "a body that is not bytes")
}

/** A number. Throws {@link Damaged} for another type. */
export const numberOf = (value: unknown, what: string): number => {
  if (typeof value === "number") return value
  throw new Damaged({ detail: `${what} is not a number` })
}

/** The `due` of a row. Infinity if there is none. */
export const timeOf = (row: Row | undefined): number => {
  const due: unknown = row?.["due"]
  return due === null || due === undefined ? Infinity : numberOf(due, "a time")
}

export const leaseInfo = (row: Counters): LeaseInfo => {
  if (!areCounters(row)) throw damaged(row, "invalid counters")
  return {
    attempt: Math.max(1, row.deliveries - row.forgiven),
    abandoned: row.lost,
    buries: row.buries,
    priority: row.priority,
    ttr: Duration.millis(row.ttr / 1000)
  }
}

export const idOf = (row: Row): JobId => String(row["id"]) as JobId

/** The largest number of a row. It has 15 digits, so that JavaScript can hold it. */
const maxRowId = 999_999_999_999_999

/** Finds a row if a table has no numbers left for new rows. backq's tables come first in `sqlite_sequence`. */
export const usedUp = (table: "job" | "process"): string =>
  `SELECT 1 FROM sqlite_sequence WHERE rowid <= 100
    AND (name = '${table}' AND seq >= ${maxRowId} OR (SELECT max(id) FROM ${table}) >= ${maxRowId})`

/**
 * Adds rows, and returns the number of the last. No number is used twice, so a file that was tampered with may have none
 * left. Then SQLite reports a full disk, or returns a number that JavaScript can't hold.
 */
export const insertRow = (
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
  if (row <= maxRowId) return Number(row)
  throw new Damaged({ detail: "its numbers for new rows are used up" })
}

/** The number of the row with an id. 0, which no row has, for a text that can't be an id. */
export const rowId = (id: string): number => /^[1-9]\d{0,14}$/.test(id) ? Number(id) : 0

const maxDelayMillis = Duration.toMillis(maxDelay)

/** At most the longest delay, so that every time in the file is a safe integer. */
export const microseconds = (duration: Duration.Duration): number =>
  Math.ceil(Math.min(Duration.toMillis(duration), maxDelayMillis)) * 1000

/**
 * When a duration that begins now ends. Null if it is 0. The clock counts whole milliseconds, so one is added: the end
 * is never too early.
 */
export const dueAfter = (now: number, duration: Duration.Duration): number | null => {
  const length = microseconds(duration)
  return length > 0 ? now + length + 1000 : null
}

/** The time from now until `due`, without the millisecond that {@link dueAfter} adds. */
export const timeLeft = (now: number, due: number | null): Duration.Duration =>
  Duration.millis(due === null ? 0 : Math.max(0, Math.floor((due - 1000 - now) / 1000)))

const isText = (value: unknown): boolean => value === null || typeof value === "string"

const isTime = (value: unknown): boolean => typeof value === "number"

const areTextsAndTimes = (row: Row): boolean =>
  isText(row["reason"]) && isText(row["failure_tag"]) && isTime(row["put_at"])
  && (row["due"] === null || isTime(row["due"]))
  && (row["failure_tag"] === null || typeof row["failure_message"] === "string" && isTime(row["failure_at"]))

export const jobStats = (row: Row, id: JobId, queue: string, state: JobState | undefined, now: number): JobStats => {
  if (state === undefined || typeof queue !== "string" || !areTextsAndTimes(row)) {
    throw damaged({ id }, "an invalid state, time or text")
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

/** A page of rows: at most the limit of the request, and bodies of about {@link batchBytes}. */
export const readPage = (request: Paging.Request, rows: Iterable<Row>, show: (row: Row) => ListedJob): Page => {
  const found: Array<{ readonly row: Row; readonly job: ListedJob }> = []
  let { limit } = request
  let bytes = 0
  for (const row of rows) {
    const job = show(row)
    found.push({ row, job })
    if (found.length > limit) break
    bytes += job.body.length
    if (bytes >= batchBytes) limit = found.length
  }
  return Paging.page(
    { ...request, limit },
    found,
    ({ row }) => ({ order: row["place"], number: row["id"] }),
    ({ job }) => job
  )
}
