/**
 * The {@link Broker} in a file of SQLite: jobs survive without any server.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. Any number
 * of processes of one machine can use one file at a time. What was answered is
 * on disk (`durability: "full"`, the default), or survives a crash of the
 * process but not a loss of power (`"normal"`).
 *
 * A job of this process is served at once, one of another process within 50
 * milliseconds. The jobs of a killed worker are ready again within two seconds
 * of somebody waiting for them, where `/proc` tells that it is dead; elsewhere,
 * and after a reboot, when their time to run is over.
 *
 * Limits: time is the wall clock, because it is all that processes and reboots
 * have in common; setting it shifts delays and leases. SQLite works on the main
 * thread, in turns of a few milliseconds; where the disk is slow others wait for
 * it. Counting the jobs of a queue (`stats`, `statsQueue`) reads an index: 3 to
 * 5 ms for each 100,000 jobs; all else takes as long with a million jobs as with
 * a few. A file that is moved or replaced while it is open is opened again, or
 * another that stands in its place (see `presence.ts`). When more than 200 delays end at once, they are over in portions. A
 * large body holds the event loop for as long as SQLite takes to write it. The
 * file has to be on a local disk.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  Broker,
  type BrokerStats,
  checkDuration,
  checkMax,
  checkQueue,
  checkSize,
  type Consumer,
  defaultMaxJobSize,
  type JobId,
  type Lease,
  type Page,
  type PutRequest,
  type QueueStats
} from "../../Broker.ts"
import { type BrokerError, jobNotFound, optionInvalid, queueNotFound } from "../../BrokerError.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { Paging } from "../shared/index.ts"
import { portion, portions, SqliteConsumer } from "./consumer.ts"
import * as File from "./file.ts"
import * as Presence from "./presence.ts"
import { dueAfter, mostBytes, timeLeft } from "./rows.ts"
import type { Session } from "./session.ts"

/**
 * What an acknowledged operation survives: a loss of power, or only a crash of the process.
 *
 * @category models
 * @since 0.1.0
 */
export type Durability = "full" | "normal"

/**
 * How a file is opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The file. It is created where there is none; its folder has to be there. */
  readonly path: string
  /** What an acknowledged operation survives: a loss of power, or only a crash of the process. Default: `"full"`. */
  readonly durability?: Durability | undefined
  /** How long another connection may lock the file before operations fail with `Unavailable`. Default: 10 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /** The largest body that is accepted, in bytes, up to 64 MiB. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
  /**
   * How long workers wait for a file that was moved, replaced or removed while it was open, before they fail with
   * `Unavailable`. It is opened again when it, or another, is at its path. Default: 5 seconds.
   */
  readonly reconnectFor?: Duration.Input | undefined
  /** How long jobs that are done can still be listed. It costs what they take in the file. Default: not at all. */
  readonly history?: Duration.Input | undefined
}

const orNotFound = (id: JobId) => (found: boolean) => found ? Effect.void : Effect.fail(jobNotFound(id))

const sizeOf = ({ body }: PutRequest) => body.length

const checkMaxJobSize = (bytes: number): Effect.Effect<number, BrokerError> =>
  Number.isInteger(bytes) && bytes > 0 && bytes <= File.largestBody
    ? Effect.succeed(bytes)
    : Effect.fail(optionInvalid(
      "the largest job (max-job-size in the URL, maxJobSize in a program)",
      bytes,
      `a file takes bodies of 1 to ${File.largestBody} bytes`
    ))

const idleWorkersOn = ({ processes, waiters }: Session, queue: string): number =>
  (waiters.counts().get(queue) ?? 0) + processes.idleWorkersElsewhere(queue)

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Opens a file as a broker. Fails with `Unavailable` where the file can't be used, and leaves it as it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Broker["Service"], BrokerError, Scope.Scope> {
  const name = `sqlite:${options.path}`
  const maxJobSize = yield* checkMaxJobSize(options.maxJobSize ?? defaultMaxJobSize)
  const clock = yield* Clock.Clock
  const startedAt = clock.monotonicTimeNanosUnsafe()
  const consumed = new Map<string, number>()
  const consumers = new Set<SqliteConsumer>()
  const { back, current, use } = yield* Presence.make({
    broker: name,
    path: options.path === ":memory:" ? options.path : File.absolute(options.path),
    isFull: options.durability !== "normal",
    busyTimeout: DurationInput.fromInputUnsafe(options.busyTimeout ?? "10 seconds"),
    history: DurationInput.fromInputUnsafe(options.history ?? 0),
    reconnectFor: DurationInput.fromInputUnsafe(options.reconnectFor ?? "5 seconds"),
    onOpened: (session, isSameFile) => {
      for (const consumer of consumers) consumer.move(session, isSameFile)
    }
  })

  // ---------------------------------------------------------------------------
  // Queues
  // ---------------------------------------------------------------------------

  type Work<A> = (session: Session, now: number) => A

  const run = <A>(work: Work<A>) => use((session) => session.commits.runNow((now) => work(session, now)))
  const read = <A>(work: Work<A>) => use((session) => session.commits.read((now) => work(session, now)))

  const onQueue = <A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> =>
    Effect.flatMap(Effect.fromResult(checkQueue(queue)), () => run(work))

  const readQueue = <A>(queue: string, work: Work<A>): Effect.Effect<A, BrokerError> =>
    Effect.flatMap(Effect.fromResult(checkQueue(queue)), () => read(work))

  const exists = ({ jobs }: Session, queue: string, id: number, pausedUntil: number, now: number) =>
    consumed.has(queue) || pausedUntil > now || jobs.has(id)

  const queueStats = (session: Session, queue: string, now: number): QueueStats | undefined => {
    const row = session.queues.find(queue) ?? { id: 0, total: 0, pausedUntil: 0 }
    if (!exists(session, queue, row.id, row.pausedUntil, now)) return undefined
    return {
      queue,
      ...session.jobs.count(row.id),
      idleWorkers: idleWorkersOn(session, queue),
      total: row.total,
      pausedFor: timeLeft(now, row.pausedUntil > now ? row.pausedUntil : null)
    }
  }

  type Put = Result.Result<JobId, BrokerError>

  /** Adds those that are not too big. */
  const putNow = (
    { jobs, queues }: Session,
    queue: string,
    requests: ReadonlyArray<PutRequest>,
    now: number
  ): ReadonlyArray<Put> => {
    const sizes = requests.map(({ body }) => checkSize(queue, body, maxJobSize))
    const fitting = requests.filter((_, i) => Result.isSuccess(sizes[i]!))
    const ids = fitting.length > 0 ? jobs.add(queues.put(queue, fitting.length), fitting, now) : []
    let next = 0
    return sizes.map((size): Put => Result.map(size, () => ids[next++]!))
  }

  const put: Broker["Service"]["put"] = (queue, request) => {
    const checked = checkQueue(queue)
    return Result.isFailure(checked)
      ? Effect.fail(checked.failure)
      : Effect.flatMap(
        use((session) => session.commits.run((now) => putNow(session, queue, [request], now)[0]!)),
        Effect.fromResult
      )
  }

  const putAll: Broker["Service"]["putAll"] = (queue, requests) => {
    const checked = checkQueue(queue)
    if (Result.isFailure(checked)) return Effect.succeed(requests.map(() => Result.fail(checked.failure)))
    const putPortion = (requests: ReadonlyArray<PutRequest>) =>
      Effect.match(use((session) => session.commits.run((now) => putNow(session, queue, requests, now))), {
        onFailure: (error) => requests.map((): Put => Result.fail(error)),
        onSuccess: (results) => results
      })
    return Effect.map(
      Effect.forEach(portions(requests, portion, mostBytes / 2, sizeOf), putPortion, { concurrency: "unbounded" }),
      (results) => results.flat()
    )
  }

  const kick: Broker["Service"]["kick"] = Effect.fnUntraced(function*(queue, max) {
    yield* Effect.fromResult(checkMax(max))
    let from: "buried" | "delayed" = "buried"
    let kicked = 0
    while (kicked < max) {
      const size = Math.min(portion, max - kicked)
      const count: number = yield* onQueue(queue, ({ jobs, queues }) => {
        const id = queues.find(queue)?.id
        if (id === undefined) return 0
        const buried = from === "buried" ? jobs.kick(id, "buried", size) : 0
        if (buried > 0 || kicked > 0 && from === "buried") return buried
        from = "delayed"
        return jobs.kick(id, "delayed", size)
      })
      kicked += count
      if (count < size) break
    }
    return kicked
  })

  const remove = ({ jobs, queues }: Session, id: JobId, now: number): boolean => {
    const queue = jobs.remove(id)
    if (queue === undefined) return false
    const isConsumed = Array.from(consumed.keys()).some((name) => queues.find(name)?.id === queue)
    if (!isConsumed) queues.removeUnused(queue, now)
    return true
  }

  const pause: Broker["Service"]["pause"] = (queue, duration) =>
    Effect.flatMap(
      Effect.fromResult(checkDuration("pause", duration)),
      (checked) => onQueue(queue, ({ queues }, now) => queues.pause(queue, dueAfter(now, checked) ?? 0))
    )

  const resume: Broker["Service"]["resume"] = (queue) =>
    onQueue(queue, ({ queues }, now) => {
      const found = queues.find(queue)
      if (found === undefined) return
      queues.pause(queue, 0)
      if (!consumed.has(queue)) queues.removeUnused(found.id, now)
    })

  // ---------------------------------------------------------------------------
  // Consumers
  // ---------------------------------------------------------------------------

  const begin = (names: NonEmptyReadonlyArray<string>) =>
    Effect.map(Queue.unbounded<Lease>(), (lostLeases) => {
      const consumer = new SqliteConsumer({ store: current(), queues: Array.from(new Set(names)), lostLeases, back })
      consumers.add(consumer)
      for (const queue of consumer.queues) consumed.set(queue, (consumed.get(queue) ?? 0) + 1)
      return consumer
    })

  const end = (consumer: SqliteConsumer) =>
    Effect.suspend(() => {
      for (const queue of consumer.queues) {
        const left = (consumed.get(queue) ?? 1) - 1
        if (left > 0) consumed.set(queue, left)
        else consumed.delete(queue)
      }
      consumers.delete(consumer)
      return consumer.close((queue) => consumed.has(queue))
    })

  const consume = (names: NonEmptyReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> =>
    Effect.fromResult(Result.all(names.map(checkQueue))).pipe(
      Effect.andThen(Effect.acquireRelease(begin(names), end))
    )

  // ---------------------------------------------------------------------------
  // The broker in numbers
  // ---------------------------------------------------------------------------

  const brokerStats = ({ jobs, processes, queues, waiters }: Session): BrokerStats => {
    const sum = { ready: 0, delayed: 0, reserved: 0, buried: 0 }
    for (const { id } of queues.all()) {
      const counts = jobs.count(id)
      for (const state of ["ready", "delayed", "reserved", "buried"] as const) sum[state] += counts[state]
    }
    return {
      version: `sqlite ${process.versions["sqlite"]}`,
      uptime: Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt),
      ...sum,
      idleWorkers: waiters.size + processes.idleWorkersElsewhere(),
      maxJobSize,
      draining: false,
      durable: true
    }
  }

  const names = (session: Session, now: number): ReadonlyArray<string> => {
    const found = session.queues.all().filter((row) => exists(session, row.name, row.id, row.pausedUntil, now))
    return Array.from(new Set([...found.map((row) => row.name), ...consumed.keys()]))
  }

  const checkProcesses = use((session) => session.checkProcesses)

  return Broker.of({
    name,
    ping: Effect.asVoid(run(() => undefined)),
    put,
    putAll,
    consume,
    idleWorkers: (queue) =>
      Effect.andThen(Effect.fromResult(checkQueue(queue)), checkProcesses).pipe(
        Effect.andThen(read((session) => idleWorkersOn(session, queue)))
      ),
    peek: (id) => Effect.map(read(({ jobs }) => jobs.peek(id)), Option.fromUndefinedOr),
    peekNext: (queue, state) =>
      Effect.map(
        readQueue(queue, ({ jobs, queues }) => {
          const found = queues.find(queue)
          return found === undefined ? undefined : jobs.peekNext(found.id, state)
        }),
        Option.fromUndefinedOr
      ),
    list: Effect.fnUntraced(function*(queue, options) {
      const request = yield* Effect.fromResult(Paging.request(options))
      return yield* readQueue(queue, ({ history, jobs, queues }, now): Page => {
        if (request.state === "done") return history.list(queue, request, now)
        const found = queues.find(queue)
        return found === undefined
          ? { jobs: [], next: undefined }
          : jobs.list(found.id, queue, request.state, request, now)
      })
    }),
    delete: (id) => Effect.flatMap(run((session, now) => remove(session, id, now)), orNotFound(id)),
    kick,
    kickJob: (id) => Effect.flatMap(run(({ jobs }) => jobs.kickJob(id)), orNotFound(id)),
    buryJob: (id, reason) => Effect.flatMap(run(({ jobs }) => jobs.buryJob(id, reason)), orNotFound(id)),
    moveJob: (id, queue) =>
      Effect.filterOrFail(
        onQueue(queue, (session, now) => {
          const { jobs, queues } = session
          if (jobs.queueOf(id) === undefined) return undefined
          const moved = jobs.putAnew(id, queues.put(queue, 1), now)
          remove(session, id, now)
          return moved
        }),
        Predicate.isNotUndefined,
        () => jobNotFound(id)
      ),
    pause,
    resume,
    stats: Effect.andThen(checkProcesses, read(brokerStats)),
    statsQueue: (queue) =>
      Effect.andThen(checkProcesses, readQueue(queue, (session, now) => queueStats(session, queue, now))).pipe(
        Effect.filterOrFail(Predicate.isNotUndefined, () => queueNotFound(queue))
      ),
    statsJob: (id) =>
      Effect.filterOrFail(
        read(({ jobs }, now) => jobs.stats(id, now)),
        Predicate.isNotUndefined,
        () => jobNotFound(id)
      ),
    queues: read(names)
  })
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A broker in a file.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Broker, BrokerError> => Layer.effect(Broker, make(options))
