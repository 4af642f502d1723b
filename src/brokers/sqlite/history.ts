/**
 * Finished jobs, which are kept for some time when the broker is told to.
 *
 * Each is kept for as long as the process that finished it wanted, and is then
 * removed by whichever process has the file open, in portions. Synchronous
 * functions, to be called within a transaction; times are whole microseconds
 * since the epoch.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Page } from "../../Inspector.ts"
import type { Paging } from "../shared/index.ts"
import type { Delivery } from "./jobs.ts"
import { bytesOf, idOf, jobStats, known, numberOf, prepareAll, readPage, type Row, timeOf } from "./rows.ts"

/** So many are removed at a time. */
const portion = 100

/** The statements. */
export const sql = {
  keep: `INSERT INTO done (job, queue, finished_at, keep_until, body, priority, put_at, ttr, deliveries, forgiven, lost,
      buries, reason, failure_tag, failure_message, failure_at)
    SELECT job.id, queue.name, ?4, ?5,
      iif(length(small) > 0, small, coalesce((SELECT body FROM large WHERE large.job = job.id), small)), priority, put_at, ttr, deliveries, forgiven, lost,
      buries, reason, failure_tag, failure_message, failure_at
    FROM job JOIN queue ON queue.id = job.queue WHERE job.id = ?1 AND state = 2 AND deliveries = ?2 AND due > ?3`,
  list: `SELECT job AS id, seq AS place, finished_at, body, NULL AS due, ${known} FROM done
    WHERE queue = $queue AND seq < $before ORDER BY seq DESC LIMIT $max`,
  nextOver: "SELECT min(keep_until) AS due FROM done",
  forget: `DELETE FROM done WHERE seq IN (
    SELECT seq FROM done WHERE keep_until <= $now ORDER BY keep_until LIMIT ${portion})`
} as const

/** The finished jobs of an open file. */
export class History {
  private readonly statements: Record<keyof typeof sql, StatementSync>

  constructor(database: DatabaseSync) {
    this.statements = prepareAll(database, sql)
  }

  /** Keeps the job of a lease that is held, before it is deleted. */
  keep(lease: Delivery, duration: number, now: number): void {
    this.statements.keep.run(lease.row, lease.number, now, now, now + duration)
  }

  /** A page of a queue's finished jobs, the latest first. */
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

  /** When the time of one is over next; infinite when there is none. */
  nextOver(): number {
    return timeOf(this.statements.nextOver.get())
  }

  /** Removes some of those whose time is over. Says whether there may be more. */
  readonly forget = (now: number): boolean => Number(this.statements.forget.run({ $now: now }).changes) === portion
}
