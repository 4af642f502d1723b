/**
 * This process, as the others know it: a row, a heartbeat, and an advisory lock
 * that its session holds.
 *
 * When the process dies the lock is free at once, and a waiting process requeues
 * its jobs within two seconds. If its machine is cut off the heartbeat stops, and
 * its jobs are requeued within ten. Both are long before the leases end.
 *
 * The session that holds the lock also listens for what others put, and does
 * nothing long. When it is lost it is opened again and takes the same lock: if
 * the row is still there, all leases hold; otherwise they are lost.
 *
 * Behind a pooler in transaction mode there is no such session: the heartbeat
 * alone says that the process lives, and nothing is heard from others. The
 * number of such a process is negative.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type BrokerError, make as brokerError, Unavailable } from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import * as Driver from "./driver.ts"
import { failure } from "./failure.ts"
import { gonePortion, type Statements } from "./jobStatements.ts"
import type { Link } from "./link.ts"
import type { Pooling } from "./pooling.ts"
import type { Session } from "./servers.ts"

const pauses: Limits = { firstMillis: 50, longestMillis: 500 }
/** A process that looks dead is looked at again after this time. */
const judgeAgainMillis = 500
/** After its session reopened, a process judges no other for this long: after a failover all must take their locks again. */
const graceAfterEntryMillis = 5000
/** The least time between two reports of idle workers. */
const reportEveryMillis = 100
/**
 * Workers that are idle at the beginning or the end of this time are reported. One that takes a job is idle again in 2 ms,
 * and a process that found none pauses its notifications for 100 ms.
 */
const settleMillis = 10
/** The interval of heartbeats, each of which also looks for dead processes, and how long each is valid. */
const beatEveryMillis = 1000
const beatValidMillis = 6500
/** A session that does not answer a heartbeat for this long is given up. */
const beatWithin = "2 seconds"
/**
 * How many looks in a row must find a process dead: two by its lock. By its heartbeat, more looks than there are between
 * two beats, so that setting a clock forward kills no process.
 */
const looksAtLock = 2
const looksAtHeart = 4
/** A notification arrives within this time, or never. */
const heardWithin = "2 seconds"

/** What a presence is made of. */
export interface Options {
  readonly broker: string
  readonly schema: string
  readonly channel: string
  readonly sql: Statements
  /** Opens a session of its own. */
  readonly open: Effect.Effect<Session, BrokerError, Scope.Scope>
  /** What is known of a pooler between this program and the server of that session. */
  readonly pooling: Pooling
  /** Whether that session has a server of its own, the option `listen`. */
  readonly isApart: boolean
  /** The sessions that judge others. */
  readonly link: Link
  /** The primary is at this host. */
  readonly onPrimary: (host: string) => Effect.Effect<void>
  /** Another process put jobs on a queue, or on any queue if there is no name. */
  readonly onNotified: (queue: string | undefined) => void
  /** The leases of this process are lost. */
  readonly onLeasesLost: () => void
  readonly counts: () => ReadonlyMap<string, number>
}

/** A number for a schema, which is the first half of its locks. */
export const lockClass = (schema: string): number => {
  let hash = 0x5bac9
  for (let i = 0; i < schema.length; i++) hash = Math.imul(hash, 31) + schema.charCodeAt(i) | 0
  return hash
}

/** Runs a statement. */
type Ask = (sql: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<Driver.Rows, BrokerError>

/** This process among others. */
export class Presence {
  /** Its number; `undefined` before it entered first. */
  id: number | undefined
  private readonly options: Options
  /** Is open once the first attempt to enter has ended. */
  private readonly known = Latch.makeUnsafe()
  private error: BrokerError | undefined
  /** How many looks in a row found each process dead. */
  private looks: ReadonlyMap<number, number> = new Map()
  private dead: ReadonlyArray<number> = []
  private enteredAt = 0
  private reportedCounts = ""
  /** Is open while there may be something to report, or a dead process. */
  private readonly news = Latch.makeUnsafe()

  constructor(options: Options) {
    this.options = options
  }

  private readonly askOn = (session: Driver.Session): Ask => (sql, parameters = []) =>
    Effect.mapError(
      session.query(sql, parameters),
      (error) => failure(this.options.broker, this.options.schema, error)
    )

  /** Sends a heartbeat, and looks for dead processes. `false`: the others took this process for dead. */
  private beat(ask: Ask, id: number, judges = false): Effect.Effect<boolean, BrokerError> {
    return Effect.map(
      ask(this.options.sql.beat, [id, lockClass(this.options.schema), beatValidMillis, judges]),
      (rows) => {
        const others = rows.filter(([row]) => row !== id)
        if (judges) this.judge(others)
        return others.length < rows.length
      }
    )
  }

  /** Counts looks that found a process dead. */
  private judge(suspects: Driver.Rows): void {
    const looks = new Map<number, number>()
    const dead: Array<number> = []
    for (const [row, isSilent] of suspects) {
      const id = Number(row)
      const count = (this.looks.get(id) ?? 0) + 1
      looks.set(id, count)
      if (count >= (isSilent === true ? looksAtHeart : looksAtLock)) dead.push(id)
    }
    this.looks = looks
    this.dead = dead
    if (dead.length > 0) this.news.openUnsafe()
  }

  /** Enters this process where it is not, by a number that `lock` makes sure of. */
  private readonly enter = Effect.fnUntraced(function*(
    this: Presence,
    ask: Ask,
    isLocked: boolean
  ) {
    const { onLeasesLost, schema, sql } = this.options
    const lock = (id: number) => isLocked ? ask(sql.lock, [lockClass(schema), id]) : Effect.void
    const known = this.id
    // The lock may be held by the session before this one for some seconds more: the first beat covers that wait.
    if (known !== undefined && known > 0 === isLocked && (yield* this.beat(ask, known))) {
      yield* lock(known)
      if (yield* this.beat(ask, known)) return
    }
    const [row] = yield* ask(sql.newProcess)
    const id = isLocked ? Number(row![0]) : -Number(row![0])
    yield* lock(id)
    yield* ask(sql.addProcess, [id, beatValidMillis])
    this.id = id
    if (known === undefined) return
    onLeasesLost()
    // Also what it reserved after the others had returned the rest.
    yield* Effect.repeat(ask(sql.returnHeld, [known]), { while: (rows) => rows.length >= gonePortion })
  })

  /** Others know of this process from now on. */
  private readonly begin = Effect.fnUntraced(function*(this: Presence, entered: Effect.Effect<void>) {
    this.enteredAt = yield* Clock.currentTimeMillis
    this.looks = new Map()
    this.dead = []
    this.reportedCounts = ""
    this.news.openUnsafe()
    yield* entered
    this.options.onNotified(undefined)
  })

  /** Beats until the others take this process for dead, or no beat comes through. */
  private beating(ask: Ask): Effect.Effect<void, BrokerError> {
    const { broker } = this.options
    const silent = brokerError(new Unavailable({ broker, fate: "NotSent", detail: `it is silent for ${beatWithin}` }))
    const beat = Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => this.beat(ask, this.id!, now - this.enteredAt >= graceAfterEntryMillis)
    )
    return beat.pipe(
      Effect.timeoutOrElse({ duration: beatWithin, orElse: () => Effect.fail(silent) }),
      Effect.tap(() => Effect.sleep(this.looks.size > 0 ? judgeAgainMillis : beatEveryMillis)),
      Effect.repeat({ while: (isAlive) => isAlive }),
      Effect.asVoid
    )
  }

  /** Whether notifications arrive at a session. Behind a pooler in transaction mode they do not. */
  private readonly isHeard = Effect.fnUntraced(function*(
    this: Presence,
    session: Session,
    next: Effect.Effect<string>
  ) {
    const { channel, link, sql } = this.options
    const token = `?${session.pid}`
    yield* link.query(sql.notifyOne, [channel, token])
    const heard = Effect.repeat(next, { until: (text) => text === token })
    return Option.isSome(yield* Effect.timeoutOption(heard, heardWithin))
  })

  /** One session, from its beginning to its end. `entered` is called when others know of this process. */
  private readonly session = (entered: Effect.Effect<void>): Effect.Effect<void, BrokerError> =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      const { broker, channel, isApart, onNotified, onPrimary, open, pooling, schema } = this.options
      const session = yield* open
      if (pooling.isPooled) return
      const ask = this.askOn(session)
      const next = yield* Effect.mapError(session.listen(channel), (error) => failure(broker, schema, error))
      if ((session.isRelayed || isApart) && !(yield* this.isHeard(session, next))) {
        return yield* pooling.found(isApart ? "listen" : undefined)
      }
      yield* this.enter(ask, true)
      if (!isApart) yield* onPrimary(session.host)
      yield* this.begin(entered)
      const listen = Effect.forever(Effect.map(next, (queue) => onNotified(queue)))
      yield* Effect.raceAllFirst([session.closed, listen, this.beating(ask)])
    }))

  /** The same by heartbeats alone. */
  private readonly heartbeats = (entered: Effect.Effect<void>): Effect.Effect<void, BrokerError> =>
    Effect.gen({ self: this }, function*() {
      const ask = this.options.link.query
      yield* this.enter(ask, false)
      yield* this.begin(entered)
      yield* this.beating(ask)
    })

  /** Enters this process, and keeps it entered for as long as it is not interrupted. */
  readonly keep: Effect.Effect<never> = Effect.suspend(() => {
    let failures = 0
    const entered = Effect.suspend(() => {
      failures = 0
      this.error = undefined
      return this.known.open
    })
    const life = Effect.suspend(() => this.options.pooling.isPooled ? this.heartbeats(entered) : this.session(entered))
    const round = Effect.catch(life, (error) =>
      Effect.suspend(() => {
        failures++
        this.error = error
        return this.known.open
      }))
    const pause = Effect.suspend(() => failures === 0 ? Effect.void : Effect.sleep(pauseMillis(failures, 1, pauses)))
    return Effect.forever(Effect.andThen(round, pause))
  })

  /** The number of this process, once it is entered. */
  readonly entered: Effect.Effect<number, BrokerError> = Effect.suspend(() => {
    if (this.id !== undefined) return Effect.succeed(this.id)
    return this.error === undefined ? Effect.andThen(this.known.await, this.entered) : Effect.fail(this.error)
  })

  /** Requeues the jobs of dead processes. */
  private readonly requeueOfDead = Effect.suspend(() => {
    const { dead, options: { link, onNotified, schema, sql } } = this
    if (dead.length === 0) return Effect.void
    this.dead = []
    return Effect.map(link.query(sql.holderGone, [Driver.int4s(dead), lockClass(schema)]), ([row]) => {
      if (Number(row![0]) > 0) onNotified(undefined)
    })
  })

  /** Reports how many workers wait here, if that changed. */
  private readonly reportIdle = Effect.gen({ self: this }, function*() {
    const { counts, link, sql } = this.options
    const now = new Map(counts())
    yield* Effect.sleep(settleMillis)
    for (const [queue, workers] of counts()) now.set(queue, Math.max(workers, now.get(queue) ?? 0))
    const text = JSON.stringify(Array.from(now))
    if (text === this.reportedCounts || this.id === undefined) return
    const [queues, workers] = [Driver.texts(Array.from(now.keys())), Driver.int4s(Array.from(now.values()))]
    yield* link.query(sql.openQueues, [queues])
    yield* link.query(sql.reportIdle, [this.id, queues, workers])
    this.reportedCounts = text
  })

  /** The number of idle workers may have changed. */
  readonly changed = (): void => void this.news.openUnsafe()

  /** Reports idle workers and requeues the jobs of dead processes, until it is interrupted. */
  readonly watch: Effect.Effect<never> = Effect.forever(
    Effect.gen({ self: this }, function*() {
      yield* this.news.await
      this.news.closeUnsafe()
      const both = Effect.andThen(this.requeueOfDead, this.reportIdle)
      yield* Effect.catch(both, () => Effect.sync(this.changed))
      yield* Effect.sleep(reportEveryMillis)
    })
  )

  /** Forgets this process. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() =>
    this.id === undefined
      ? Effect.void
      : Effect.ignore(Effect.timeout(this.options.link.query(this.options.sql.removeProcess, [this.id]), "1 second"))
  )
}
