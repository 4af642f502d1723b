/** What an operator sees and changes in a schema. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { checkDuration, checkQueue, type Features } from "../../Broker.ts"
import { type BrokerError, jobNotFound, queueNotFound } from "../../BrokerError.ts"
import type { BrokerStats, Inspector, Page, QueueStats } from "../../Inspector.ts"
import { Paging, Rules } from "../shared/index.ts"
import * as Concerns from "./concerns.ts"
import * as Driver from "./driver.ts"
import type { Pooling } from "./pooling.ts"
import { restore } from "./restoring.ts"
import { idOf, jobStats, page, peeked, type Row, rowId, wholeMillis } from "./rows.ts"
import type { Store } from "./store.ts"

/** Jobs that are kicked by one statement. */
const portion = 250

/** How many workers of all processes wait on a queue. */
export const idleWorkersOn = Effect.fnUntraced(function*(store: Store, queue: string) {
  yield* Effect.fromResult(checkQueue(queue))
  const [row] = yield* store.link.query(store.sql.idleWorkers, [queue, store.presence?.id ?? 0])
  return idleHere(store, queue) + Number(row![0])
})

const idleHere = (store: Store, queue: string): number => store.waiters.counts().get(queue) ?? 0

const isConsumedHere = (store: Store, queue: string): boolean =>
  Array.from(store.consumers).some(({ queues }) => queues.includes(queue))

const queueStats = (store: Store, queue: string, row: Row | undefined): QueueStats | undefined => {
  const isHere = isConsumedHere(store, queue)
  if (row === undefined ? !isHere : row[0] !== true && !isHere) return undefined
  const count = (place: number) => Number(row?.[place] ?? 0)
  return {
    queue,
    ready: count(1),
    delayed: count(2),
    reserved: count(3),
    buried: count(4),
    idleWorkers: idleHere(store, queue) + count(5),
    total: count(6),
    pausedFor: Duration.millis(count(7))
  }
}

const brokerStats = (store: Store, maxJobSize: number, row: Row): BrokerStats => ({
  version: `PostgreSQL ${String(row[5])}`,
  uptime: Duration.millis(Number(row[6])),
  ready: Number(row[0]),
  delayed: Number(row[1]),
  reserved: Number(row[2]),
  buried: Number(row[3]),
  idleWorkers: store.waiters.size + Number(row[4]),
  maxJobSize,
  draining: row[7] === true,
  durable: row[8] === true
})

const listStatement = {
  ready: "listReady",
  delayed: "listDelayed",
  reserved: "listReserved",
  buried: "listBuried"
} as const
const peekStatement = { ready: "peekReady", delayed: "peekDelayed", buried: "peekBuried" } as const

/** Kicks in portions. Delayed jobs are kicked only where none is buried. */
const kick = Effect.fnUntraced(function*(store: Store, queue: string, max: number) {
  yield* Effect.fromResult(Rules.checkMax(max))
  yield* store.advance
  let [kicked, isBuried] = [0, false]
  while (kicked < max) {
    const size = Math.min(portion, max - kicked)
    const rows: Driver.Rows = yield* store.link.query(store.sql.kick, [queue, size, !isBuried])
    kicked += rows.length
    isBuried ||= Number(rows[0]?.[1] ?? 0) > 0
    if (rows.length < size) break
  }
  if (kicked > 0) store.changed([queue])
  return kicked
})

const move = Effect.fnUntraced(function*(store: Store, id: string, queue: string) {
  yield* Effect.fromResult(checkQueue(queue))
  yield* store.advance
  const ask = store.link.query(store.sql.move, [rowId(id), queue])
  const moved = yield* ask
  if (moved.length > 0) return moved[0]
  // A queue that has no row yet, or no such job.
  yield* store.link.query(store.sql.openQueue, [queue])
  return (yield* ask)[0]
})

const orJobNotFound = <A>(
  found: Effect.Effect<A | undefined, BrokerError>,
  id: string
): Effect.Effect<A, BrokerError> => Effect.filterOrFail(found, Predicate.isNotUndefined, () => jobNotFound(id))

const on = <A>(queue: string, then: Effect.Effect<A, BrokerError>): Effect.Effect<A, BrokerError> =>
  Effect.andThen(Effect.fromResult(checkQueue(queue)), then)

/** A session answers in the order in which it was asked, so the second is asked for before the first is answered. */
const inTurn = <A, B>(first: Effect.Effect<A, BrokerError>, second: Effect.Effect<B, BrokerError>) =>
  Effect.map(Effect.all([first, second], { concurrency: 2 }), ([, second]) => second)

/** The inspector of a schema. */
export const make = (
  store: Store,
  features: Features,
  maxJobSize: number,
  pooling: Pooling
): Inspector["Service"] => {
  const { link, sql } = store
  const look = (statement: string, parameters: ReadonlyArray<unknown> = []): Effect.Effect<Driver.Rows, BrokerError> =>
    inTurn(store.advance, link.query(statement, parameters))
  const first = (statement: string, parameters: ReadonlyArray<unknown>): Effect.Effect<Row | undefined, BrokerError> =>
    Effect.map(look(statement, parameters), ([row]) => row)
  const process = () => store.presence?.id ?? 0

  return {
    name: store.broker,
    features,
    peek: (id) => Effect.map(first(sql.peek, [rowId(id)]), (row) => Option.fromUndefinedOr(peeked(row))),
    peekNext: (queue, state) =>
      on(
        queue,
        Effect.map(first(sql[peekStatement[state]], [queue]), (row) => Option.fromUndefinedOr(peeked(row)))
      ),
    list: Effect.fnUntraced(function*(queue, options): Effect.fn.Return<Page, BrokerError> {
      const request = yield* Effect.fromResult(Paging.request(options))
      yield* Effect.fromResult(checkQueue(queue))
      const { after, limit, state } = request
      if (state === "done") {
        const before = Driver.int8(after?.order ?? Number.MAX_SAFE_INTEGER)
        return page(request, yield* look(sql.listDone, [queue, before, limit + 1]), queue)
      }
      const rows = yield* look(sql[listStatement[state]], [
        queue,
        Driver.int8(after?.order ?? -1),
        Driver.int8(after?.number ?? -1),
        limit + 1
      ])
      return page(request, rows, queue)
    }),
    delete: (id) => Effect.asVoid(orJobNotFound(first(sql.remove, [rowId(id)]), id)),
    kick: (queue, max) => on(queue, kick(store, queue, max)),
    kickJob: (id) =>
      Effect.map(orJobNotFound(first(sql.kickJob, [rowId(id)]), id), ([queue]) => store.changed([String(queue)])),
    buryJob: (id, reason) => Effect.asVoid(orJobNotFound(first(sql.buryJob, [rowId(id), Driver.text(reason)]), id)),
    moveJob: (id, queue) =>
      Effect.map(orJobNotFound(move(store, id, queue), id), ([moved]) => {
        store.changed([queue])
        return idOf(moved)
      }),
    restore: (queue, requests) => restore(store, maxJobSize, queue, requests),
    pause: (queue, duration) =>
      on(
        queue,
        Effect.flatMap(
          Effect.fromResult(checkDuration("pause", duration)),
          (checked) => Effect.asVoid(link.query(sql.pause, [queue, Driver.int8(wholeMillis(checked))]))
        )
      ),
    resume: (queue) => on(queue, Effect.map(link.query(sql.resume, [queue]), () => store.changed([queue]))),
    stats: Effect.map(first(sql.statsAll, [null, process()]), (row) => brokerStats(store, maxJobSize, row!)),
    statsQueue: (queue) =>
      on(
        queue,
        Effect.flatMap(first(sql.statsQueue, [queue, process()]), (row) => {
          const stats = queueStats(store, queue, row)
          if (stats !== undefined) return Effect.succeed(stats)
          const forgotten = row === undefined ? Effect.void : link.query(sql.forget, [queue])
          return Effect.andThen(forgotten, Effect.fail(queueNotFound(queue)))
        })
      ),
    statsJob: (id) =>
      Effect.map(orJobNotFound(first(sql.stats, [rowId(id)]), id), (row) => jobStats(row, String(row[0]))),
    concerns: Effect.map(
      Effect.all([link.query(sql.settingsOff), link.query(sql.horizon)], { concurrency: 2 }),
      ([off, horizon]) => [
        ...Concerns.ofSettings(off),
        ...Concerns.ofHorizon(horizon),
        ...(pooling.isPooled ? [Concerns.pooled] : [])
      ]
    ),
    queues: Effect.map(look(sql.queues), (rows) => {
      const consumed = Array.from(store.consumers).flatMap(({ queues }) => queues)
      return Array.from(new Set([...rows.map(([name]) => String(name)), ...consumed]))
    })
  }
}
