/**
 * The receiving side of a file, for one worker.
 *
 * Leases and settlements share transactions with all other operations of this
 * process. The number of the delivery identifies a lease, so a lease that was
 * settled or has expired can't be settled again. A lease also belongs to its
 * file: it is lost when another file is opened in place of that one.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import { type Consumer, type JobId, type Lease, type LeaseInfo, type Settlement } from "../../Broker.ts"
import { type BrokerError, consumerClosed, leaseLost } from "../../BrokerError.ts"
import { Rules } from "../shared/index.ts"
import { split } from "./batches.ts"
import type { Commits } from "./commits.ts"
import { isMoved } from "./failure.ts"
import type { History } from "./history.ts"
import type { Delivered, Delivery, Jobs } from "./jobs.ts"
import type { Queues } from "./queues.ts"
import type { Waiter, Waiters } from "./waiters.ts"

/** What a consumer uses of a session. */
export interface ConsumerSession {
  readonly broker: string
  /** The id of this process in the file. */
  readonly holder: number
  readonly jobs: Jobs
  readonly queues: Queues
  readonly commits: Commits
  readonly waiters: Waiters<SqliteLease>
  readonly history: History
  /** How long finished jobs are kept; 0 means not at all. */
  readonly keepForMicros: number
}

/** One `reserve` returns at most this many jobs. */
const maxReserved = 500

/** One operation works on at most this many leases. They are fewer, since a settlement takes longer than a put. */
const leasesPerOperation = 128

type Settled<A = void> = Result.Result<A, BrokerError>

const ok: Settled = Result.void

const lost = (lease: Lease) => Result.fail(leaseLost(lease))

/** A lease, with its consumer and its file. */
export class SqliteLease implements Lease, Delivery {
  readonly id: JobId
  readonly queue: string
  readonly body: Uint8Array
  readonly info: LeaseInfo
  readonly row: number
  readonly number: number
  readonly isLarge: boolean
  // A `#private` field, because a log of the lease would print the whole consumer.
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

/** Settles one lease. Returns whether it was held. */
const settleOne = (
  { history, jobs, keepForMicros }: ConsumerSession,
  settlement: Settlement,
  lease: SqliteLease,
  now: number
): Settled<boolean> => {
  const checked = Rules.checkSettlement(settlement)
  if (Result.isFailure(checked)) return Result.fail(checked.failure)
  const priority = "priority" in settlement ? settlement.priority : undefined
  switch (settlement._tag) {
    case "Delete":
      if (keepForMicros > 0) {
        history.keep(lease, keepForMicros, now)
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

export interface Options {
  readonly session: ConsumerSession
  readonly queues: ReadonlyArray<string>
  readonly lostLeases: Queue.Queue<Lease>
  /** Waits until the file is open again. Fails with `Unavailable` after `reconnectFor`. */
  readonly back: Effect.Effect<void, BrokerError>
}

export class SqliteConsumer implements Consumer {
  readonly leasesLost: Consumer["leasesLost"]
  readonly queues: ReadonlyArray<string>
  /** Identifies the file. Another file is another object. */
  file: object = {}
  private session: ConsumerSession
  private readonly held = new Set<SqliteLease>()
  private readonly lostLeases: Queue.Queue<Lease>
  private readonly back: Effect.Effect<void, BrokerError>
  private isClosed = false

  constructor(options: Options) {
    this.session = options.session
    this.queues = options.queues
    this.back = options.back
    this.lostLeases = options.lostLeases
    this.leasesLost = Queue.takeAll(options.lostLeases)
  }

  /** Goes on with the next session. If that is another file, all leases are lost. */
  move(session: ConsumerSession, isSameFile: boolean): void {
    this.session = session
    if (isSameFile) return
    this.file = {}
    Queue.offerAllUnsafe(this.lostLeases, this.held)
    this.held.clear()
  }

  readonly reserve: Consumer["reserve"] = (max) =>
    Effect.catchIf(this.reserveNow(max), isMoved, () => Effect.andThen(this.back, this.reserve(max)))

  private readonly reserveNow: Consumer["reserve"] = (max) =>
    Effect.suspend(() => {
      const { session } = this
      if (this.isClosed) return Effect.fail(consumerClosed(this.session.broker))
      const checked = Rules.checkMax(max)
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      return Effect.callback<NonEmptyReadonlyArray<Lease>, BrokerError>((resume) => {
        let served: ReadonlyArray<Lease> = []
        const waiter: Waiter<SqliteLease> = {
          queues: this.queues,
          isWaiting: false,
          take: (now) => this.take(session, max, now),
          // Nothing may run between this and the caller: an interruption there would lose the leases.
          served: (leases) => {
            served = leases
            for (const lease of leases) this.held.add(lease)
            resume(Effect.succeed(leases))
          },
          failed: (error) => resume(Effect.fail(error))
        }
        this.waiter = waiter
        session.waiters.add(waiter)
        // It may have been served between its interruption and now.
        return Effect.suspend(() => {
          session.waiters.remove(waiter)
          return this.settle(served.map((lease) => ({ _tag: "Requeue", lease })))
        })
      })
    })

  readonly settle: Consumer["settle"] = (settlements) =>
    this.each(settlements, (settlement) => settlement.lease, (session, settlement, lease, now): Settled => {
      const settled = settleOne(session, settlement, lease, now)
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
    this.each(leases, (lease) => lease, ({ jobs }, _, lease, now): Settled<LeaseInfo> => {
      const info = jobs.inspect(lease, now)
      return info === undefined ? lost(lease) : Result.succeed(info)
    })

  /** Requeues the leases and removes the queues that are not in use. Later calls of the consumer fail. */
  readonly close = (isConsumed: (queue: string) => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      this.isClosed = true
      const { commits, jobs, queues, waiters } = this.session
      waiters.fail(consumerClosed(this.session.broker), (waiter) => waiter === this.waiter)
      const leases = Array.from(this.held)
      this.held.clear()
      // If another process has locked the file, this does not wait: the operation runs when the lock is free.
      return commits.run((now) => {
        for (const lease of leases) jobs.requeue(lease, now)
        for (const queue of this.queues) {
          const found = isConsumed(queue) ? undefined : queues.find(queue)
          if (found !== undefined) queues.removeUnused(found.id, now)
        }
      }).pipe(Effect.interruptible, Effect.timeoutOption(Rules.closeFor), Effect.ignore)
    })

  private waiter: Waiter<SqliteLease> | undefined

  private take({ holder, jobs, queues }: ConsumerSession, max: number, now: number): ReadonlyArray<SqliteLease> {
    const open = new Map<string, number>()
    for (const name of this.queues) {
      const queue = queues.find(name)
      if (queue !== undefined && queue.pausedUntil <= now) open.set(name, queue.id)
    }
    return jobs.take(open, Math.min(max, maxReserved), holder, now).map((delivered) => new SqliteLease(this, delivered))
  }

  /** Forgets the leases that were lost, and with `settled` those that were settled. */
  private forget(results: ReadonlyArray<Settled>, leases: ReadonlyArray<Lease>, settled: boolean): void {
    results.forEach((result, i) => {
      const isOver = Result.isSuccess(result) ? settled : result.failure.reason._tag === "LeaseLost"
      if (isOver) this.held.delete(leases[i] as SqliteLease)
    })
  }

  /** Works on leases in as few operations as possible. A lease of another consumer counts as lost. */
  private each<A, B>(
    items: ReadonlyArray<A>,
    leaseOf: (item: A) => Lease,
    f: (session: ConsumerSession, item: A, lease: SqliteLease, now: number) => Settled<B>
  ): Effect.Effect<ReadonlyArray<Settled<B>>> {
    return Effect.suspend(() => {
      const { session } = this
      if (this.isClosed) return Effect.succeed(items.map((item) => lost(leaseOf(item))))
      const together = (items: ReadonlyArray<A>) =>
        Effect.match(
          session.commits.run((now) =>
            items.map((item): Settled<B> => {
              const lease = leaseOf(item)
              return lease instanceof SqliteLease && lease.isOf(this) ? f(session, item, lease, now) : lost(lease)
            })
          ),
          { onFailure: (error) => items.map(() => Result.fail(error)), onSuccess: (results) => results }
        )
      if (items.length <= leasesPerOperation) return items.length === 0 ? Effect.succeed([]) : together(items)
      return Effect.map(
        Effect.forEach(split(items, leasesPerOperation), together, { concurrency: "unbounded" }),
        (results) => results.flat()
      )
    })
  }
}
