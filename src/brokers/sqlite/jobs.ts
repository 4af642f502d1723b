/**
 * The jobs in the file, and their changes of state.
 *
 * Call all methods within a transaction. They throw what SQLite throws. Times are
 * whole microseconds since the epoch. Nothing happens by itself: call
 * {@link Jobs.advance} to end delays and leases.
 *
 * The number of a delivery identifies a lease: two deliveries of a job never have
 * the same number. Two jobs of a file never have the same id.
 */
import type * as Duration from "effect/Duration"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import type { Failure, JobId, JobState, LeaseInfo, PutRequest } from "../../Broker.ts"
import type { JobStats, Page, PeekableState, PeekedJob, RestoreRequest } from "../../Inspector.ts"
import type { Paging } from "../shared/index.ts"
import { Damaged } from "./failure.ts"
import { rowsPerInsert, sql } from "./jobStatements.ts"
import {
  batchBytes,
  bytesOf,
  type Counters,
  dueAfter,
  idOf,
  insertRow,
  jobStats,
  leaseInfo,
  microseconds,
  prepareAll,
  readPage,
  type Row,
  rowId,
  timeOf
} from "./rows.ts"

const states: ReadonlyArray<JobState> = ["ready", "delayed", "reserved", "buried"]

/** A body up to this size is in its job's row; a larger one has a row in another table. A small row costs no extra page. */
export const maxInlineBytes = 2048

/** One statement delivers at most this many jobs, at two thirds of the cost per job of a statement for one. */
const rowsPerDelivery = 32

const emptyBody = new Uint8Array(0)

const failureParameters = (failure: Failure | undefined) => ({
  $failureTag: failure?.tag ?? null,
  $failureMessage: failure?.message ?? null
})

/** One delivery of a job: what identifies its lease. */
export interface Delivery {
  readonly row: number
  readonly number: number
  /** Whether the body is in the table of large bodies. */
  readonly isLarge: boolean
}

/** A delivery with all that a lease shows. */
export interface Delivered extends Delivery {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly info: LeaseInfo
}

interface Candidate {
  readonly id: number
  readonly priority: number
  readonly queue: string
}

interface DeliveredRow extends Counters {
  readonly id: number
  readonly body: Uint8Array
}

type Taken = readonly [queue: string, rows: ReadonlyArray<DeliveredRow>]

type Ordered = { readonly id: number; readonly priority: number }

const isServedBefore = (a: Ordered, b: Ordered): number => a.priority - b.priority || a.id - b.id

/** The jobs of an open file. */
export class Jobs {
  private readonly statements: Record<keyof typeof sql, StatementSync>

  constructor(database: DatabaseSync) {
    this.statements = prepareAll(database, sql)
  }

  private run(name: keyof typeof sql, parameters: Record<string, SQLInputValue>): number {
    return Number(this.statements[name].run(parameters).changes)
  }

  private get(name: keyof typeof sql, parameters: Record<string, SQLInputValue> = {}): Row | undefined {
    return this.statements[name].get(parameters)
  }

  /** Ends delays and leases whose time has come. Returns how many jobs became ready. */
  advance(now: number): number {
    return this.run("delayOver", { $now: now }) + this.run("leaseOver", { $now: now })
  }

  /** When the next delay or lease ends. Infinity if there is none. */
  nextChange(): number {
    return Math.min(timeOf(this.get("nextDelay")), timeOf(this.get("nextLease")))
  }

  /** The bytes of all bodies written so far. */
  bytes = 0

  /** Adds jobs to a queue, and returns their ids in the same order. */
  add(queue: number, requests: ReadonlyArray<PutRequest>, now: number): ReadonlyArray<JobId> {
    const ids: Array<JobId> = []
    for (let i = 0; i < requests.length;) {
      const count = requests.length - i >= rowsPerInsert ? rowsPerInsert : 1
      const values: Array<SQLInputValue> = []
      for (const end = i + count; i < end; i++) {
        const { body, delay, priority, ttr } = requests[i]!
        const due = dueAfter(now, delay)
        const small = body.length > maxInlineBytes ? emptyBody : body
        values.push(queue, due === null ? 0 : 1, priority, due, now, microseconds(ttr), small)
      }
      // The row numbers of one statement have no gaps.
      const first = this.insertRow(count === 1 ? "insert" : "insertMany", values) - count + 1
      for (let id = first; id < first + count; id++) {
        this.addBody(id, requests[ids.length]!.body)
        ids.push(String(id) as JobId)
      }
    }
    return ids
  }

  /** Adds a job to a queue as another broker had it, and returns its id. */
  restore(queue: number, request: RestoreRequest, now: number): JobId {
    const { body, delay, lastFailure, priority, ttr } = request
    const due = request.isBuried ? null : dueAfter(now, delay)
    const id = this.insertRow("restore", [
      queue,
      request.isBuried ? 3 : due === null ? 0 : 1,
      priority,
      due,
      now,
      microseconds(ttr),
      body.length > maxInlineBytes ? emptyBody : body,
      request.attempts,
      request.abandoned,
      request.buries,
      request.reason ?? null,
      lastFailure?.tag ?? null,
      lastFailure?.message ?? null,
      lastFailure === undefined ? null : lastFailure.at * 1000
    ])
    this.addBody(id, body)
    return String(id) as JobId
  }

  /** Adds rows. Returns the number of the last one. */
  private insertRow(name: "insert" | "insertMany" | "copy" | "restore", values: ReadonlyArray<SQLInputValue>): number {
    return insertRow(this.statements[name], values, this.statements.usedUp)
  }

  private addBody(id: number, body: Uint8Array): void {
    this.bytes += body.length
    if (body.length > maxInlineBytes) this.statements.addLarge.run(id, body)
  }

  /** The large body of a job, if it has one. An empty body in the row may also be the whole body. */
  private large(row: Row, id: number): Uint8Array | undefined {
    if (bytesOf(row["body"], row).length > 0) return undefined
    const large = this.statements.large.get(id)
    return large === undefined ? undefined : bytesOf(large["body"], row)
  }

  private bodyOf(row: Row): Uint8Array {
    return this.large(row, row["id"]) ?? row["body"]
  }

  private peeked(row: Row | undefined): PeekedJob | undefined {
    return row === undefined ? undefined : { id: idOf(row), body: this.bodyOf(row) }
  }

  /** Whether the last delivered body was too large for a batch of {@link rowsPerDelivery}. True until one was delivered. */
  private isLastLarge = true

  /** Leases the next jobs of some queues to a process: at most `max`, and bodies of about {@link batchBytes}. */
  take(queues: ReadonlyMap<string, number>, max: number, holder: number, now: number): ReadonlyArray<Delivered> {
    const taken: Array<Delivered> = []
    let bytes = 0
    for (
      const [queue, rows] of queues.size === 1
        ? this.ofOne(queues, max, holder, now)
        : this.ofSeveral(queues, max, holder, now)
    ) {
      for (const row of rows) {
        const large = this.large(row, row.id)
        const body = large ?? row.body
        bytes += body.length
        this.isLastLarge = body.length > batchBytes / rowsPerDelivery
        taken.push({
          row: row.id,
          number: row.deliveries,
          isLarge: large !== undefined,
          id: idOf(row),
          queue,
          body,
          info: leaseInfo(row)
        })
      }
      if (bytes >= batchBytes) break
    }
    return taken
  }

  private *ofOne(queues: ReadonlyMap<string, number>, max: number, holder: number, now: number): Iterable<Taken> {
    for (const [queue, id] of queues) {
      for (let left = max; left > 0;) {
        const size = Math.min(left, this.isLastLarge ? 1 : rowsPerDelivery)
        const rows = this.statements.deliverNext.all(id, now, holder, size) as unknown as Array<DeliveredRow>
        yield [queue, rows.sort(isServedBefore)]
        if (rows.length < size) return
        left -= size
      }
    }
  }

  private *ofSeveral(queues: ReadonlyMap<string, number>, max: number, holder: number, now: number): Iterable<Taken> {
    const candidates: Array<Candidate> = []
    for (const [queue, id] of queues) {
      for (const row of this.statements.ready.iterate({ $queue: id, $max: max }) as Iterable<Row>) {
        candidates.push({ id: row["id"], priority: row["priority"], queue })
      }
    }
    for (const { id, queue } of candidates.sort(isServedBefore).slice(0, max)) {
      const row = this.statements.deliver.get(id, now, holder)
      if (row === undefined) throw new Damaged({ detail: `job ${id} is only in an index` })
      yield [queue, [row as unknown as DeliveredRow]]
    }
  }

  // Each of these returns whether the lease was held.

  done(lease: Delivery, now: number): boolean {
    const isHeld = Number(this.statements.done.run(lease.row, lease.number, now).changes) > 0
    if (isHeld && lease.isLarge) this.statements.removeLarge.run(lease.row)
    return isHeld
  }

  release(
    lease: Delivery,
    options: {
      readonly delay: Duration.Duration
      readonly priority: number | undefined
      readonly reason: string | undefined
      readonly failure: Failure | undefined
    },
    now: number
  ): boolean {
    const due = dueAfter(now, options.delay)
    return this.run("release", {
      $id: lease.row,
      $delivery: lease.number,
      $now: now,
      $state: due === null ? 0 : 1,
      $due: due,
      $priority: options.priority ?? null,
      $reason: options.reason ?? null,
      ...failureParameters(options.failure)
    }) > 0
  }

  bury(
    lease: Delivery,
    options: {
      readonly priority: number | undefined
      readonly reason: string
      readonly failure: Failure | undefined
    },
    now: number
  ): boolean {
    return this.run("bury", {
      $id: lease.row,
      $delivery: lease.number,
      $now: now,
      $priority: options.priority ?? null,
      $reason: options.reason,
      ...failureParameters(options.failure)
    }) > 0
  }

  requeue(lease: Delivery, now: number): boolean {
    return this.run("requeue", { $id: lease.row, $delivery: lease.number, $now: now }) > 0
  }

  touch(lease: Delivery, now: number): boolean {
    return this.run("touch", { $id: lease.row, $delivery: lease.number, $now: now }) > 0
  }

  inspect(lease: Delivery, now: number): LeaseInfo | undefined {
    const row = this.get("inspect", { $id: lease.row, $delivery: lease.number, $now: now })
    return row === undefined ? undefined : leaseInfo(row as Row & Counters)
  }

  /** Makes the jobs of a process ready. A process that died spends their attempts; one that left does not. */
  returnAll(holder: number, how: "holderGone" | "holderLeft"): number {
    return this.run(how, { $holder: holder })
  }

  /** Whether a process holds a lease. */
  holds(holder: number): boolean {
    return this.get("holds", { $holder: holder }) !== undefined
  }

  /** Makes at most `max` jobs of a queue ready. Returns how many. */
  kick(queue: number, from: "buried" | "delayed", max: number): number {
    return this.run(from === "buried" ? "kickBuried" : "kickDelayed", { $queue: queue, $max: max })
  }

  /** Makes a buried or delayed job ready. Returns whether there was such a job. */
  kickJob(id: JobId): boolean {
    return this.run("kickJob", { $id: rowId(id) }) > 0
  }

  /** Buries a ready or delayed job as if it had been delivered. Returns whether there was such a job. */
  buryJob(id: JobId, reason: string): boolean {
    return this.run("buryJob", { $id: rowId(id), $reason: reason }) > 0
  }

  /** The id of the queue of a job that no worker holds. */
  queueOf(id: JobId): number | undefined {
    return this.get("mayMove", { $id: rowId(id) })?.["queue"]
  }

  /** Puts a copy of a job on a queue, and returns the id of the copy. The job itself stays. */
  copyTo(id: JobId, queue: number, now: number): JobId {
    const row = rowId(id)
    const copy = this.insertRow("copy", [row, queue, now])
    this.run("copyLarge", { $from: row, $to: copy })
    this.bytes += Number(this.get("size", { $id: copy })?.["bytes"] ?? 0)
    return String(copy) as JobId
  }

  /** Deletes a job that no worker holds. Returns the id of its queue, if there was such a job. */
  remove(id: JobId): number | undefined {
    const row = rowId(id)
    const queue = this.get("remove", { $id: row })?.["queue"]
    if (queue !== undefined) this.statements.removeLarge.run(row)
    return queue
  }

  peek(id: JobId): PeekedJob | undefined {
    return this.peeked(this.get("peek", { $id: rowId(id) }))
  }

  peekNext(queue: number, state: PeekableState): PeekedJob | undefined {
    const name = ({ ready: "peekReady", delayed: "peekDelayed", buried: "peekBuried" } as const)[state]
    return this.peeked(this.get(name, { $queue: queue }))
  }

  /** Whether a queue has jobs. */
  has(queue: number): boolean {
    return this.get("has", { $queue: queue }) !== undefined
  }

  /** The number of jobs of a queue in each state. Takes about 30 ns for each job. */
  count(queue: number): Record<JobState, number> {
    const count = (name: keyof typeof sql): number => this.get(name, { $queue: queue })?.["jobs"]
    return {
      ready: count("countReady"),
      delayed: count("countDelayed"),
      reserved: count("countReserved"),
      buried: count("countBuried")
    }
  }

  /** The figures of a job. Before its first delivery the attempt is 0. */
  stats(id: JobId, now: number): JobStats | undefined {
    const row = this.get("stats", { $id: rowId(id) })
    if (row === undefined) return undefined
    return jobStats(row, id, row["name"], states[row["state"]], now)
  }

  /** A page of the jobs of a queue in one state, with bodies of about {@link batchBytes}. */
  list(queue: number, name: string, state: JobState, request: Paging.Request, now: number): Page {
    const { after, limit } = request
    const statement = this.statements[
      ({ ready: "listReady", delayed: "listDelayed", reserved: "listReserved", buried: "listBuried" } as const)[state]
    ]
    const rows = statement.iterate({
      $queue: queue,
      $order: after?.order ?? -1,
      $number: after?.number ?? -1,
      $max: limit + 1
    }) as Iterable<Row>
    return readPage(request, rows, (row) => ({
      ...jobStats(row, idOf(row), name, state, now),
      body: this.bodyOf(row),
      finishedAt: undefined
    }))
  }
}
