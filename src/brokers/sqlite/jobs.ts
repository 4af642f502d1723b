/**
 * The jobs in the file and the moves that a job can make.
 *
 * Synchronous functions, to be called within a transaction; what SQLite throws
 * passes through. Times are whole microseconds since the epoch. Nothing
 * happens by itself: call {@link Jobs.advance} first.
 *
 * A lease is known by the number of its delivery, which never comes again for
 * its job; ids never come again either.
 */
import type * as Duration from "effect/Duration"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import type { Failure, JobId, JobState, LeaseInfo, PutRequest } from "../../Broker.ts"
import type { JobStats, Page, PeekedJob } from "../../Inspector.ts"
import type { Paging } from "../shared/index.ts"
import { Damaged } from "./failure.ts"
import { sql, together } from "./jobStatements.ts"
import {
  added,
  bytesOf,
  type Counters,
  dueAfter,
  idOf,
  jobStats,
  leaseInfo,
  microseconds,
  mostBytes,
  prepareAll,
  readPage,
  type Row,
  rowId,
  timeOf
} from "./rows.ts"

const states: ReadonlyArray<JobState> = ["ready", "delayed", "reserved", "buried"]

/** Bytes of the largest body that is in its job's row. A row that fits its page is written as quickly with it. */
export const largestSmall = 2048

/** So many jobs of one queue are delivered by one statement, which costs two thirds of one for each. */
const deliveredTogether = 32

const nothing = new Uint8Array(0)

const kept = (failure: Failure | undefined) => ({
  $failureTag: failure?.tag ?? null,
  $failureMessage: failure?.message ?? null
})

/** One delivery of a job. */
export interface Delivery {
  readonly row: number
  readonly number: number
  /** Has its job a row for its body? */
  readonly isLarge: boolean
}

/** A delivery as it is handed out. */
export interface Delivered extends Delivery {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly info: LeaseInfo
}

/** A ready job, in the order in which it is served. */
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

  /** Applies the time that has passed. Returns how many jobs became ready. */
  advance(now: number): number {
    return this.run("delayOver", { $now: now }) + this.run("leaseOver", { $now: now })
  }

  /** When a delay or a lease ends next; infinite when none does. */
  nextChange(): number {
    return Math.min(timeOf(this.get("nextDelay")), timeOf(this.get("nextLease")))
  }

  /** How many bytes of bodies were written so far. */
  bytes = 0

  /** Adds jobs to a queue. Their ids are in order. */
  add(queue: number, requests: ReadonlyArray<PutRequest>, now: number): ReadonlyArray<JobId> {
    const ids: Array<JobId> = []
    for (let i = 0; i < requests.length;) {
      const count = requests.length - i >= together ? together : 1
      const values: Array<SQLInputValue> = []
      for (const end = i + count; i < end; i++) {
        const { body, delay, priority, ttr } = requests[i]!
        const due = dueAfter(now, delay)
        const small = body.length > largestSmall ? nothing : body
        values.push(queue, due === null ? 0 : 1, priority, due, now, microseconds(ttr), small)
      }
      // One statement numbers its rows without a gap.
      const first = this.added(count === 1 ? "insert" : "insertTogether", values) - count + 1
      for (let id = first; id < first + count; id++) {
        this.addBody(id, requests[ids.length]!.body)
        ids.push(String(id) as JobId)
      }
    }
    return ids
  }

  /** Adds rows. Returns the last. */
  private added(name: "insert" | "insertTogether" | "putAnew", values: ReadonlyArray<SQLInputValue>): number {
    return added(this.statements[name], values, this.statements.usedUp)
  }

  private addBody(id: number, body: Uint8Array): void {
    this.bytes += body.length
    if (body.length > largestSmall) this.statements.addLarge.run(id, body)
  }

  /** The body of a row that is large. An empty one may be just that. */
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

  /** Was the last body that was handed out too large for others beside it? Until one is known, it may be. */
  private areLarge = true

  /** Leases the next jobs of queues to a process: up to a number, and about as many as can be read in one go. */
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
        this.areLarge = body.length > mostBytes / deliveredTogether
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
      if (bytes >= mostBytes) break
    }
    return taken
  }

  private *ofOne(queues: ReadonlyMap<string, number>, max: number, holder: number, now: number): Iterable<Taken> {
    for (const [queue, id] of queues) {
      for (let left = max; left > 0;) {
        const size = Math.min(left, this.areLarge ? 1 : deliveredTogether)
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
      if (row === undefined) throw new Damaged({ detail: `job ${id} is in an index and nowhere else` })
      yield [queue, [row as unknown as DeliveredRow]]
    }
  }

  // Each of these says whether the lease was held.

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
      ...kept(options.failure)
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
      ...kept(options.failure)
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

  /** Returns what a process holds: its deliveries were lost, or it left and they are unspent. */
  returnAll(holder: number, how: "holderGone" | "holderLeft"): number {
    return this.run(how, { $holder: holder })
  }

  /** Does a process hold any lease? */
  holds(holder: number): boolean {
    return this.get("holds", { $holder: holder }) !== undefined
  }

  /** Makes up to `max` jobs of a queue ready. Returns how many. */
  kick(queue: number, from: "buried" | "delayed", max: number): number {
    return this.run(from === "buried" ? "kickBuried" : "kickDelayed", { $queue: queue, $max: max })
  }

  /** Makes a buried or delayed job ready. Says whether it was one. */
  kickJob(id: JobId): boolean {
    return this.run("kickJob", { $id: rowId(id) }) > 0
  }

  /** Puts a ready or delayed job aside, as if it had been delivered and buried. Says whether it was one. */
  buryJob(id: JobId, reason: string): boolean {
    return this.run("buryJob", { $id: rowId(id), $reason: reason }) > 0
  }

  /** The queue of a job that nobody holds. */
  queueOf(id: JobId): number | undefined {
    return this.get("mayMove", { $id: rowId(id) })?.["queue"]
  }

  /** Puts a job anew on a queue. Returns the id of the new one; the old one is still there. */
  putAnew(id: JobId, queue: number, now: number): JobId {
    const row = rowId(id)
    const anew = this.added("putAnew", [row, queue, now])
    this.run("copyLarge", { $from: row, $to: anew })
    this.bytes += Number(this.get("size", { $id: anew })?.["bytes"] ?? 0)
    return String(anew) as JobId
  }

  /** Deletes a job that nobody holds. Returns its queue's id. */
  remove(id: JobId): number | undefined {
    const row = rowId(id)
    const queue = this.get("remove", { $id: row })?.["queue"]
    if (queue !== undefined) this.statements.removeLarge.run(row)
    return queue
  }

  peek(id: JobId): PeekedJob | undefined {
    return this.peeked(this.get("peek", { $id: rowId(id) }))
  }

  peekNext(queue: number, state: "ready" | "delayed" | "buried"): PeekedJob | undefined {
    const name = ({ ready: "peekReady", delayed: "peekDelayed", buried: "peekBuried" } as const)[state]
    return this.peeked(this.get(name, { $queue: queue }))
  }

  /** Has a queue any job? */
  has(queue: number): boolean {
    return this.get("has", { $queue: queue }) !== undefined
  }

  /** How many jobs of a queue are in each state. Takes a time that grows with them, about 30 ns for each. */
  count(queue: number): Record<JobState, number> {
    const count = (name: keyof typeof sql): number => this.get(name, { $queue: queue })?.["jobs"]
    return {
      ready: count("countReady"),
      delayed: count("countDelayed"),
      reserved: count("countReserved"),
      buried: count("countBuried")
    }
  }

  /** What is known of a job. One that was not delivered yet is at attempt 0. */
  stats(id: JobId, now: number): JobStats | undefined {
    const row = this.get("stats", { $id: rowId(id) })
    if (row === undefined) return undefined
    return jobStats(row, id, row["name"], states[row["state"]], now)
  }

  /** A page of the jobs of a queue in a state, with about as many as can be read in one go. */
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
