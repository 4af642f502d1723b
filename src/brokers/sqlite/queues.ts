/**
 * The queues in the file, and the processes that have it open.
 *
 * A queue has a row while it has jobs, is paused, or is consumed by the process
 * that put its first job. Ids of queues are looked up anew in every
 * transaction, because another process may have removed a row.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { Damaged } from "./failure.ts"
import type * as Liveness from "./liveness.ts"
import { added, numberOf, prepareAll, timeOf, usedUp } from "./rows.ts"

/** The statements. */
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
  // many more than a machine has, so that it is quick whatever is in a file
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

/** A queue's row. */
export interface QueueRow {
  readonly id: number
  readonly total: number
  /** 0, or a time of the past, when it is not paused. */
  readonly pausedUntil: number
}

const check = ({ id, pausedUntil, total }: QueueRow): void => {
  numberOf(pausedUntil, `the pause of queue ${id}`)
  numberOf(total, `the number of jobs of queue ${id}`)
}

/** A process that has the file open, or died with it. */
export interface ProcessRow extends Liveness.Process {
  readonly id: number
}

/** The queues of an open file. */
export class Queues {
  private readonly statements: Record<keyof typeof sql, StatementSync>
  /** Queues that got jobs in this transaction, and how many are not counted in the file yet. */
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
      if (typeof row.name !== "string") throw new Damaged({ detail: `queue ${row.id} has a name that is no text` })
    }
    return rows
  }

  /** Counts jobs that are put on a queue, which comes to be by this. Returns its id. */
  put(name: string, jobs: number): number {
    let counted = this.counted.get(name)
    if (counted === undefined) {
      const id = this.find(name)?.id ?? Number(this.statements.open.get({ $name: name })?.["id"])
      this.counted.set(name, counted = { id, jobs: 0 })
    }
    counted.jobs += jobs
    return counted.id
  }

  /** Writes what was counted. To be called before the end of a transaction. */
  count(): void {
    for (const { id, jobs } of this.counted.values()) this.statements.count.run({ $id: id, $jobs: jobs })
    this.counted.clear()
  }

  /** Forgets what was counted, because the transaction was undone. */
  undo(): void {
    this.counted.clear()
  }

  pause(name: string, until: number): void {
    this.statements.pause.run({ $name: name, $until: until })
  }

  /** When a pause ends next; infinite when none does. */
  nextResume(now: number): number {
    return timeOf(this.statements.nextResume.get({ $now: now }))
  }

  /** Forgets a queue that has no jobs and is not paused. */
  removeUnused(id: number, now: number): boolean {
    this.count()
    return Number(this.statements.removeUnused.run({ $id: id, $now: now }).changes) > 0
  }

  /** Enters this process, by an id or a new one. Returns its id in the file. */
  register({ pid, started, world }: Liveness.Process, known?: number): number {
    return added(this.statements.register, [known ?? null, pid, started, world], this.statements.usedUp)
  }

  /** Forgets a process. */
  unregister(id: number): void {
    this.statements.forgetIdleWorkers.run({ $id: id })
    this.statements.unregister.run({ $id: id })
  }

  /** The other processes that have the file open, or died with it. */
  others(id: number): ReadonlyArray<ProcessRow> {
    const rows = this.statements.others.all({ $id: id }) as unknown as ReadonlyArray<ProcessRow>
    for (const { id, pid } of rows) numberOf(pid, `the pid of process ${id}`)
    return rows
  }

  /** Has another process the file open, or died with it? */
  hasOthers(id: number): boolean {
    return this.statements.hasOthers.get({ $id: id })?.["others"] === 1
  }

  /** How many workers of other processes, of which it is known whether they live, wait on a queue or on all. */
  idleWorkersElsewhere(id: number, world: string | null, queue?: string): number {
    const row = queue === undefined
      ? this.statements.allIdleWorkersElsewhere.get({ $id: id, $world: world })
      : this.statements.idleWorkersElsewhere.get({ $id: id, $world: world, $queue: queue })
    return Number(row?.["workers"])
  }

  /** Tells other processes how many workers of this one wait on which queues. */
  noteIdleWorkers(id: number, counts: ReadonlyMap<string, number>): void {
    this.statements.forgetIdleWorkers.run({ $id: id })
    for (const [queue, workers] of counts) {
      this.statements.noteIdleWorkers.run({ $id: id, $queue: queue, $workers: workers })
    }
  }
}
