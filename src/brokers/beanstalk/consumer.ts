/**
 * The receiving side of beanstalkd, for one worker.
 *
 * `reserving.ts` reserves. The settlements of one call leave in one write per
 * connection that holds some of the leases. A lease whose connection has ended is
 * lost, and its id is never sent: after a restart the server may have given the
 * id to another job.
 *
 * Limit: `delete` succeeds after the lease has expired, as long as no other
 * worker has the job, because beanstalkd lets any connection delete a ready job.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { type Consumer, type Lease, type LeaseInfo, type Settlement } from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import { Checked, Rules } from "../shared/index.ts"
import { checkMax } from "./arguments.ts"
import type { Command } from "./command.ts"
import type { Driver } from "./Connection.ts"
import { BeanstalkLease, type Holder } from "./lease.ts"
import { LeaseConnections } from "./leaseConnections.ts"
import type { Answer } from "./pipeline.ts"
import { isWorthWaiting, Throttle } from "./reconnect.ts"
import { failure, isHeld, jobStats, leaseInfo, readOn, wholeSeconds } from "./replies.ts"
import { kicksFor, releaseUnspent } from "./requeue.ts"
import { Reserving } from "./reserving.ts"

export interface ConsumerOptions {
  readonly driver: Driver
  readonly queues: NonEmptyReadonlyArray<string>
  /** How long `reserve` waits for a server that is away. */
  readonly reconnectFor: Duration.Duration
}

type Settled<A = void> = Result.Result<A, BrokerError.BrokerError>

const leaseLost = (lease: Lease) => Result.fail(BrokerError.leaseLost(lease))

/** Sends commands. An interruption of the caller does not stop them. */
const send = (holder: Holder, commands: ReadonlyArray<Command>): Effect.Effect<ReadonlyArray<Answer>> =>
  Effect.callback((resume) => {
    holder.connection.submit(commands, (answers) => resume(Effect.succeed(answers)))
  })

/** Most settlements are deletes. They have nothing to check, and need no priority. */
const isDelete = (settlement: Settlement): boolean => settlement._tag === "Delete"

const priorityOf = (settlement: Settlement): number | undefined =>
  settlement._tag === "Delete"
    ? 0
    : ("priority" in settlement ? settlement.priority : undefined) ?? settlement.lease.info?.priority

const settleCommand = (settlement: Settlement, priority: number): Command => {
  const id = settlement.lease.id
  switch (settlement._tag) {
    case "Delete":
      return { _tag: "Delete", id }
    case "Release":
      return { _tag: "Release", id, priority, delay: wholeSeconds(settlement.delay) }
    case "Bury":
      return { _tag: "Bury", id, priority }
    case "Requeue":
      return releaseUnspent(id, priority)
  }
}

const success: Record<Settlement["_tag"], Answer["_tag"]> = {
  Delete: "Deleted",
  Release: "Released",
  Bury: "Buried",
  Requeue: "Released"
}

const done: Settled = Result.succeed(undefined)

/** The items for one connection, and the places of their results. */
interface Group<A> {
  readonly items: Array<A>
  readonly places: Array<number>
}

class BeanstalkConsumer implements Consumer {
  private readonly broker: string
  private readonly connections: LeaseConnections
  private readonly reserving: Reserving
  /** Some reserves in a row may return at once: one that does not wait, and one that took over a wait near its end. */
  private readonly throttle = new Throttle(3)
  private isClosed = false
  readonly leasesLost: Consumer["leasesLost"]

  constructor(options: ConsumerOptions, scope: Scope.Scope, lostLeases: Queue.Queue<Lease>) {
    this.broker = options.driver.name
    this.connections = new LeaseConnections({
      ...options,
      scope,
      onLost: (leases) => {
        if (leases.length > 0) Queue.offerAllUnsafe(lostLeases, leases)
      }
    })
    this.reserving = new Reserving(this.broker, options.queues, this.connections, scope)
    this.leasesLost = Queue.takeAll(lostLeases)
  }

  /** Opens the first connection, so that the queues exist. If the server is away, `reserve` waits for it. */
  get begin(): Effect.Effect<void, BrokerError.BrokerError> {
    return Effect.catchIf(Effect.asVoid(this.connections.attempt), isWorthWaiting, () => Effect.void)
  }

  get sendKeepAlive(): Effect.Effect<never> {
    return this.connections.sendKeepAlive
  }

  readonly reserve: Consumer["reserve"] = (max) => {
    const checked = checkMax(max)
    return Result.isFailure(checked)
      ? Effect.fail(checked.failure)
      : Effect.andThen(this.connections.trim, this.reserveSome(max))
  }

  private reserveSome(max: number): ReturnType<Consumer["reserve"]> {
    return Effect.andThen(
      this.throttle.pause,
      Effect.clockWith((clock) => {
        if (this.isClosed) return Effect.fail(BrokerError.consumerClosed(this.broker))
        const beganAt = clock.currentTimeMillisUnsafe()
        return Effect.flatMap(this.reserving.next(max), (batch) => {
          if (Result.isSuccess(batch)) {
            const leases = batch.success
            if (isReadonlyArrayNonEmpty(leases)) return Effect.succeed(leases)
            this.throttle.ended(beganAt, clock.currentTimeMillisUnsafe())
          } else if (!isWorthWaiting(batch.failure)) {
            return Effect.fail(batch.failure)
          }
          return this.reserveSome(max)
        })
      })
    )
  }

  readonly settle: Consumer["settle"] = (settlements) =>
    settlements.every(isDelete) ? this.settleNow(settlements) : this.settleChecked(settlements)

  private settleChecked(settlements: ReadonlyArray<Settlement>): Effect.Effect<ReadonlyArray<Settled>> {
    const checks = settlements.map(Rules.checkSettlement)
    if (checks.some(Result.isFailure)) {
      return Effect.map(this.settle(Checked.passed(settlements, checks)), (results) => Checked.merge(checks, results))
    }
    const unknown = settlements.filter((settlement) => priorityOf(settlement) === undefined)
    return unknown.length === 0
      ? this.settleNow(settlements)
      : Effect.andThen(
        this.inspect(unknown.map((settlement) => settlement.lease)),
        Effect.suspend(() => this.settleNow(settlements))
      )
  }

  readonly touch: Consumer["touch"] = (leases) =>
    this.each(leases, (lease) => lease, (holder, group) =>
      Effect.map(
        send(holder, group.map((lease) => ({ _tag: "Touch", id: lease.id }))),
        (answers) =>
          answers.map((answer, i): Settled => {
            const lease = group[i]!
            if (answer._tag === "Touched") return done
            return answer._tag === "NotFound" ? this.forget(lease) : failure(this.broker, "Touch", answer)
          })
      ))

  readonly inspect: Consumer["inspect"] = (leases) =>
    this.each(leases, (lease) => lease, (holder, group) =>
      Effect.map(
        send(holder, group.map((lease) => ({ _tag: "StatsJob", id: lease.id }))),
        (answers) =>
          answers.map((answer, i): Settled<LeaseInfo> => {
            const lease = group[i]!
            const stats = readOn(holder.connection, answer, (answer) => jobStats(this.broker, lease.id, answer))
            if (Result.isFailure(stats)) {
              return stats.failure.reason._tag === "NotFound" ? this.forget(lease) : Result.fail(stats.failure)
            }
            if (!isHeld(stats.success.state)) return this.forget(lease)
            const info = leaseInfo(stats.success, true)
            if (lease instanceof BeanstalkLease) lease.info = info
            return Result.succeed(info)
          })
      ))

  /** Requeues the leases, and closes the connections. */
  readonly close: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    this.isClosed = true
    const holders = Array.from(this.connections)
    const idle = holders.filter((holder) => holder.leases.size === 0)
    yield* Effect.forEach(
      idle.filter((holder) => !this.reserving.isBusy || !holder.reserving),
      (holder) => this.connections.close(holder),
      { discard: true }
    )
    const leases = holders.flatMap((holder) => Array.from(holder.leases.values()))
    yield* this.settle(leases.map((lease) => ({ _tag: "Requeue", lease }))).pipe(
      Effect.andThen(Effect.repeat(Effect.sleep("1 millis"), { while: () => this.reserving.isBusy })),
      Effect.interruptible,
      Effect.timeoutOption(Rules.closeFor)
    )
    for (const holder of holders) holder.leases.clear()
  })

  private settleNow(settlements: ReadonlyArray<Settlement>): Effect.Effect<ReadonlyArray<Settled>> {
    return this.each(settlements, (settlement) => settlement.lease, (holder, group) => {
      const commands = group.map((settlement) => settleCommand(settlement, priorityOf(settlement) ?? 0))
      for (const settlement of group) holder.leases.delete(settlement.lease.id)
      return Effect.flatMap(send(holder, commands), (answers) => {
        const results = answers.map((answer, i) => this.settled(group[i]!, answer))
        if (!group.some((settlement) => settlement._tag === "Requeue")) return Effect.succeed(results)
        const requeues = commands.filter((_, i) => group[i]!._tag === "Requeue")
        const requeueAnswers = answers.filter((_, i) => group[i]!._tag === "Requeue")
        return Effect.as(send(holder, kicksFor(requeues, requeueAnswers)), results)
      })
    })
  }

  private settled(settlement: Settlement, answer: Answer): Settled {
    const lease = settlement.lease as BeanstalkLease
    if (answer._tag === success[settlement._tag]) return done
    switch (answer._tag) {
      case "NotFound":
        return leaseLost(lease)
      // A release without memory buries the job.
      case "Buried":
        return Result.fail(BrokerError.make(new BrokerError.OutOfMemory({ broker: this.broker })))
      case "OutOfMemory":
      case "InternalError":
        if (lease.holder.connection.isOpen()) lease.holder.leases.set(lease.id, lease)
    }
    return failure(this.broker, settleCommand(settlement, 0)._tag, answer)
  }

  private forget(lease: Lease): Result.Result<never, BrokerError.BrokerError> {
    if (this.isMine(lease)) lease.holder.leases.delete(lease.id)
    return leaseLost(lease)
  }

  private isMine(lease: Lease): lease is BeanstalkLease {
    return lease instanceof BeanstalkLease && lease.holder.leases.get(lease.id) === lease &&
      this.connections.has(lease.holder)
  }

  /** Works on leases, in one write per connection. A lease that is not held counts as lost. */
  private each<A, B>(
    items: ReadonlyArray<A>,
    leaseOf: (item: A) => Lease,
    run: (holder: Holder, items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<Settled<B>>>
  ): Effect.Effect<ReadonlyArray<Settled<B>>> {
    return Effect.suspend(() => {
      const [first] = items
      const only = items.length === 1 ? leaseOf(first!) : undefined
      if (only !== undefined && this.isMine(only)) return run(only.holder, items)
      const groups = new Map<Holder, Group<A>>()
      const results: Array<Settled<B>> = []
      const seen = new Set<Lease>()
      for (let i = 0; i < items.length; i++) {
        const item = items[i]!
        const lease = leaseOf(item)
        if (!this.isMine(lease) || seen.has(lease)) {
          results[i] = leaseLost(lease)
          continue
        }
        seen.add(lease)
        let group = groups.get(lease.holder)
        if (group === undefined) groups.set(lease.holder, group = { items: [], places: [] })
        group.items.push(item)
        group.places.push(i)
      }
      if (groups.size === 1 && seen.size === items.length) {
        const [[holder]] = groups as unknown as [[Holder]]
        return run(holder, items)
      }
      return Effect.as(
        Effect.forEach(groups, ([holder, group]) =>
          Effect.map(run(holder, group.items), (found) => {
            found.forEach((result, i) => {
              results[group.places[i]!] = result
            })
          }), { concurrency: "unbounded", discard: true }),
        results
      )
    })
  }
}

/** Opens a consumer. When the scope closes, its leases are requeued. */
export const make = Effect.fnUntraced(function*(options: ConsumerOptions) {
  const lostLeases = yield* Queue.unbounded<Lease>()
  const connections = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const consumer = new BeanstalkConsumer(options, connections, lostLeases)
  yield* Effect.addFinalizer(() => consumer.close)
  yield* consumer.begin
  yield* Effect.forkIn(consumer.sendKeepAlive, connections)
  return consumer as Consumer
})
