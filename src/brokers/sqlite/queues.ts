/**
 * The queues in the file, and the processes that have it open.
 *
 * A queue has a row while it has jobs, is paused, or has a consumer in the
 * process that put its first job. Look up the id of a queue in every
 * transaction, because another process may have removed the row.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { Damaged } from "./failure.ts"
import type * as Liveness from "./liveness.ts"
import { insertRow, numberOf, prepareAll, timeOf, usedUp } from "./rows.ts"

export const sql = {
  find: "SELECT id, total, paused_until AS pausedUntil FROM queue WHERE name = $name",
  all: "SELECT id, name, total, paused_until AS pausedUntil FROM queue",
  open: "INSERT INTO queue (name) VALUES ($name) RETURNING id",
  count: "UPDATE queue SET total = total + $jobs WHERE id = $id",
  pause: `INSERT INTO queue (name, paused_until) VALUES ($name, $until)
    ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until`,
  nextResume: "SELECT min(paused_until) AS due FROM queue WHERE paused_until > $now",
  removeUnused: `DELETE FROM queue WHERE id = $id AND paused_until <= $now
    AND NOT EXISTS (SELECT 1 FROM job WHERE queue = $id AND state = 0)
    AND NOT EXISTS (SELECT 1 FROM job WHERE queue = $id AND state = 1)
    AND NOT EXISTS (SELECT 1 FROM job WHERE queue = $id AND state = 2 AND due IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM job WHERE queue = $id AND state = 3)`,
  register: "INSERT OR REPLACE INTO process (id, pid, started, world) VALUES (?, ?, ?, ?)",
  usedUp: usedUp("process"),
  unregister: "DELETE FROM process WHERE id = $id",
  // A machine has far fewer. The limit keeps this fast on a file that was tampered with.
  others: "SELECT id, pid, started, world FROM process WHERE id <> $id LIMIT 1000",
  hasOthers: "SELECT EXISTS (SELECT 1 FROM process WHERE id <> $id) AS others",
  idleWorkersElsewhere:
    `SELECT coalesce(sum(workers), 0) AS workers FROM waiting JOIN process ON process.id = waiting.process
    WHERE queue = $queue AND process <> $id AND world = $world`,
  allIdleWorkersElsewhere:
    `SELECT coalesce(sum(workers), 0) AS workers FROM waiting JOIN process ON process.id = waiting.process
    WHERE process <> $id AND world = $world`,
  noteIdleWorkers: "INSERT INTO waiting (process, queue, workers) VALUES ($id, $queue, $workers)",
  forgetIdleWorkers: "DELETE FROM waiting WHERE process = $id"
} as const

export interface QueueRow {
  readonly id: number
  readonly total: number
  /** 0 or a time in the past means that the queue is not paused. */
  readonly pausedUntil: number
}

const check = ({ id, pausedUntil, total }: QueueRow): void => {
  numberOf(pausedUntil, `the pause of queue ${id}`)
  numberOf(total, `the number of jobs of queue ${id}`)
}

/** A process that has the file open, or died with it open. */
export interface ProcessRow extends Liveness.Process {
  readonly id: number
}

/** The queues of an open file. */
export class Queues {
  private readonly statements: Record<keyof typeof sql, StatementSync>
  /** Jobs put on each queue in this transaction that the row does not count yet. */
  private readonly counted = new Map<string, { readonly id: number; jobs: number }>()

  constructor(database: DatabaseSync) {
    this.statements = prepareAll(database, sql)
  }

  find(name: string): QueueRow | undefined {
    this.count()
    const row = this.statements.find.get({ $name: name }) as QueueRow | undefined
    if (row !== undefined) check(row)
    return row
  }

  all(): ReadonlyArray<QueueRow & { readonly name: string }> {
    this.count()
    const rows = this.statements.all.all() as unknown as ReadonlyArray<QueueRow & { readonly name: string }>
    for (const row of rows) {
      check(row)
      if (typeof row.name !== "string") throw new Damaged({ detail: `queue ${row.id} has a name that is not text` })
    }
    return rows
  }

  /** Counts jobs put on a queue, and returns the id of the queue. Creates a missing queue. */
  put(name: string, jobs: number): number {
    let counted = this.counted.get(name)
    if (counted === undefined) {
      const id = this.find(name)?.id ?? Number(this.statements.open.get({ $name: name })?.["id"])
      this.counted.set(name, counted = { id, jobs: 0 })
    }
    counted.jobs += jobs
    return counted.id
  }

  /** Writes the counts to the rows. Call it before the COMMIT. */
  count(): void {
    for (const { id, jobs } of this.counted.values()) this.statements.count.run({ $id: id, $jobs: jobs })
    this.counted.clear()
  }

  /** Drops the counts of a transaction that was rolled back. */
  undo(): void {
    this.counted.clear()
  }

  pause(name: string, until: number): void {
    this.statements.pause.run({ $name: name, $until: until })
  }

  /** When the next pause ends. Infinity if there is none. */
  nextResume(now: number): number {
    return timeOf(this.statements.nextResume.get({ $now: now }))
  }

  /** Removes a queue that has no jobs and is not paused. Returns whether it did. */
  removeUnused(id: number, now: number): boolean {
    this.count()
    return Number(this.statements.removeUnused.run({ $id: id, $now: now }).changes) > 0
  }

  /** Enters a process and returns its id, which is `known` if given. */
  register({ pid, started, world }: Liveness.Process, known?: number): number {
    return insertRow(this.statements.register, [known ?? null, pid, started, world], this.statements.usedUp)
  }

  /** Removes a process. */
  unregister(id: number): void {
    this.statements.forgetIdleWorkers.run({ $id: id })
    this.statements.unregister.run({ $id: id })
  }

  /** The other processes that have the file open, or died with it open. */
  others(id: number): ReadonlyArray<ProcessRow> {
    const rows = this.statements.others.all({ $id: id }) as unknown as ReadonlyArray<ProcessRow>
    for (const { id, pid } of rows) numberOf(pid, `the pid of process ${id}`)
    return rows
  }

  /** Whether there are such processes. */
  hasOthers(id: number): boolean {
    return this.statements.hasOthers.get({ $id: id })?.["others"] === 1
  }

  /** The number of idle workers of the other processes of a `world`, on a queue or in all. */
  idleWorkersElsewhere(id: number, world: string | null, queue?: string): number {
    const row = queue === undefined
      ? this.statements.allIdleWorkersElsewhere.get({ $id: id, $world: world })
      : this.statements.idleWorkersElsewhere.get({ $id: id, $world: world, $queue: queue })
    return Number(row?.["workers"])
  }

  /** Replaces the number of idle workers of a process by queue. */
  noteIdleWorkers(id: number, counts: ReadonlyMap<string, number>): void {
    this.statements.forgetIdleWorkers.run({ $id: id })
    for (const [queue, workers] of counts) {
      this.statements.noteIdleWorkers.run({ $id: id, $queue: queue, $workers: workers })
    }
  }
}
