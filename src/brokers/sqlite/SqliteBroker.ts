/**
 * The {@link Broker} in a file of SQLite: jobs survive without any server.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. Any number
 * of processes of one machine can use one file at a time. What was answered is
 * on disk (`durability: "full"`, the default), or survives a crash of the
 * process but not a loss of power (`"normal"`).
 *
 * A job of this process is served at once, one of another process within 50
 * milliseconds. A worker that is killed gives its jobs back within two seconds
 * of somebody waiting for them, where `/proc` tells that it is dead; elsewhere,
 * and after a reboot, when their time to run is over.
 *
 * Limits: time is the wall clock, because it is all that processes and reboots
 * have in common; setting it shifts delays and leases. SQLite works on the main
 * thread, in turns of a few milliseconds; where the disk is slow others wait for
 * it. Counting the jobs of a queue (`stats`, `statsQueue`) reads an index: 3 to
 * 5 ms for each 100,000 jobs; all else takes as long with a million jobs as with
 * a few. When more than 200 delays end at once, they are over in portions. A
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
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { DatabaseSync } from "node:sqlite"
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
  type Page,
  type PutRequest,
  type QueueStats
} from "../../Broker.ts"
import { brokerClosed, type BrokerError, jobNotFound, optionInvalid, queueNotFound } from "../../BrokerError.ts"
import * as Paging from "../shared/paging.ts"
import * as Checkpoints from "./checkpoints.ts"
import { Commits } from "./commits.ts"
import { closeFor, portion, portions, SqliteConsumer, type SqliteLease, type Store } from "./consumer.ts"
import { failure, isBusy } from "./failure.ts"
import * as File from "./file.ts"
import { History } from "./history.ts"
import * as Housekeeping from "./housekeeping.ts"
import { Jobs } from "./jobs.ts"
import { Processes } from "./processes.ts"
import { Queues } from "./queues.ts"
import { dueAfter, microseconds, mostBytes, timeLeft } from "./rows.ts"
import { Space } from "./space.ts"
import * as Sync from "./sync.ts"
import { Waiters } from "./waiters.ts"
import * as WriteAhead from "./writeAhead.ts"

/** What an acknowledged operation survives: a loss of power, or only a crash of the process. */
export type Durability = "full" | "normal"

/** How a file is opened. */
export interface Options {
  /** The file. It is created where there is none; its folder has to be there. */
  readonly path: string
  /** What an acknowledged operation survives: a loss of power, or only a crash of the process. Default: `"full"`. */
  readonly durability?: Durability | undefined
  /** How long another connection may lock the file before operations fail with `Unavailable`. Default: 10 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /** The largest body that is accepted, in bytes, up to 64 MiB. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
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

/** Only each attempt can't be interrupted. */
const open = (name: string, options: Options): Effect.Effect<DatabaseSync, BrokerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({ try: () => File.open(options.path), catch: (cause) => failure(name, cause) }),
    (database) => Effect.sync(() => database.close())
  ).pipe(
    Effect.retry({
      while: ({ reason }) => "cause" in reason && isBusy(reason.cause),
      schedule: Schedule.spaced("5 millis").pipe(
        Schedule.jittered,
        Schedule.upTo({ duration: options.busyTimeout ?? "10 seconds" })
      )
    })
  )

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** Opens a file as a broker. Fails with `Unavailable` where the file can't be used, and leaves it as it is. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Broker["Service"], BrokerError, Scope.Scope> {
  const name = `sqlite:${options.path}`
  const maxJobSize = yield* checkMaxJobSize(options.maxJobSize ?? defaultMaxJobSize)
  const clock = yield* Clock.Clock
  const startedAt = clock.monotonicTimeNanosUnsafe()
  const database = yield* open(name, options)
  const place = File.placeOf(database)
  const isFull = options.durability !== "normal"
  const empty = () => Checkpoints.empty(database)
  const sync = isFull ? yield* Sync.make(name, place, empty) : Sync.none
  const checkpoints = yield* Checkpoints.make(database, place, () => isFull && sync.isQuick())
  const jobs = new Jobs(database)
  const queues = new Queues(database)
  const history = new History(database)
  const dataVersion = database.prepare("PRAGMA data_version")
  const millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const consumed = new Map<string, number>()
  const processes = new Processes(jobs, queues, millis)

  /** A disk that can't be read may have anything: whoever looks for it in a transaction is told. */
  const version = () => Option.getOrElse(Option.liftThrowable(() => dataVersion.get()?.["data_version"])(), () => ({}))

  const commits: Commits = new Commits({
    broker: name,
    database,
    clock,
    busyTimeout: Duration.fromInputUnsafe(options.busyTimeout ?? "10 seconds"),
    advance: (now) => jobs.advance(now),
    isDue: (now) => jobs.nextChange() <= now,
    check: File.guard(place),
    atEnd: (now, isOver) => {
      jobs.advance(now)
      queues.count()
      return waiters.serve(now, isOver)
    },
    undo: () => queues.undo(),
    sync,
    bytes: () => jobs.bytes,
    room: checkpoints.room,
    makeSpace: () => Option.getOrElse(Option.liftThrowable(empty)(), () => false),
    hasCompany: processes.hasCompany,
    onWritten: checkpoints.wrote,
    onFailure: (error, isShared) => {
      if (isShared) waiters.tryAgain()
      else waiters.fail(error)
    }
  })

  const waiters: Waiters<SqliteLease> = new Waiters({
    broker: name,
    version,
    changedSince: (known) => WriteAhead.changed(place, () => version() !== known),
    nextChange: (now) => Math.min(jobs.nextChange(), queues.nextResume(now)),
    now: () => commits.now(),
    monotonic: millis,
    want: () => commits.want(),
    checkProcesses: Effect.suspend(() => Effect.ignore(checkProcesses)),
    tell: (counts) => Effect.isSuccess(commits.run(() => processes.wait(counts)))
  })
  yield* commits.start
  processes.id = yield* commits.runNow(() => processes.enter())
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      waiters.close(brokerClosed(name))
      return commits.run(() => processes.leave())
    }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(closeFor),
      Effect.ignore,
      Effect.andThen(Effect.sync(() => commits.close()))
    )
  )

  const checkProcesses = Effect.flatMap(
    Effect.try({ try: () => processes.dead(), catch: (cause) => failure(name, cause) }),
    (dead) => dead.length === 0 ? Effect.void : commits.run(() => processes.forget(dead))
  )

  yield* Effect.forkScoped(waiters.watch)
  yield* Effect.forkScoped(
    Housekeeping.run({ broker: name, commits, history, space: new Space(database), checkpoints })
  )
  yield* Effect.ignore(checkProcesses)

  const store: Store = {
    broker: name,
    holder: processes.id,
    jobs,
    queues,
    commits,
    waiters,
    history,
    keepFor: microseconds(Duration.fromInputUnsafe(options.history ?? 0))
  }

  // ---------------------------------------------------------------------------
  // Queues
  // ---------------------------------------------------------------------------

  const run = <A>(work: (now: number) => A) => commits.runNow(work)
  const read = <A>(work: (now: number) => A) => commits.read(work)

  const onQueue = <A>(queue: string, work: (now: number) => A): Effect.Effect<A, BrokerError> =>
    Effect.flatMap(Effect.fromResult(checkQueue(queue)), () => run(work))

  const readQueue = <A>(queue: string, work: (now: number) => A): Effect.Effect<A, BrokerError> =>
    Effect.flatMap(Effect.fromResult(checkQueue(queue)), () => read(work))

  const waitingOn = (queue: string) => (waiters.counts().get(queue) ?? 0) + processes.waitElsewhere(queue)

  const exists = (queue: string, id: number, pausedUntil: number, now: number) =>
    consumed.has(queue) || pausedUntil > now || jobs.has(id)

  const queueStats = (queue: string, now: number): QueueStats | undefined => {
    const row = queues.find(queue) ?? { id: 0, total: 0, pausedUntil: 0 }
    if (!exists(queue, row.id, row.pausedUntil, now)) return undefined
    return {
      queue,
      ...jobs.count(row.id),
      waiting: waitingOn(queue),
      total: row.total,
      pausedFor: timeLeft(now, row.pausedUntil > now ? row.pausedUntil : null)
    }
  }

  type Put = Result.Result<JobId, BrokerError>

  /** Adds those that are not too big. */
  const putNow = (queue: string, requests: ReadonlyArray<PutRequest>, now: number): ReadonlyArray<Put> => {
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
      : Effect.flatMap(commits.run((now) => putNow(queue, [request], now)[0]!), Effect.fromResult)
  }

  const putAll: Broker["Service"]["putAll"] = (queue, requests) => {
    const checked = checkQueue(queue)
    if (Result.isFailure(checked)) return Effect.succeed(requests.map(() => Result.fail(checked.failure)))
    const putPortion = (requests: ReadonlyArray<PutRequest>) =>
      Effect.match(commits.run((now) => putNow(queue, requests, now)), {
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
      const count: number = yield* onQueue(queue, () => {
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

  const remove = (id: JobId, now: number): boolean => {
    const queue = jobs.remove(id)
    if (queue === undefined) return false
    const isConsumed = Array.from(consumed.keys()).some((name) => queues.find(name)?.id === queue)
    if (!isConsumed) queues.removeUnused(queue, now)
    return true
  }

  const pause: Broker["Service"]["pause"] = (queue, duration) =>
    Effect.flatMap(
      Effect.fromResult(checkDuration("pause", duration)),
      (checked) => onQueue(queue, (now) => queues.pause(queue, dueAfter(now, checked) ?? 0))
    )

  const resume: Broker["Service"]["resume"] = (queue) =>
    onQueue(queue, (now) => {
      const found = queues.find(queue)
      if (found === undefined) return
      queues.pause(queue, 0)
      if (!consumed.has(queue)) queues.removeUnused(found.id, now)
    })

  // ---------------------------------------------------------------------------
  // Consumers
  // ---------------------------------------------------------------------------

  const begin = (names: NonEmptyReadonlyArray<string>) =>
    Effect.sync(() => {
      const consumer = new SqliteConsumer(store, Array.from(new Set(names)))
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
      return consumer.close((queue) => consumed.has(queue))
    })

  const consume = (names: NonEmptyReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> =>
    Effect.fromResult(Result.all(names.map(checkQueue))).pipe(
      Effect.andThen(Effect.acquireRelease(begin(names), end))
    )

  // ---------------------------------------------------------------------------
  // The broker in numbers
  // ---------------------------------------------------------------------------

  const brokerStats = (): BrokerStats => {
    const sum = { ready: 0, delayed: 0, reserved: 0, buried: 0 }
    for (const { id } of queues.all()) {
      const counts = jobs.count(id)
      for (const state of ["ready", "delayed", "reserved", "buried"] as const) sum[state] += counts[state]
    }
    return {
      version: `sqlite ${process.versions["sqlite"]}`,
      uptime: Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt),
      ...sum,
      waiting: waiters.size + processes.waitElsewhere(),
      maxJobSize,
      draining: false,
      durable: true
    }
  }

  const names = (now: number): ReadonlyArray<string> => {
    const found = queues.all().filter((row) => exists(row.name, row.id, row.pausedUntil, now))
    return Array.from(new Set([...found.map((row) => row.name), ...consumed.keys()]))
  }

  return Broker.of({
    name,
    ping: Effect.asVoid(run(() => undefined)),
    put,
    putAll,
    consume,
    waitingWorkers: (queue) =>
      Effect.andThen(Effect.fromResult(checkQueue(queue)), checkProcesses).pipe(
        Effect.andThen(read(() => waitingOn(queue)))
      ),
    peek: (id) => Effect.map(read(() => jobs.peek(id)), Option.fromUndefinedOr),
    peekNext: (queue, state) =>
      Effect.map(
        readQueue(queue, () => {
          const found = queues.find(queue)
          return found === undefined ? undefined : jobs.peekNext(found.id, state)
        }),
        Option.fromUndefinedOr
      ),
    list: Effect.fnUntraced(function*(queue, options) {
      const request = yield* Effect.fromResult(Paging.request(options))
      return yield* readQueue(queue, (now): Page => {
        if (request.state === "done") return history.list(queue, request, now)
        const found = queues.find(queue)
        return found === undefined
          ? { jobs: [], next: undefined }
          : jobs.list(found.id, queue, request.state, request, now)
      })
    }),
    delete: (id) => Effect.flatMap(run((now) => remove(id, now)), orNotFound(id)),
    kick,
    kickJob: (id) => Effect.flatMap(run(() => jobs.kickJob(id)), orNotFound(id)),
    buryJob: (id, reason) => Effect.flatMap(run(() => jobs.buryJob(id, reason)), orNotFound(id)),
    moveJob: (id, queue) =>
      Effect.filterOrFail(
        onQueue(queue, (now) => {
          if (jobs.queueOf(id) === undefined) return undefined
          const moved = jobs.putAnew(id, queues.put(queue, 1), now)
          remove(id, now)
          return moved
        }),
        Predicate.isNotUndefined,
        () => jobNotFound(id)
      ),
    pause,
    resume,
    stats: Effect.andThen(checkProcesses, read(brokerStats)),
    statsQueue: (queue) =>
      Effect.andThen(checkProcesses, readQueue(queue, (now) => queueStats(queue, now))).pipe(
        Effect.filterOrFail(Predicate.isNotUndefined, () => queueNotFound(queue))
      ),
    statsJob: (id) =>
      Effect.filterOrFail(read((now) => jobs.stats(id, now)), Predicate.isNotUndefined, () => jobNotFound(id)),
    queues: read(names)
  })
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/** A broker in a file. */
export const layer = (options: Options): Layer.Layer<Broker, BrokerError> => Layer.effect(Broker, make(options))
