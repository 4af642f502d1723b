/**
 * Finished jobs that are kept for some time (the option `history`).
 *
 * The process that finishes a job decides how long the job is kept. Afterwards
 * any process that has the file open removes it. Call all methods within a
 * transaction. Times are whole microseconds since the epoch.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Page } from "../../Inspector.ts"
import type { Paging } from "../shared/index.ts"
import type { Delivery } from "./jobs.ts"
import { bytesOf, idOf, jobStats, numberOf, prepareAll, readPage, type Row, statsColumns, timeOf } from "./rows.ts"

/** One operation removes at most this many jobs. */
const batchSize = 100

export const sql = {
  keep: `INSERT INTO done (job, queue, finished_at, keep_until, body, priority, put_at, ttr, deliveries, forgiven, lost,
      buries, reason, failure_tag, failure_message, failure_at)
    SELECT job.id, queue.name, ?4, ?5,
      iif(length(small) > 0, small, coalesce((SELECT body FROM large WHERE large.job = job.id), small)), priority, put_at, ttr, deliveries, forgiven, lost,
      buries, reason, failure_tag, failure_message, failure_at
    FROM job JOIN queue ON queue.id = job.queue WHERE job.id = ?1 AND state = 2 AND deliveries = ?2 AND due > ?3`,
  list: `SELECT job AS id, seq AS place, finished_at, body, NULL AS due, ${statsColumns} FROM done
    WHERE queue = $queue AND seq < $before ORDER BY seq DESC LIMIT $max`,
  nextExpiry: "SELECT min(keep_until) AS due FROM done",
  forget: `DELETE FROM done WHERE seq IN (
    SELECT seq FROM done WHERE keep_until <= $now ORDER BY keep_until LIMIT ${batchSize})`
} as const

/** The finished jobs of an open file. */
export class History {
  private readonly statements: Record<keyof typeof sql, StatementSync>

  constructor(database: DatabaseSync) {
    this.statements = prepareAll(database, sql)
  }

  /** Keeps the job of a held lease. Call it before the job is deleted. */
  keep(lease: Delivery, duration: number, now: number): void {
    this.statements.keep.run(lease.row, lease.number, now, now, now + duration)
  }

  /** A page of the finished jobs of a queue, the latest first. */
  list(queue: string, request: Paging.Request, now: number): Page {
    const rows = this.statements.list.iterate({
      $queue: queue,
      $before: request.after?.order ?? Number.MAX_SAFE_INTEGER,
      $max: request.limit + 1
    }) as Iterable<Row>
    return readPage(request, rows, (row) => ({
      ...jobStats(row, idOf(row), queue, "ready", now),
      state: "done",
      body: bytesOf(row["body"], row),
      finishedAt: Math.floor(numberOf(row["finished_at"], "the end of a job") / 1000)
    }))
  }

  /** When the next finished job must be removed. Infinity if there is none. */
  nextExpiry(): number {
    return timeOf(this.statements.nextExpiry.get())
  }

  /** Removes finished jobs whose time has ended. Returns whether there may be more. */
  readonly forget = (now: number): boolean => Number(this.statements.forget.run({ $now: now }).changes) === batchSize
}
