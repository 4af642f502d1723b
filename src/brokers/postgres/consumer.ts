/**
 * The receiving side, for one worker.
 *
 * A lease is the job's row, the process that has it and that process' count of
 * reserves. Every change checks them, and that the lease is not over, in its
 * own statement: what comes too late changes nothing and is told so.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type { Consumer, Lease, Settlement } from "../../Broker.ts"
import { type BrokerError, consumerClosed, leaseLost } from "../../BrokerError.ts"
import { Rules } from "../shared/index.ts"
import * as Driver from "./driver.ts"
import { isServedBefore, PostgresLease } from "./lease.ts"
import type { Link } from "./link.ts"
import * as Marks from "./marks.ts"
import { leaseInfo, type Row, wholeMillis } from "./rows.ts"
import type { Receiver, Store } from "./store.ts"
import type { Waiter } from "./waiters.ts"

/** So many jobs are handed out at a time, and deleted by one statement. */
const together = 500
/** So many leases share one statement that changes each in its own way: it looks each up in a list. */
const changedTogether = 100
/** Bytes of bodies that are read at a time, about. */
const mostBytes = 4 * 1024 * 1024

const closeFor = "1 second"

type Outcome<A = void> = Result.Result<A, BrokerError>

const cut = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))

/** Names leases of one holder for a statement, in an order in which no two statements lock each other out. */
const named = (leases: ReadonlyArray<PostgresLease>): ReadonlyArray<unknown> => [
  Driver.int8s(leases.map(({ row }) => row)),
  leases[0]!.holder,
  Driver.int4s(Array.from(new Set(leases.map(({ reserve }) => reserve))))
]

const how = { Release: 1, Bury: 2, Requeue: 3 } as const

const failureOf = (settlement: Settlement) => "failure" in settlement ? settlement.failure : undefined

/** Says what becomes of each lease, as `settle` reads it. */
const changes = (settlements: ReadonlyArray<Exclude<Settlement, { _tag: "Delete" }>>): ReadonlyArray<unknown> => [
  Driver.int8s(settlements.map(({ _tag }) => how[_tag])),
  Driver.int8s(settlements.map((one) => one._tag === "Release" ? wholeMillis(one.delay) : 0)),
  Driver.int8s(settlements.map((one) => "priority" in one ? one.priority : undefined)),
  Driver.texts(settlements.map((one) => "reason" in one ? one.reason : undefined)),
  Driver.texts(settlements.map((one) => failureOf(one)?.tag)),
  Driver.texts(settlements.map((one) => failureOf(one)?.message))
]

/** A consumer, and what it holds. */
export class PostgresConsumer implements Consumer, Receiver {
  readonly queues: ReadonlyArray<string>
  readonly leasesLost: Consumer["leasesLost"]
  readonly mark = new Marks.Mark()
  private readonly store: Store
  private readonly lostLeases: Queue.Queue<Lease>
  private readonly held = new Map<number, PostgresLease>()
  private waiter: Waiter<PostgresLease> | undefined
  private isClosed = false
  /** Bytes of a body, on the average of the last that were read. */
  private bodyBytes = 0

  constructor(store: Store, queues: ReadonlyArray<string>, lostLeases: Queue.Queue<Lease>) {
    this.store = store
    this.queues = queues
    this.lostLeases = lostLeases
    this.leasesLost = Queue.takeAll(lostLeases)
  }

  /** Other processes have what this one held. */
  lose(): void {
    Queue.offerAllUnsafe(this.lostLeases, this.held.values())
    this.held.clear()
  }

  readonly reserve: Consumer["reserve"] = (max) =>
    Effect.suspend(() => {
      if (this.isClosed) return Effect.fail(consumerClosed(this.store.broker))
      const checked = Rules.checkMax(max)
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      return Effect.callback<NonEmptyReadonlyArray<Lease>, BrokerError>((resume) => {
        let served: ReadonlyArray<PostgresLease> = []
        const waiter: Waiter<PostgresLease> = {
          queues: this.queues,
          isWaiting: false,
          take: this.take(max),
          // Nothing may come between the resumption and the caller, or an interruption there would lose the leases.
          served: (leases) => {
            served = leases
            for (const lease of leases) this.held.set(lease.row, lease)
            resume(Effect.succeed(leases))
          },
          failed: (error) => resume(Effect.fail(error)),
          giveBack: (leases) => this.giveBack(leases)
        }
        this.waiter = waiter
        this.store.waiters.add(waiter)
        // It may be served between its interruption and this.
        return Effect.suspend(() => {
          this.store.waiters.remove(waiter)
          for (const { row } of served) this.held.delete(row)
          return this.giveBack(served)
        })
      })
    })

  /** Leases what is ready, from the mark or from the beginning. */
  private take(max: number): Waiter<PostgresLease>["take"] {
    return Effect.gen({ self: this }, function*() {
      const clock = yield* Clock.Clock
      const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      const size = Math.min(max, together, Math.max(1, Math.floor(mostBytes / Math.max(1, this.bodyBytes))))
      const from = this.mark.from(now())
      const first = from === Marks.beginning ? [] : yield* this.store.reserve(this.queues, size, from)
      if (first.length < size) {
        const began = now()
        const swept = yield* this.store.reserve(this.queues, size - first.length, Marks.beginning)
        this.mark.swept(began, now())
        first.push(...swept)
      }
      first.sort(isServedBefore)
      if (first.length === 0) this.mark.reset()
      else {
        this.mark.found({ priority: first[0]!.priority, id: first[0]!.row })
        this.bodyBytes = first.reduce((bytes, { body }) => bytes + body.length, 0) / first.length
      }
      return { leases: first, isShort: first.length < size }
    })
  }

  /** Requeues what nobody got to see. Where that fails, the leases end by themselves. */
  private giveBack(leases: ReadonlyArray<PostgresLease>): Effect.Effect<void> {
    if (leases.length === 0) return Effect.void
    return Effect.asVoid(this.change(leases.map((lease) => ({ _tag: "Requeue", lease }))))
  }

  readonly settle: Consumer["settle"] = (settlements) =>
    Effect.suspend(() => {
      const results: Array<Outcome> = settlements.map(({ lease }) => Result.fail(leaseLost(lease)))
      const sent = new Set<number>()
      const deletes: Array<number> = []
      const others: Array<number> = []
      settlements.forEach((settlement, i) => {
        const lease = this.heldLease(settlement.lease)
        if (lease === undefined || sent.has(lease.row)) return
        const checked = Rules.checkSettlement(settlement)
        if (Result.isFailure(checked)) {
          results[i] = checked
          return
        }
        sent.add(lease.row)
        if (settlement._tag === "Delete") deletes.push(i)
        else others.push(i)
      })
      if (sent.size === 0) return Effect.succeed(results)
      const inOrder = (places: Array<number>) =>
        places.sort((a, b) =>
          (settlements[a]!.lease as PostgresLease).row - (settlements[b]!.lease as PostgresLease).row
        )
      const carryOut = (places: ReadonlyArray<number>, outcomes: ReadonlyArray<Outcome>) =>
        places.forEach((place, i) => {
          results[place] = outcomes[i]!
          this.forget(settlements[place]!.lease as PostgresLease, outcomes[i]!, true)
        })
      const run = (places: Array<number>) =>
        Effect.map(
          this.change(inOrder(places).map((place) => settlements[place]!)),
          (outcomes) => carryOut(places, outcomes)
        )
      return Effect.as(Effect.all([run(deletes), run(others)], { concurrency: 2, discard: true }), results)
    })

  readonly touch: Consumer["touch"] = (leases) =>
    Effect.tap(
      this.each(leases, this.store.sql.touch, () => Result.void),
      (results) => Effect.sync(() => results.forEach((result, i) => this.forget(leases[i]!, result, false)))
    )

  readonly inspect: Consumer["inspect"] = (leases) =>
    this.each(leases, this.store.sql.inspect, (row) => Result.succeed(leaseInfo(row, 1)))

  /** Requeues what is held. Nobody can receive or settle by it afterwards. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    this.store.consumers.delete(this)
    this.store.waiters.fail(consumerClosed(this.store.broker), (waiter) => waiter === this.waiter)
    const leases = Array.from(this.held.values()).sort((a, b) => a.row - b.row)
    this.held.clear()
    return this.giveBack(leases).pipe(Effect.interruptible, Effect.timeoutOption(closeFor), Effect.asVoid)
  })

  private heldLease(lease: Lease): PostgresLease | undefined {
    const held = this.held.get(Number(lease.id))
    return held === lease && !this.isClosed ? held : undefined
  }

  /** Forgets a lease that is over. */
  private forget(lease: Lease, result: Outcome, isSettled: boolean): void {
    const isOver = Result.isSuccess(result) ? isSettled : result.failure.reason._tag === "LeaseLost"
    const row = Number(lease.id)
    if (isOver && this.held.get(row) === lease) this.held.delete(row)
  }

  /** Carries out settlements that are all deletes, or none of them. */
  private change(settlements: ReadonlyArray<Settlement>): Effect.Effect<ReadonlyArray<Outcome>> {
    const areDeletes = settlements[0]?._tag === "Delete"
    const { sql } = this.store
    const part = (part: ReadonlyArray<Settlement>) => {
      const leases = part.map(({ lease }) => lease as PostgresLease)
      const parameters = areDeletes
        ? named(leases)
        : [...named(leases), ...changes(part as Parameters<typeof changes>[0])]
      return this.answer(leases, areDeletes ? sql.done : sql.settle, parameters, (): Outcome => Result.void)
    }
    const parts = byHolder(settlements, areDeletes ? together : changedTogether, ({ lease }) => lease as PostgresLease)
    return Effect.map(Effect.forEach(parts, part, { concurrency: "unbounded" }), (results) => {
      if (!areDeletes && settlements.length > 0) this.store.changed(settlements.map(({ lease }) => lease.queue))
      return results.flat()
    })
  }

  /** Does something for the leases of this consumer; other leases are lost. */
  private each<A>(
    leases: ReadonlyArray<Lease>,
    sql: string,
    read: (row: Row) => Outcome<A>
  ): Effect.Effect<ReadonlyArray<Outcome<A>>> {
    return Effect.suspend(() => {
      const results: Array<Outcome<A>> = leases.map((lease) => Result.fail(leaseLost(lease)))
      const held = leases.flatMap((lease, place) => {
        const known = this.heldLease(lease)
        return known === undefined ? [] : [{ place, lease: known }]
      }).sort((a, b) => a.lease.row - b.lease.row)
      const part = (part: typeof held) => {
        const wanted = part.map(({ lease }) => lease)
        return Effect.map(this.answer(wanted, sql, named(wanted), read), (outcomes) =>
          part.forEach(({ place }, i) => {
            results[place] = outcomes[i]!
          }))
      }
      return Effect.as(
        Effect.forEach(byHolder(held, together, ({ lease }) => lease), (one) => part([...one]), {
          concurrency: "unbounded",
          discard: true
        }),
        results
      )
    })
  }

  /** Runs a statement on leases that returns a row, which begins with the job's id, for each that was held. */
  private answer<A>(
    leases: ReadonlyArray<PostgresLease>,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    read: (row: Row) => Outcome<A>
  ): Effect.Effect<ReadonlyArray<Outcome<A>>> {
    const link: Link = this.store.link
    return Effect.match(link.query(sql, parameters), {
      onFailure: (error) => leases.map((): Outcome<A> => Result.fail(error)),
      onSuccess: (rows) => {
        const found = new Map(rows.map((row) => [Number(row[0]), row]))
        return leases.map((lease): Outcome<A> => {
          const row = found.get(lease.row)
          return row === undefined ? Result.fail(leaseLost(lease)) : read(row)
        })
      }
    })
  }
}

/** Cuts what is sent together. After this process was entered anew its leases have two holders for a moment. */
const byHolder = <A>(
  items: ReadonlyArray<A>,
  size: number,
  leaseOf: (item: A) => PostgresLease
): ReadonlyArray<ReadonlyArray<A>> => {
  const first = items[0]
  if (first === undefined) return []
  const { holder } = leaseOf(first)
  if (items.every((item) => leaseOf(item).holder === holder)) return cut(items, size)
  return [...Map.groupBy(items, (item) => leaseOf(item).holder).values()].flatMap((group) => cut(group, size))
}
