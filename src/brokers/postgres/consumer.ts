/**
 * The receiving side, for one worker.
 *
 * A lease is the job's row, the process that has it and that process' count of
 * reserves. Every change checks them, and that the lease is not over, in its
 * own statement: a settlement that comes too late changes nothing, and fails.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type { Consumer, Lease, Settlement } from "../../Broker.ts"
import { type BrokerError, consumerClosed, leaseLost } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { Rules } from "../shared/index.ts"
import * as Done from "./done.ts"
import * as Driver from "./driver.ts"
import { isServedBefore, PostgresLease } from "./lease.ts"
import type { Link } from "./link.ts"
import * as Marks from "./marks.ts"
import { leaseInfo, type Row, wholeMillis } from "./rows.ts"
import type { Receiver, Store } from "./store.ts"
import type { Waiter } from "./waiters.ts"

/** At most this many jobs are leased, and deleted, by one statement. */
const maxJobsPerStatement = 500
/** At most this many leases share a statement that changes each in its own way: it looks each up in a list. */
const maxChangesPerStatement = 100
/** About this many bytes of bodies are read at a time. */
const maxBytesPerStatement = 4 * 1024 * 1024

const concurrently = { concurrency: "unbounded", discard: true } as const

type Settled<A = void> = Result.Result<A, BrokerError>

/** A lease, and what is asked for it: the item of a call at an index. */
interface Place<A> {
  readonly lease: PostgresLease
  readonly index: number
  readonly of: A
}

/** Names leases of one holder for a statement. */
const named = (places: ReadonlyArray<Place<unknown>>): ReadonlyArray<unknown> => {
  const reserves = new Set<number>()
  for (const { lease } of places) reserves.add(lease.reserve)
  return [
    Driver.int8s(places.map(({ lease }) => lease.row)),
    places[0]!.lease.holder,
    Driver.int4s(Array.from(reserves))
  ]
}

const changeCodes = { Release: 1, Bury: 2, Requeue: 3 } as const

/** Whether nothing can be done with a lease after a failure. */
const isOverBy = ({ reason }: BrokerError): boolean => reason._tag === "LeaseLost" || reason._tag === "AlreadyDone"

const failureOf = (settlement: Settlement) => "failure" in settlement ? settlement.failure : undefined

type Change = Exclude<Settlement, { readonly _tag: "Delete" }>

/** Says what becomes of each lease, as `settle` reads it. */
const changes = (settlements: ReadonlyArray<Change>): ReadonlyArray<unknown> => [
  Driver.int8s(settlements.map(({ _tag }) => changeCodes[_tag])),
  Driver.int8s(settlements.map((one) => one._tag === "Release" ? wholeMillis(one.delay) : 0)),
  Driver.int8s(settlements.map((one) => "priority" in one ? one.priority : undefined)),
  Driver.texts(settlements.map((one) => "reason" in one ? one.reason : undefined)),
  Driver.texts(settlements.map((one) => failureOf(one)?.tag)),
  Driver.texts(settlements.map((one) => failureOf(one)?.message))
]

/** The first job that such changes make ready at once, if any. */
const firstReady = (places: ReadonlyArray<Place<Settlement>>): Marks.Place | undefined => {
  let first: Marks.Place | undefined
  for (const { lease, of } of places) {
    if (of._tag !== "Requeue" && (of._tag !== "Release" || wholeMillis(of.delay) > 0)) continue
    const priority = of._tag === "Release" ? of.priority ?? lease.priority : lease.priority
    const place = { priority, id: lease.row }
    first = first === undefined ? place : Marks.earliest(first, place)
  }
  return first
}

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
  /** The average size of the bodies that were read last. */
  private bodyBytes = 0

  constructor(store: Store, queues: ReadonlyArray<string>, lostLeases: Queue.Queue<Lease>) {
    this.store = store
    this.queues = queues
    this.lostLeases = lostLeases
    this.leasesLost = Queue.takeAll(lostLeases)
  }

  /** Other processes have what this one held. */
  lose(): void {
    for (const lease of this.held.values()) {
      // An open transaction keeps its job from others all the same.
      if (lease.isHandedOver) continue
      this.held.delete(lease.row)
      Queue.offerUnsafe(this.lostLeases, lease)
    }
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
          requeue: (leases) => this.requeue(leases)
        }
        this.waiter = waiter
        this.store.waiters.add(waiter)
        // It may be served between its interruption and this.
        return Effect.suspend(() => {
          this.store.waiters.remove(waiter)
          for (const { row } of served) this.held.delete(row)
          return this.requeue(served)
        })
      })
    })

  /** Leases what is ready, from the mark or from the beginning. */
  private take(max: number): Waiter<PostgresLease>["take"] {
    return Effect.gen({ self: this }, function*() {
      const clock = yield* Clock.Clock
      const now = () => monotonicMillis(clock)
      const size = Math.min(
        max,
        maxJobsPerStatement,
        Math.max(1, Math.floor(maxBytesPerStatement / Math.max(1, this.bodyBytes)))
      )
      const from = this.mark.begin(now())
      const isSweep = from === Marks.beginning
      const leases = isSweep ? [] : yield* this.store.reserve(this.queues, size, from)
      if (isSweep || leases.length < size && this.mark.maySweep(now())) {
        const began = now()
        const sweep = this.store.reserve(this.queues, size - leases.length, Marks.beginning)
        // If the sweep fails, the jobs of the first reserve are still handed out.
        const swept = yield* leases.length === 0 ? sweep : Effect.orElseSucceed(sweep, () => [])
        this.mark.swept(began, now())
        leases.push(...swept)
      }
      leases.sort(isServedBefore)
      const first = leases[0]
      if (first !== undefined) {
        this.mark.found(first.place)
        this.bodyBytes = leases.reduce((bytes, { body }) => bytes + body.length, 0) / leases.length
      }
      return { leases, isShort: leases.length < size }
    })
  }

  /** Requeues jobs that were never delivered. If that fails, their leases expire. */
  private requeue(leases: ReadonlyArray<PostgresLease>): Effect.Effect<void> {
    if (leases.length === 0) return Effect.void
    const places = leases.map((lease, index): Place<Settlement> => ({ lease, index, of: { _tag: "Requeue", lease } }))
    return inParts(places, maxChangesPerStatement, (part) => Effect.asVoid(this.change(part)))
  }

  readonly settle: Consumer["settle"] = (settlements) =>
    Effect.suspend(() => {
      const results: Array<Settled> = []
      const sent = new Set<number>()
      const deletes: Array<Place<Settlement>> = []
      const others: Array<Place<Settlement>> = []
      const handedOver: Array<Place<Settlement>> = []
      for (let i = 0; i < settlements.length; i++) {
        const settlement = settlements[i]!
        const lease = this.heldLease(settlement.lease)
        if (lease === undefined || sent.has(lease.row)) {
          results.push(Result.fail(leaseLost(settlement.lease)))
          continue
        }
        const checked = Rules.checkSettlement(settlement)
        results.push(checked)
        if (Result.isFailure(checked)) continue
        sent.add(lease.row)
        const isHandedOver = lease.isHandedOver
        if (!isHandedOver) lease.settle()
        const places = isHandedOver ? handedOver : settlement._tag === "Delete" ? deletes : others
        places.push({ lease, index: i, of: settlement })
      }
      const answered = ({ index, lease }: Place<Settlement>, outcome: Settled) => {
        results[index] = outcome
        this.forget(lease, outcome, true)
      }
      const run = (places: ReadonlyArray<Place<Settlement>>, size: number) =>
        inParts(places, size, (part) =>
          Effect.map(this.change(part), (outcomes) => {
            for (let i = 0; i < part.length; i++) answered(part[i]!, outcomes[i]!)
          }))
      const steps: Array<Effect.Effect<void>> = []
      if (deletes.length > 0) steps.push(run(deletes, maxJobsPerStatement))
      if (others.length > 0) steps.push(run(others, maxChangesPerStatement))
      if (handedOver.length > 0) steps.push(this.settleHandedOver(handedOver, answered))
      return Effect.as(steps.length === 1 ? steps[0]! : Effect.all(steps, concurrently), results)
    })

  /** Answers for leases that transactions of their handlers settle; settles those whose transaction rolled back. */
  private settleHandedOver(
    places: ReadonlyArray<Place<Settlement>>,
    answered: (place: Place<Settlement>, outcome: Settled) => void
  ): Effect.Effect<void> {
    const one = (place: Place<Settlement>): Effect.Effect<Settled> =>
      Effect.matchEffect(this.fate(place), {
        onFailure: (error): Effect.Effect<Settled> => Effect.succeed(Result.fail(error)),
        onSuccess: (fate) => {
          if (fate === "Committed") place.lease.commit()
          if (fate === "RolledBack") place.lease.takeBack()
          const answer = Done.answer(this.store.broker, place.of, fate)
          return answer === undefined
            ? Effect.map(this.change([place]), ([outcome]) => outcome!)
            : Effect.succeed(answer)
        }
      })
    return Effect.forEach(
      places,
      (place) => Effect.map(one(place), (outcome) => answered(place, outcome)),
      concurrently
    )
  }

  /** What became of a lease that a transaction of its handler settles. */
  private fate(place: Place<unknown>): Effect.Effect<Done.Fate, BrokerError> {
    const { link, sql } = this.store
    return place.lease.isDone
      ? Effect.succeed("Committed")
      : Effect.map(link.query(sql.fate, named([place])), ([row]) => Done.fateIn(row))
  }

  readonly touch: Consumer["touch"] = (leases) =>
    Effect.suspend(() => {
      const isHandedOver = (lease: Lease) => this.heldLease(lease)?.isHandedOver === true
      if (!leases.some(isHandedOver)) return this.touchHeld(leases)
      const handedOver = new Set(leases.filter(isHandedOver))
      const others = leases.filter((lease) => !handedOver.has(lease))
      return Effect.map(Effect.andThen(this.touchFree(Array.from(handedOver)), this.touchHeld(others)), (results) => {
        let next = 0
        return leases.map((lease) => handedOver.has(lease) ? Result.void : results[next++]!)
      })
    })

  private touchHeld(leases: ReadonlyArray<Lease>): Effect.Effect<ReadonlyArray<Settled>> {
    if (leases.length === 0) return Effect.succeed([])
    return Effect.tap(
      PostgresLease.touched(
        leases.map((lease) => this.heldLease(lease)).filter((lease) => lease !== undefined),
        this.each(leases, this.store.sql.touch, () => Result.void)
      ),
      (results) =>
        Effect.sync(() => results.forEach((result, i) => this.forget(leases[i] as PostgresLease, result, false)))
    )
  }

  /** Renews leases whose rows no transaction locks. What is locked needs no renewal. */
  private touchFree(leases: ReadonlyArray<Lease>): Effect.Effect<void> {
    const open = (leases as ReadonlyArray<PostgresLease>).filter(({ isDone }) => !isDone)
    const places = open.map((lease, index): Place<void> => ({ lease, index, of: undefined }))
    return inParts(
      places,
      maxJobsPerStatement,
      (part) => Effect.ignore(this.store.link.query(this.store.sql.touchFree, named(part)))
    )
  }

  readonly inspect: Consumer["inspect"] = (leases) =>
    this.each(leases, this.store.sql.inspect, (row) => Result.succeed(leaseInfo(row, 1)))

  /** Requeues the held jobs. The consumer can't receive or settle afterwards. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    this.store.consumers.delete(this)
    this.store.waiters.fail(consumerClosed(this.store.broker), (waiter) => waiter === this.waiter)
    const leases = Array.from(this.held.values()).sort((a, b) => a.row - b.row)
    this.held.clear()
    const handedOver = leases.filter(({ isHandedOver }) => isHandedOver)
      .map((lease, index): Place<Settlement> => ({ lease, index, of: { _tag: "Requeue", lease } }))
    return this.requeue(leases.filter(({ isHandedOver }) => !isHandedOver)).pipe(
      Effect.andThen(this.settleHandedOver(handedOver, () => {})),
      Effect.interruptible,
      Effect.timeoutOption(Rules.closeFor),
      Effect.asVoid
    )
  })

  private heldLease(lease: Lease): PostgresLease | undefined {
    const held = this.held.get((lease as PostgresLease).row)
    return held === lease && !this.isClosed ? held : undefined
  }

  /** Forgets a lease that is over. */
  private forget(lease: PostgresLease, result: Settled, isSettled: boolean): void {
    const isOver = Result.isSuccess(result) ? isSettled : isOverBy(result.failure)
    if (isOver && this.held.get(lease.row) === lease) this.held.delete(lease.row)
  }

  /** Carries out settlements that are all deletes, or none of them. */
  private change(places: ReadonlyArray<Place<Settlement>>): Effect.Effect<ReadonlyArray<Settled>> {
    const { sql } = this.store
    if (places[0]!.of._tag === "Delete") return this.delete(places)
    const parameters = [...named(places), ...changes(places.map(({ of }) => of as Change))]
    return Effect.tap(
      this.answer(places, sql.settle, parameters, () => Result.void),
      () =>
        Effect.sync(() => {
          const queues = places.map(({ lease }) => lease.queue)
          const first = firstReady(places)
          if (first === undefined) this.store.wake(queues)
          else this.store.changed(queues, first)
        })
    )
  }

  private delete(places: ReadonlyArray<Place<Settlement>>): Effect.Effect<ReadonlyArray<Settled>> {
    return Effect.match(this.store.link.query(this.store.sql.done, named(places)), {
      onFailure: (error) => places.map((): Settled => Result.fail(error)),
      onSuccess: ([row]) => {
        if (row![0] === places.length) return places.map(() => Result.void)
        const done = new Set((row![1] ?? []) as ReadonlyArray<number>)
        return places.map(({ lease }): Settled => done.has(lease.row) ? Result.void : Result.fail(leaseLost(lease)))
      }
    })
  }

  /** Does something for the leases of this consumer; other leases are lost. */
  private each<A>(
    leases: ReadonlyArray<Lease>,
    sql: string,
    read: (row: Row) => Settled<A>
  ): Effect.Effect<ReadonlyArray<Settled<A>>> {
    return Effect.suspend(() => {
      const results: Array<Settled<A>> = []
      const places: Array<Place<Lease>> = []
      leases.forEach((lease, index) => {
        const held = this.heldLease(lease)
        if (held === undefined) results[index] = Result.fail(leaseLost(lease))
        else places.push({ lease: held, index, of: lease })
      })
      const run = inParts(
        places,
        maxJobsPerStatement,
        (part) =>
          Effect.map(this.answer(part, sql, named(part), read), (outcomes) =>
            part.forEach(({ index }, i) => {
              results[index] = outcomes[i]!
            }))
      )
      return Effect.as(run, results)
    })
  }

  /** Runs a statement on leases that returns a row, which begins with the job's id, for each that was held. */
  private answer<A>(
    places: ReadonlyArray<Place<unknown>>,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    read: (row: Row) => Settled<A>
  ): Effect.Effect<ReadonlyArray<Settled<A>>> {
    const link: Link = this.store.link
    return Effect.match(link.query(sql, parameters), {
      onFailure: (error) => places.map((): Settled<A> => Result.fail(error)),
      onSuccess: (rows) => {
        const found = new Map(rows.map((row) => [Number(row[0]), row]))
        return places.map(({ lease }): Settled<A> => {
          const row = found.get(lease.row)
          return row === undefined ? Result.fail(leaseLost(lease)) : read(row)
        })
      }
    })
  }
}

const byRow = (a: Place<unknown>, b: Place<unknown>): number => a.lease.row - b.lease.row

const cut = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  items.length <= size
    ? [items]
    : Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))

/**
 * Runs statements for leases, at most `size` in each: in the order of their jobs, so that no two statements lock each
 * other out. The leases of one statement have one holder: a process that lost its number has leases of two.
 */
const inParts = <A>(
  places: ReadonlyArray<Place<A>>,
  size: number,
  run: (part: ReadonlyArray<Place<A>>) => Effect.Effect<void>
): Effect.Effect<void> => {
  const first = places[0]
  if (first === undefined) return Effect.void
  const sorted = places.toSorted(byRow)
  const { holder } = first.lease
  const groups = sorted.every(({ lease }) => lease.holder === holder)
    ? [sorted]
    : [...Map.groupBy(sorted, ({ lease }) => lease.holder).values()]
  const parts = groups.flatMap((group) => cut(group, size))
  return parts.length === 1
    ? run(parts[0]!)
    : Effect.forEach(parts, run, { concurrency: "unbounded", discard: true })
}
