/**
 * One opening of the file, and all that works on it: until the scope closes, or
 * until the file is not where it was any more.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { fstatSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { brokerClosed, type BrokerError } from "../../BrokerError.ts"
import { callSafely } from "../../internal/thrown.ts"
import * as Checkpoints from "./checkpoints.ts"
import { Commits } from "./commits.ts"
import { closeFor, type SqliteLease, type Store } from "./consumer.ts"
import { failure, type FileUnusable, isBusy } from "./failure.ts"
import * as File from "./file.ts"
import { Guard } from "./guard.ts"
import { History } from "./history.ts"
import * as Housekeeping from "./housekeeping.ts"
import { Jobs } from "./jobs.ts"
import { Processes } from "./processes.ts"
import { Queues } from "./queues.ts"
import { microseconds } from "./rows.ts"
import { Space } from "./space.ts"
import * as Sync from "./sync.ts"
import { Waiters } from "./waiters.ts"
import * as WriteAhead from "./writeAhead.ts"

/** How a file is opened. */
export interface Options {
  /** The broker's name. */
  readonly broker: string
  /** Absolute, unless it is no path. */
  readonly path: string
  readonly isFull: boolean
  readonly busyTimeout: Duration.Duration
  readonly history: Duration.Duration
  /** Called whenever something is asked for and the file is found not to be where it was. */
  readonly onMoved: (moved: FileUnusable) => void
}

/** One opening of the file. */
export interface Session extends Store {
  readonly processes: Processes
  readonly guard: Guard
  /** Returns to its queues what processes that died held. */
  readonly checkProcesses: Effect.Effect<void, BrokerError>
  /** Was all that the log held brought to the file, by this process or another? */
  readonly isLogEmpty: () => boolean
  /** Brings all that the log holds to the file. Throws, or says no, where that can't be done now. */
  readonly copyLog: () => boolean
  /** Says that it is going to close, and what those who ask for something from then on are told. */
  readonly retire: (error: BrokerError) => void
}

/** Only each attempt can't be interrupted. */
const open = (
  { broker, busyTimeout, path }: Options,
  previous: Session | undefined
): Effect.Effect<DatabaseSync, BrokerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => File.open(path, previous === undefined),
      catch: (cause) => failure(broker, cause)
    }),
    (database) => Effect.sync(() => database.close())
  ).pipe(
    Effect.retry({
      while: ({ reason }) => "cause" in reason && isBusy(reason.cause),
      schedule: Schedule.spaced("5 millis").pipe(Schedule.jittered, Schedule.upTo({ duration: busyTimeout }))
    })
  )

/**
 * Opens the file, which is made where there is none. After a previous opening it has to be there: what stands at the
 * path in the middle of somebody's work is not to be written over.
 */
export const make = Effect.fnUntraced(function*(
  options: Options,
  previous?: Session
): Effect.fn.Return<Session, BrokerError, Scope.Scope> {
  const { broker, busyTimeout, isFull, onMoved } = options
  const clock = yield* Clock.Clock
  const database = yield* open(options, previous)
  const place = File.placeOf(database)
  const guard = yield* Effect.try({
    try: () => new Guard(options.path, place),
    catch: (cause) => failure(broker, cause)
  })
  const copyLog = () => Checkpoints.empty(database)
  const synced = isFull ? yield* Sync.make(broker, place, copyLog) : undefined
  const sync = synced ?? Sync.none
  const log = synced?.log ?? (yield* Sync.openLog(broker, place, "r"))
  const checkpoints = yield* Checkpoints.make(database, place, () => isFull && sync.isQuick())
  const jobs = new Jobs(database)
  const queues = new Queues(database)
  const history = new History(database)
  const dataVersion = database.prepare("PRAGMA data_version")
  const millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const processes = new Processes(jobs, queues, millis)
  /** Why it closes before the broker does. */
  let retired: BrokerError | undefined

  /** A disk that can't be read may have anything: whoever looks for it in a transaction is told. */
  const version = () => Option.getOrElse(Option.liftThrowable(() => dataVersion.get()?.["data_version"])(), () => ({}))

  const check = () => {
    // what it holds is requeued also where its path leads elsewhere by now
    if (retired !== undefined && guard.isInPlace()) return
    const standing = guard.look()
    if (standing === "Here") return
    const moved = guard.error(standing)
    onMoved(moved)
    throw moved
  }

  const explain = (cause: unknown): unknown =>
    Result.match(callSafely(check), { onFailure: identity, onSuccess: () => cause })

  const commits: Commits = new Commits({
    broker,
    database,
    clock,
    busyTimeout,
    content: {
      isDue: (now) => jobs.nextChange() <= now,
      advance: (now) => jobs.advance(now),
      complete: (now, isOver) => {
        jobs.advance(now)
        queues.count()
        return waiters.serve(now, isOver)
      },
      undo: () => queues.undo(),
      bytes: () => jobs.bytes
    },
    storage: {
      check,
      hasCompany: processes.hasCompany,
      sync,
      room: checkpoints.room,
      makeSpace: () => Option.getOrElse(Option.liftThrowable(copyLog)(), () => false),
      wrote: checkpoints.wrote
    },
    onFailure: (error, isShared) => {
      if (isShared) waiters.tryAgain()
      else waiters.fail(error)
    }
  })

  const waiters: Waiters<SqliteLease> = new Waiters({
    broker,
    clock: { now: () => commits.now(), monotonic: millis },
    changes: {
      version,
      since: (known) => WriteAhead.changed(place, () => version() !== known),
      next: (now) => Math.min(jobs.nextChange(), queues.nextResume(now))
    },
    others: {
      check: Effect.suspend(() => Effect.ignore(checkProcesses)),
      tell: (counts) => Effect.isSuccess(commits.run(() => processes.noteIdleWorkers(counts)))
    },
    want: () => commits.want()
  })
  yield* commits.start
  // who opens the same file again keeps what it holds
  const known = previous !== undefined && guard.isOfSame(previous.guard) ? previous.holder : undefined
  processes.id = yield* commits.runNow(() => processes.enter(known))
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      waiters.close(retired ?? brokerClosed(broker))
      return commits.run(() => processes.leave())
    }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(closeFor),
      Effect.ignore,
      Effect.andThen(Effect.sync(() => commits.close(retired ?? brokerClosed(broker))))
    )
  )

  const checkProcesses = Effect.flatMap(
    Effect.try({ try: () => processes.dead(), catch: (cause) => failure(broker, explain(cause)) }),
    (dead) => dead.length === 0 ? Effect.void : commits.run(() => processes.forget(dead))
  )

  yield* Effect.forkScoped(waiters.watch)
  yield* Effect.forkScoped(Housekeeping.run({ broker, commits, history, space: new Space(database), checkpoints }))
  yield* Effect.ignore(checkProcesses)
  if (guard.names > 1) {
    yield* Effect.logWarning(
      `${options.path} has another name (a hard link): whoever opens it by that name destroys it; use symbolic links`
    )
  }

  return {
    broker,
    holder: processes.id,
    jobs,
    queues,
    commits,
    waiters,
    history,
    keepFor: microseconds(options.history),
    processes,
    guard,
    checkProcesses,
    isLogEmpty: () => fstatSync(log).size === 0,
    copyLog,
    retire: (error) => {
      retired = error
    }
  }
})
