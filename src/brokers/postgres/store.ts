/**
 * What the parts of a broker share: its sessions, its statements, those who
 * wait, and what has to happen after jobs became ready.
 *
 * Three sessions at most for each process: one for puts, settlements and an
 * operator, one for reserves, and one that listens. A program that only
 * publishes opens the first.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { JobId, PutRequest } from "../../Broker.ts"
import { type BrokerError, notSent } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import * as Done from "./done.ts"
import * as Driver from "./driver.ts"
import { failure } from "./failure.ts"
import * as JobStatements from "./jobStatements.ts"
import { type Origin, PostgresLease } from "./lease.ts"
import type { Link } from "./link.ts"
import { beginning, earliest, type Mark, type Place } from "./marks.ts"
import type { Presence } from "./presence.ts"
import { portions, type Put, putNow, textsOf } from "./puts.ts"
import { channelOf } from "./schema.ts"
import { rowsInvalid, type Transaction } from "./transaction.ts"
import { Waiters } from "./waiters.ts"

/** The least milliseconds between two notifications of other processes. */
const notifyEveryMillis = 5
/** How long notifications pause after one found no listener. */
const noListenerPauseMillis = 100
/** How often ended delays and leases are looked for under load. */
const advanceEveryMillis = 100
/** How often that search starts at the very beginning. */
const advanceAllEveryMillis = 5000
/** Seconds that no delay exceeds. */
const ever = 1e9
/** After this many puts the counters are rolled up. */
const rollUpEvery = 1000

/** What a store is made of. */
export interface Options {
  readonly broker: string
  readonly schema: string
  /** For puts, settlements and an operator. */
  readonly link: Link
  /** For reserves. */
  readonly takeLink: Link
  readonly clock: Clock.Clock
  readonly patience: number
  /** How long finished jobs are kept, in milliseconds. */
  readonly keepMillis: number
  /** How often waiters poll, in milliseconds. */
  readonly poll: () => number
  /** The transaction of the program that the caller runs in. */
  readonly transaction: Effect.Effect<Option.Option<Transaction>>
  /** Runs an effect in the background, until the broker is closed. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** A consumer, as far as the store knows it. */
export interface Receiver {
  readonly queues: ReadonlyArray<string>
  readonly mark: Mark
  /** Other processes have what it held. */
  readonly lose: () => void
}

/** The jobs of a schema, as this process sees them. */
export class Store implements Origin {
  readonly broker: string
  readonly sql: JobStatements.Statements
  readonly link: Link
  readonly waiters: Waiters<PostgresLease>
  readonly consumers = new Set<Receiver>()
  /** Set before anybody consumes. */
  presence: Presence | undefined
  private readonly options: Options
  private reserves = 0
  /** Reserves that were never answered. */
  private unanswered: Array<number> = []
  private advancedAt = -Infinity
  private advancedAllAt = -Infinity
  private dueAt = 0
  /** Whether the next due time is known since the last reserve. Then a job that comes meanwhile is leased at once. */
  private isDueKnown = false
  private readonly names = new Map<number, string>()
  private readonly ids = new Map<string, number>()
  private readonly changedQueues = new Set<string>()
  /** Before this time other processes are not notified. */
  private notifyAfter = 0
  private puts = 0

  constructor(options: Options) {
    this.options = options
    this.broker = options.broker
    this.link = options.link
    this.sql = JobStatements.make(`"${options.schema}"`, options.keepMillis)
    this.waiters = new Waiters({
      advance: this.advanceIfDue,
      nextDue: this.nextDue,
      onIdle: () => this.presence?.changed(),
      ...options
    })
  }

  private now(): number {
    return monotonicMillis(this.options.clock)
  }

  // ---------------------------------------------------------------------------
  // What follows when jobs become ready
  // ---------------------------------------------------------------------------

  /** This process put jobs on a queue, and they are there. */
  put(queue: string, requests: ReadonlyArray<PutRequest>, ids: ReadonlyArray<JobId>): void {
    const priority = requests.reduce((least, { priority }) => Math.min(least, priority), Infinity)
    this.changed([queue], { priority, id: Number(ids[0]) })
    if (++this.puts % rollUpEvery === 0) {
      this.options.fork(Effect.ignore(this.link.query(this.sql.rollUp)))
    }
  }

  /** Jobs of queues may be ready; none of them before a place. */
  changed(queues: Iterable<string>, first: Place = beginning): void {
    const names = new Set(queues)
    for (const consumer of this.consumers) {
      if (consumer.queues.some((queue) => names.has(queue))) consumer.mark.lower(first)
    }
    this.wake(names)
  }

  /** Another process put jobs on a queue, or on any queue if there is no name. */
  readonly onNotified = (queue: string | undefined): void => {
    let hasConsumer = false
    for (const consumer of this.consumers) {
      if (queue === undefined) consumer.mark.lower(beginning)
      else if (consumer.queues.includes(queue)) consumer.mark.suspect()
      else continue
      hasConsumer = true
    }
    if (hasConsumer) this.waiters.look()
  }

  /** The leases of this process are lost. */
  readonly onLeasesLost = (): void => {
    for (const consumer of this.consumers) consumer.lose()
  }

  /** Queues changed: local waiters look again, and other processes are notified. */
  wake(queues: Iterable<string>): void {
    const isFirst = this.changedQueues.size === 0
    for (const queue of queues) this.changedQueues.add(queue)
    for (const consumer of this.consumers) {
      if (consumer.queues.some((queue) => this.changedQueues.has(queue))) {
        this.waiters.look()
        break
      }
    }
    if (isFirst) {
      const pause = this.notifyAfter - this.now()
      // One notification covers the puts of a turn.
      this.options.fork(Effect.andThen(pause <= 0 ? Effect.yieldNow : Effect.sleep(pause), this.notify))
    }
  }

  /** Not in the transaction of a put: a notification makes all commits of the server go one by one. */
  private readonly notify: Effect.Effect<void> = Effect.suspend(() => {
    const queues = Array.from(this.changedQueues)
    this.changedQueues.clear()
    this.notifyAfter = this.now() + notifyEveryMillis
    const notified = this.link.query(this.sql.notify, [
      channelOf(this.options.schema),
      Driver.texts(queues),
      this.presence?.id ?? 0
    ])
    return Effect.map(notified, (rows) => {
      if (rows.length === 0) this.notifyAfter = this.now() + noListenerPauseMillis
    })
  }).pipe(Effect.ignore)

  // ---------------------------------------------------------------------------
  // Time
  // ---------------------------------------------------------------------------

  /** Seconds since the last search for ended delays and leases, plus one. */
  private get sinceAdvance(): number {
    return this.advancedAt === -Infinity ? ever : (this.now() - this.advancedAt) / 1000 + 1
  }

  /** Ends the delays and leases that are over. */
  advanceOn(link: Link): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const began = this.now()
      const isAll = began - this.advancedAllAt >= advanceAllEveryMillis
      return Effect.flatMap(link.query(this.sql.advance, [isAll ? ever : this.sinceAdvance]), (rows) => {
        if (rows.length > 0) this.readyAgain(rows)
        if (rows.length >= JobStatements.portion) return this.advanceOn(link)
        this.advancedAt = began
        if (isAll) this.advancedAllAt = began
        return Effect.void
      })
    })
  }

  /** Delays and leases have ended: these jobs may come before others. */
  private readyAgain(rows: Driver.Rows): void {
    const places = rows.map(([priority, id]): Place => ({ priority: Number(priority), id: Number(id) }))
    const first = places.reduce(earliest)
    for (const consumer of this.consumers) consumer.mark.lower(first)
    if (this.consumers.size > 0) this.waiters.look()
  }

  /** Before an operator looks. */
  readonly advance: Effect.Effect<void, BrokerError> = Effect.suspend(() => this.advanceOn(this.link))

  private readonly advanceIfDue: Effect.Effect<void, BrokerError> = Effect.suspend(() => {
    const now = this.now()
    const isDue = now >= this.dueAt
    const { isDueKnown } = this
    this.isDueKnown = false
    if (!isDue && (isDueKnown || now - this.advancedAt < advanceEveryMillis)) return Effect.void
    if (isDue) {
      // A pause may have ended as well. The next due time is read again when a call waits.
      this.dueAt = Infinity
      for (const consumer of this.consumers) consumer.mark.lower(beginning)
    }
    return Effect.andThen(this.takeBack, this.advanceOn(this.options.takeLink))
  })

  private readonly nextDue: Effect.Effect<number, BrokerError> = Effect.suspend(() =>
    Effect.map(this.options.takeLink.query(this.sql.nextDue, [this.sinceAdvance]), ([row]) => {
      const millis = row?.[0] === null || row === undefined ? Infinity : Math.max(0, Number(row[0]))
      this.dueAt = this.now() + millis
      this.isDueKnown = true
      return millis
    })
  )

  // ---------------------------------------------------------------------------
  // Jobs
  // ---------------------------------------------------------------------------

  /** Puts jobs by one statement, each part of which is a commit. */
  readonly putTogether = (
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ): Effect.Effect<ReadonlyArray<JobId>, BrokerError> =>
    Effect.tap(
      putNow(this.broker, this.link.query, this.sql, queue, requests),
      (ids) => Effect.sync(() => this.put(queue, requests, ids))
    )

  /** Puts jobs as a part of a transaction. Its commit wakes waiters. */
  putWithin(
    transaction: Transaction,
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ): Effect.Effect<ReadonlyArray<Put>> {
    const put = Effect.gen({ self: this }, function*() {
      const id = yield* this.queueId(queue)
      const isAfterCommit = yield* transaction.afterCommit(Effect.sync(() => this.changed([queue])))
      const ids: Array<JobId> = []
      for (const part of portions(requests)) {
        const put = yield* isAfterCommit
          ? this.runWithin(transaction, this.sql.putWithin, textsOf(id, part))
          : this.runWithin(transaction, this.sql.putWithinAndTell, [
            ...textsOf(id, part),
            channelOf(this.options.schema),
            queue
          ])
        if (put.length !== part.length) return yield* rowsInvalid
        ids.push(...put)
      }
      return ids
    })
    return Effect.match(put, {
      onFailure: (error) => requests.map((): Put => Result.fail(error)),
      onSuccess: (ids) => ids.map((id): Put => Result.succeed(id))
    })
  }

  /** Settles a lease as a part of the transaction that the caller is in. */
  done(lease: PostgresLease): Effect.Effect<void, BrokerError> {
    return Effect.flatMap(
      this.options.transaction,
      (transaction) =>
        Done.settleIn(
          this.broker,
          this.sql.doneWithin,
          transaction,
          (open, sql, values) => this.runWithin(open, sql, values),
          lease
        )
    )
  }

  /** Runs a statement in a transaction of the program. What fails there has no effect, since it can't commit. */
  private runWithin(
    transaction: Transaction,
    sql: string,
    values: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<JobId>, BrokerError> {
    return Effect.mapBoth(transaction.run(sql, values), {
      onFailure: (error) => notSent(failure(this.broker, this.options.schema, error)),
      onSuccess: (ids) => ids as ReadonlyArray<JobId>
    })
  }

  /** The number of a queue, which is created if it does not exist. It never changes. */
  private readonly queueId = Effect.fnUntraced(function*(
    this: Store,
    queue: string
  ): Effect.fn.Return<number, BrokerError> {
    const known = this.ids.get(queue)
    if (known !== undefined) return known
    yield* this.link.query(this.sql.openQueues, [Driver.texts([queue])])
    const [row] = yield* this.link.query(this.sql.queueId, [queue])
    const id = Number(row?.[0])
    this.ids.set(queue, id)
    return id
  })

  /** Requeues jobs that were leased to this process by a reserve without an answer. */
  private readonly takeBack: Effect.Effect<void, BrokerError> = Effect.suspend(() => {
    const id = this.presence?.id
    const [lease] = this.unanswered
    if (id === undefined || lease === undefined) return Effect.void
    return Effect.flatMap(this.options.takeLink.query(this.sql.takeBack, [id, lease]), () => {
      this.unanswered = this.unanswered.filter((other) => other !== lease)
      return this.takeBack
    })
  })

  /** Leases ready jobs of queues to this process. */
  readonly reserve = Effect.fnUntraced(function*(
    this: Store,
    queues: ReadonlyArray<string>,
    max: number,
    from: Place
  ): Effect.fn.Return<Array<PostgresLease>, BrokerError> {
    const holder = yield* this.presence!.entered
    const lease = ++this.reserves
    // What it took and does not hand out is taken back before the next reserve.
    const forgotten = Effect.sync(() => this.unanswered.push(lease))
    const rows = yield* Effect.tapError(
      this.options.takeLink.query(this.sql.reserve, [
        Driver.texts(queues),
        max,
        holder,
        lease,
        Driver.int8(from.priority),
        Driver.int8(from.id)
      ]),
      ({ reason }) => reason._tag === "Unavailable" && reason.fate === "Unknown" ? forgotten : Effect.void
    )
    if (queues.length > 1) yield* Effect.tapError(this.learn(rows), () => forgotten)
    return rows.map((row) =>
      new PostgresLease(row, queues.length > 1 ? this.names.get(Number(row[1]))! : queues[0]!, holder, lease, this)
    )
  })

  /** Learns the names of queues. */
  private readonly learn = Effect.fnUntraced(function*(this: Store, rows: Driver.Rows) {
    const unknown = Array.from(new Set(rows.map((row) => Number(row[1])))).filter((id) => !this.names.has(id))
    if (unknown.length === 0) return
    const found = yield* this.options.takeLink.query(this.sql.queueNames, [Driver.int4s(unknown)])
    for (const [id, name] of found) this.names.set(Number(id), String(name))
  })
}
