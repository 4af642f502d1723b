/**
 * The receiving side of a file, for one worker.
 *
 * Leases and settlements share transactions with everything else that this
 * process does at the time. A lease is known by its delivery's number, so that
 * it is worth nothing once it was settled or ran out; and by its file, so that it
 * is lost when another file is opened in the place of the one that has the job.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import { type Consumer, type JobId, type Lease, type LeaseInfo, type Settlement } from "../../Broker.ts"
import { type BrokerError, consumerClosed, leaseLost } from "../../BrokerError.ts"
import { Rules } from "../shared/index.ts"
import type { Commits } from "./commits.ts"
import { isMoved } from "./failure.ts"
import type { History } from "./history.ts"
import type { Delivered, Delivery, Jobs } from "./jobs.ts"
import type { Queues } from "./queues.ts"
import type { Waiter, Waiters } from "./waiters.ts"

/** What a consumer works with. */
export interface Store {
  readonly broker: string
  /** This process, as the file knows it. */
  readonly holder: number
  readonly jobs: Jobs
  readonly queues: Queues
  readonly commits: Commits
  readonly waiters: Waiters<SqliteLease>
  readonly history: History
  /** How long finished jobs are kept, in the file's microseconds; 0 for not at all. */
  readonly keepFor: number
}

/** So many jobs are handed out at a time. */
const handedOut = 500

/** So many jobs share one operation. */
export const portion = 250

/** So many leases share one operation: a settlement takes longer than a put. */
const leasesTogether = 128

/** How long closing waits for the file. */
export const closeFor = "1 second"

/** Cuts a list into parts of at most a weight, and of at most a number. */
export const portions = <A>(
  items: ReadonlyArray<A>,
  most: number,
  mostWeight = Infinity,
  weightOf: (item: A) => number = () => 0
): ReadonlyArray<ReadonlyArray<A>> => {
  const parts: Array<Array<A>> = []
  let last: Array<A> = []
  let weight = 0
  for (const item of items) {
    weight += weightOf(item)
    if (last.length === 0 || last.length === most || weight > mostWeight) {
      parts.push(last = [])
      weight = weightOf(item)
    }
    last.push(item)
  }
  return parts
}

type Outcome<A = void> = Result.Result<A, BrokerError>

const ok: Outcome = Result.void

const lost = (lease: Lease) => Result.fail(leaseLost(lease))

/** A lease, and who holds it. */
export class SqliteLease implements Lease, Delivery {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly info: LeaseInfo
  readonly row: number
  readonly number: number
  readonly isLarge: boolean
  // Not to be seen in logs, where it would take everything along.
  readonly #consumer: SqliteConsumer
  readonly #file: object

  constructor(consumer: SqliteConsumer, delivered: Delivered) {
    this.id = delivered.id
    this.queue = delivered.queue
    this.body = delivered.body
    this.info = delivered.info
    this.row = delivered.row
    this.number = delivered.number
    this.isLarge = delivered.isLarge
    this.#consumer = consumer
    this.#file = consumer.file
  }

  isOf(consumer: SqliteConsumer): boolean {
    return this.#consumer === consumer && this.#file === consumer.file
  }
}

/** Settles one. Says whether its lease was held. */
const settleOne = (
  { history, jobs, keepFor }: Store,
  settlement: Settlement,
  lease: SqliteLease,
  now: number
): Outcome<boolean> => {
  const checked = Rules.checkSettlement(settlement)
  if (Result.isFailure(checked)) return Result.fail(checked.failure)
  const priority = "priority" in settlement ? settlement.priority : undefined
  switch (settlement._tag) {
    case "Delete":
      if (keepFor > 0) {
        history.keep(lease, keepFor, now)
        jobs.bytes += lease.body.length
      }
      return Result.succeed(jobs.done(lease, now))
    case "Release":
      return Result.succeed(
        jobs.release(
          lease,
          { delay: settlement.delay, priority, reason: settlement.reason, failure: settlement.failure },
          now
        )
      )
    case "Bury":
      return Result.succeed(
        jobs.bury(lease, { priority, reason: settlement.reason, failure: settlement.failure }, now)
      )
    case "Requeue":
      return Result.succeed(jobs.requeue(lease, now))
  }
}

/** What a consumer is made of. */
export interface Options {
  readonly store: Store
  readonly queues: ReadonlyArray<string>
  readonly lostLeases: Queue.Queue<Lease>
  /** Waits until a file that was moved is there again, or for as long as that may take. */
  readonly back: Effect.Effect<void, BrokerError>
}

/** A consumer, and what it holds. */
export class SqliteConsumer implements Consumer {
  readonly leasesLost: Consumer["leasesLost"]
  readonly queues: ReadonlyArray<string>
  /** Stands for the file that has the jobs. */
  file: object = {}
  private store: Store
  private readonly held = new Set<SqliteLease>()
  private readonly lostLeases: Queue.Queue<Lease>
  private readonly back: Effect.Effect<void, BrokerError>
  private isClosed = false

  constructor(options: Options) {
    this.store = options.store
    this.queues = options.queues
    this.back = options.back
    this.lostLeases = options.lostLeases
    this.leasesLost = Queue.takeAll(options.lostLeases)
  }

  /** Goes on with what was opened anew. What is held is lost where that is another file. */
  move(store: Store, isSameFile: boolean): void {
    this.store = store
    if (isSameFile) return
    this.file = {}
    Queue.offerAllUnsafe(this.lostLeases, this.held)
    this.held.clear()
  }

  readonly reserve: Consumer["reserve"] = (max) =>
    Effect.catchIf(this.reserveNow(max), isMoved, () => Effect.andThen(this.back, this.reserve(max)))

  private readonly reserveNow: Consumer["reserve"] = (max) =>
    Effect.suspend(() => {
      const { store } = this
      if (this.isClosed) return Effect.fail(consumerClosed(this.store.broker))
      const checked = Rules.checkMax(max)
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      return Effect.callback<NonEmptyReadonlyArray<Lease>, BrokerError>((resume) => {
        let served: ReadonlyArray<Lease> = []
        const waiter: Waiter<SqliteLease> = {
          queues: this.queues,
          isWaiting: false,
          take: (now) => this.take(store, max, now),
          // Nothing may come between the resumption and the caller, or an interruption there would lose the leases.
          served: (leases) => {
            served = leases
            for (const lease of leases) this.held.add(lease)
            resume(Effect.succeed(leases))
          },
          failed: (error) => resume(Effect.fail(error))
        }
        this.waiter = waiter
        store.waiters.add(waiter)
        // It may be served between its interruption and this.
        return Effect.suspend(() => {
          store.waiters.remove(waiter)
          return this.settle(served.map((lease) => ({ _tag: "Requeue", lease })))
        })
      })
    })

  readonly settle: Consumer["settle"] = (settlements) =>
    this.each(settlements, (settlement) => settlement.lease, (store, settlement, lease, now): Outcome => {
      const settled = settleOne(store, settlement, lease, now)
      if (Result.isFailure(settled)) return Result.fail(settled.failure)
      return settled.success ? ok : lost(lease)
    }).pipe(
      Effect.tap((results) =>
        Effect.sync(() => this.forget(results, settlements.map((settlement) => settlement.lease), true))
      )
    )

  readonly touch: Consumer["touch"] = (leases) =>
    this.each(
      leases,
      (lease) => lease,
      ({ jobs }, _, lease, now) => jobs.touch(lease, now) ? ok : lost(lease)
    ).pipe(Effect.tap((results) => Effect.sync(() => this.forget(results, leases, false))))

  readonly inspect: Consumer["inspect"] = (leases) =>
    this.each(leases, (lease) => lease, ({ jobs }, _, lease, now): Outcome<LeaseInfo> => {
      const info = jobs.inspect(lease, now)
      return info === undefined ? lost(lease) : Result.succeed(info)
    })

  /** Requeues what is held, and forgets queues that nobody needs. Nobody can receive or settle by it afterwards. */
  readonly close = (isConsumed: (queue: string) => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      this.isClosed = true
      const { commits, jobs, queues, waiters } = this.store
      waiters.fail(consumerClosed(this.store.broker), (waiter) => waiter === this.waiter)
      const leases = Array.from(this.held)
      this.held.clear()
      // while somebody else holds the file it is not waited for: it is carried out when that ends
      return commits.run((now) => {
        for (const lease of leases) jobs.requeue(lease, now)
        for (const queue of this.queues) {
          const found = isConsumed(queue) ? undefined : queues.find(queue)
          if (found !== undefined) queues.removeUnused(found.id, now)
        }
      }).pipe(Effect.interruptible, Effect.timeoutOption(closeFor), Effect.ignore)
    })

  private waiter: Waiter<SqliteLease> | undefined

  private take({ holder, jobs, queues }: Store, max: number, now: number): ReadonlyArray<SqliteLease> {
    const open = new Map<string, number>()
    for (const name of this.queues) {
      const queue = queues.find(name)
      if (queue !== undefined && queue.pausedUntil <= now) open.set(name, queue.id)
    }
    return jobs.take(open, Math.min(max, handedOut), holder, now).map((delivered) => new SqliteLease(this, delivered))
  }

  /** Forgets those of the leases that are over: lost, and if they were settled, done with. */
  private forget(results: ReadonlyArray<Outcome>, leases: ReadonlyArray<Lease>, settled: boolean): void {
    results.forEach((result, i) => {
      const isOver = Result.isSuccess(result) ? settled : result.failure.reason._tag === "LeaseLost"
      if (isOver) this.held.delete(leases[i] as SqliteLease)
    })
  }

  /** Does something for the leases of this consumer, in one transaction; other leases are lost. */
  private each<A, B>(
    items: ReadonlyArray<A>,
    leaseOf: (item: A) => Lease,
    f: (store: Store, item: A, lease: SqliteLease, now: number) => Outcome<B>
  ): Effect.Effect<ReadonlyArray<Outcome<B>>> {
    return Effect.suspend(() => {
      const { store } = this
      if (this.isClosed) return Effect.succeed(items.map((item) => lost(leaseOf(item))))
      const together = (items: ReadonlyArray<A>) =>
        Effect.match(
          store.commits.run((now) =>
            items.map((item): Outcome<B> => {
              const lease = leaseOf(item)
              return lease instanceof SqliteLease && lease.isOf(this) ? f(store, item, lease, now) : lost(lease)
            })
          ),
          { onFailure: (error) => items.map(() => Result.fail(error)), onSuccess: (results) => results }
        )
      if (items.length <= leasesTogether) return items.length === 0 ? Effect.succeed([]) : together(items)
      return Effect.map(
        Effect.forEach(portions(items, leasesTogether), together, { concurrency: "unbounded" }),
        (results) => results.flat()
      )
    })
  }
}
