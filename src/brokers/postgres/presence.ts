/**
 * This process, as the others know it: a row, and an advisory lock that its
 * session holds. The lock is gone within a moment of the process' death, and
 * then somebody who waits returns what the process held: within two seconds,
 * long before the leases are over.
 *
 * The session that holds the lock also listens for what others put, and does
 * nothing long. When it is lost it is opened anew and takes the same lock: if
 * the row is still there, all leases hold; otherwise they are lost.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { type BrokerError } from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import * as Driver from "./driver.ts"
import { failure } from "./failure.ts"
import type { Statements } from "./jobStatements.ts"
import type { Link } from "./link.ts"

const pauses: Limits = { firstMillis: 50, longestMillis: 1000 }
/** How often others are looked after, and told who waits here, while somebody waits. Milliseconds. */
const judgeEvery = 500
/** After its session was opened anew a process judges nobody: after a failover all have to take their locks again. */
const noJudgement = 5000
const tellEvery = 100
const heartbeat = "15 seconds"
const heartbeatWithin = "5 seconds"

/** What a presence is made of. */
export interface Options {
  readonly broker: string
  readonly schema: string
  readonly channel: string
  readonly sql: Statements
  /** Opens a session of its own. */
  readonly open: Effect.Effect<Driver.Session, BrokerError, Scope.Scope>
  /** The sessions that judge others. */
  readonly link: Link
  /** Somebody told of jobs on a queue; without a name, of all. */
  readonly told: (queue: string | undefined) => void
  /** The leases of this process are lost. */
  readonly lost: () => void
  readonly counts: () => ReadonlyMap<string, number>
}

/** A number for a schema, which is the first half of its locks. */
export const lockClass = (schema: string): number => {
  let hash = 0x5bac9
  for (let i = 0; i < schema.length; i++) hash = Math.imul(hash, 31) + schema.charCodeAt(i) | 0
  return hash
}

/** This process among others. */
export class Presence {
  /** Its number; `undefined` before its session was opened first. */
  id: number | undefined
  private readonly options: Options
  /** Is open once the first attempt to enter has ended. */
  private readonly known = Latch.makeUnsafe()
  private error: BrokerError | undefined
  private suspects: ReadonlySet<number> = new Set()
  private openedAt = 0
  private told = ""

  constructor(options: Options) {
    this.options = options
  }

  private ask(session: Driver.Session, sql: string, parameters: ReadonlyArray<unknown> = []) {
    const { broker, schema } = this.options
    return Effect.mapError(session.query(sql, parameters), (error) => failure(broker, schema, error))
  }

  /** Takes the lock of this process, and enters it where it is not. */
  private readonly enter = Effect.fnUntraced(function*(this: Presence, session: Driver.Session) {
    const { lost, schema, sql } = this.options
    const enterAs = Effect.fnUntraced(function*(this: Presence, id: number) {
      yield* this.ask(session, sql.lock, [lockClass(schema), id])
      return id
    }).bind(this)
    if (this.id !== undefined) {
      yield* enterAs(this.id)
      if ((yield* this.ask(session, sql.isProcess, [this.id])).length > 0) return
    }
    const [row] = yield* this.ask(session, sql.newProcess)
    const id = yield* enterAs(Number(row![0]))
    yield* this.ask(session, sql.addProcess, [id])
    if (this.id !== undefined) lost()
    this.id = id
  })

  /** One session, from its beginning to its end. `entered` is called when others know of this process. */
  private readonly session = (entered: Effect.Effect<void>): Effect.Effect<void, BrokerError> =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      const { broker, channel, open, schema, told } = this.options
      const session = yield* open
      const next = yield* Effect.mapError(session.listen(channel), (error) => failure(broker, schema, error))
      yield* this.enter(session)
      this.openedAt = yield* Clock.currentTimeMillis
      this.told = ""
      yield* entered
      told(undefined)
      const listen = Effect.forever(Effect.map(next, (queue) => told(queue)))
      const beat = Effect.forever(Effect.andThen(
        Effect.sleep(heartbeat),
        Effect.timeout(this.ask(session, "SELECT 1"), heartbeatWithin)
      ))
      yield* Effect.raceAllFirst([session.closed, listen, Effect.ignore(beat)])
    }))

  /** Enters this process, and keeps it entered for as long as it is not interrupted. */
  readonly keep: Effect.Effect<never> = Effect.suspend(() => {
    let failures = 0
    const entered = Effect.suspend(() => {
      failures = 0
      this.error = undefined
      return this.known.open
    })
    const round = Effect.catch(this.session(entered), (error) =>
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

  /** Returns what dead processes held. Two looks in a row have to find nobody behind a row. */
  private readonly judge = Effect.gen({ self: this }, function*() {
    const { link, schema, sql, told } = this.options
    const now = yield* Clock.currentTimeMillis
    if (now - this.openedAt < noJudgement) {
      this.suspects = new Set()
      return
    }
    const found = (yield* link.query(sql.suspects, [this.id, lockClass(schema)])).map(([id]) => Number(id))
    const dead = found.filter((id) => this.suspects.has(id))
    this.suspects = new Set(found)
    if (dead.length === 0) return
    const [row] = yield* link.query(sql.holderGone, [Driver.int4s(dead), lockClass(schema)])
    if (Number(row![0]) > 0) told(undefined)
  })

  /** Tells others who waits here, when that changed. */
  private readonly tell = Effect.suspend(() => {
    const { counts, link, sql } = this.options
    const now = counts()
    const text = JSON.stringify(Array.from(now))
    if (text === this.told || this.id === undefined) return Effect.void
    const [queues, workers] = [Driver.texts(Array.from(now.keys())), Driver.int4s(Array.from(now.values()))]
    return Effect.andThen(
      link.query(sql.openQueues, [queues]),
      Effect.map(link.query(sql.tell, [this.id, queues, workers]), () => {
        this.told = text
      })
    )
  })

  /** Looks after others for as long as it is not interrupted. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => {
    let judgedAt = 0
    return Effect.forever(Effect.gen({ self: this }, function*() {
      yield* Effect.sleep(tellEvery)
      const now = yield* Clock.currentTimeMillis
      const isDue = now - judgedAt >= judgeEvery && this.options.counts().size > 0
      if (isDue) judgedAt = now
      yield* Effect.ignore(Effect.andThen(this.tell, isDue ? this.judge : Effect.void))
    }))
  })

  /** Forgets this process. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() =>
    this.id === undefined
      ? Effect.void
      : Effect.ignore(Effect.timeout(this.options.link.query(this.options.sql.removeProcess, [this.id]), "1 second"))
  )
}
