/**
 * A session: one opening of the file, and all that works on it. It ends when its
 * scope closes, or when the file is no longer at its path.
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
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { brokerClosed, type BrokerError } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { callSafely } from "../../internal/thrown.ts"
import { Rules } from "../shared/index.ts"
import * as Checkpoints from "./checkpoints.ts"
import { Commits, type Content, type Options as CommitOptions, type Storage } from "./commits.ts"
import type { ConsumerSession, SqliteLease } from "./consumer.ts"
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
import { type Source, Waiters } from "./waiters.ts"
import * as WriteAhead from "./writeAhead.ts"

export interface Options {
  /** The name of the broker. */
  readonly broker: string
  /** An absolute path, or `:memory:`, which is refused. */
  readonly path: string
  readonly isFull: boolean
  readonly busyTimeout: Duration.Duration
  readonly history: Duration.Duration
  /** Called when an operation finds that the file was moved. */
  readonly onMoved: (moved: FileUnusable) => void
}

/** One opening of the file, and all that works on it. */
export interface Session extends ConsumerSession {
  readonly processes: Processes
  readonly guard: Guard
  /** Makes the jobs of dead processes ready again. */
  readonly checkProcesses: Effect.Effect<void, BrokerError>
  /** Whether this or another process has copied all of the log into the file. */
  readonly isLogEmpty: () => boolean
  /** Copies all of the log into the file. Throws or returns `false` if that is not possible now. */
  readonly copyLog: () => boolean
  /** Announces that the session will close. Later operations fail with `error`. */
  readonly retire: (error: BrokerError) => void
}

/** Opens the database. Waits for up to `busyTimeout` while another process has locked it. */
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

interface Parts {
  readonly clock: Clock.Clock
  readonly database: DatabaseSync
  /** The file's real path. */
  readonly place: string
  readonly guard: Guard
  readonly sync: Sync.Sync
  /** The file descriptor of the log. */
  readonly log: number
  readonly checkpoints: Checkpoints.Checkpoints
}

const acquire = Effect.fnUntraced(function*(
  options: Options,
  previous: Session | undefined
): Effect.fn.Return<Parts, BrokerError, Scope.Scope> {
  const { broker, isFull } = options
  const clock = yield* Clock.Clock
  const database = yield* open(options, previous)
  const place = File.placeOf(database)
  const guard = yield* Effect.try({
    try: () => new Guard(options.path, place),
    catch: (cause) => failure(broker, cause)
  })
  const synced = isFull ? yield* Sync.make(broker, place, () => Checkpoints.empty(database)) : undefined
  const sync = synced ?? Sync.none
  const log = synced?.log ?? (yield* Sync.openLog(broker, place, "r"))
  const checkpoints = yield* Checkpoints.make(database, place, () => isFull && sync.isQuick())
  return { clock, database, place, guard, sync, log, checkpoints }
})

class OpenFile implements Session, Housekeeping.Parts {
  readonly broker: string
  readonly keepForMicros: number
  readonly guard: Guard
  readonly checkpoints: Checkpoints.Checkpoints
  readonly jobs: Jobs
  readonly queues: Queues
  readonly history: History
  readonly space: Space
  readonly processes: Processes
  readonly commits: Commits
  readonly waiters: Waiters<SqliteLease>
  private readonly options: Options
  private readonly parts: Parts
  private readonly dataVersion: StatementSync
  private readonly millis: () => number
  /** The error of `retire`. */
  private retired: BrokerError | undefined

  constructor(options: Options, parts: Parts) {
    const { clock, database } = this.parts = parts
    this.options = options
    this.broker = options.broker
    this.keepForMicros = microseconds(options.history)
    this.guard = parts.guard
    this.checkpoints = parts.checkpoints
    this.jobs = new Jobs(database)
    this.queues = new Queues(database)
    this.history = new History(database)
    this.space = new Space(database)
    this.dataVersion = database.prepare("PRAGMA data_version")
    this.millis = () => monotonicMillis(clock)
    this.processes = new Processes(this.jobs, this.queues, this.millis)
    this.commits = new Commits(this.committing())
    this.waiters = new Waiters(this.waiting())
  }

  get holder(): number {
    return this.processes.id
  }

  readonly isLogEmpty = (): boolean => fstatSync(this.parts.log).size === 0

  readonly copyLog = (): boolean => Checkpoints.empty(this.parts.database)

  readonly retire = (error: BrokerError): void => {
    this.retired = error
  }

  // ---------------------------------------------------------------------------
  // The files on the disk
  // ---------------------------------------------------------------------------

  private readonly check = (): void => {
    // A retired session still requeues its jobs, even if the path leads elsewhere by now.
    if (this.retired !== undefined && this.guard.isInPlace()) return
    const standing = this.guard.look()
    if (standing === "Here") return
    const moved = this.guard.error(standing)
    this.options.onMoved(moved)
    throw moved
  }

  private explain(cause: unknown): unknown {
    return Result.match(callSafely(this.check), { onFailure: identity, onSuccess: () => cause })
  }

  /** If this can't be read it counts as changed, so that a transaction looks, and fails with the reason. */
  private readonly version = (): unknown =>
    Option.getOrElse(Option.liftThrowable(() => this.dataVersion.get()?.["data_version"])(), () => ({}))

  // ---------------------------------------------------------------------------
  // Wiring
  // ---------------------------------------------------------------------------

  private committing(): CommitOptions {
    const { clock, database } = this.parts
    const { broker, busyTimeout } = this.options
    return {
      broker,
      database,
      clock,
      busyTimeout,
      content: this.content(),
      storage: this.storage(),
      onFailure: (error, isShared) => {
        if (isShared) this.waiters.tryAgain()
        else this.waiters.fail(error)
      }
    }
  }

  private content(): Content {
    const { jobs, queues } = this
    return {
      isDue: (now) => jobs.nextChange() <= now,
      advance: (now) => jobs.advance(now),
      complete: (now, isOver) => {
        jobs.advance(now)
        queues.count()
        return this.waiters.serve(now, isOver)
      },
      undo: () => queues.undo(),
      bytes: () => jobs.bytes
    }
  }

  private storage(): Storage {
    const { checkpoints, sync } = this.parts
    return {
      check: this.check,
      hasCompany: this.processes.hasCompany,
      sync,
      room: checkpoints.room,
      makeSpace: () => Option.getOrElse(Option.liftThrowable(this.copyLog)(), () => false),
      wrote: checkpoints.wrote
    }
  }

  private waiting(): Source {
    const { commits, jobs, millis, processes, queues, version } = this
    return {
      broker: this.broker,
      clock: { now: () => commits.now(), monotonic: millis },
      changes: {
        version,
        since: (known) => WriteAhead.changed(this.parts.place, () => version() !== known),
        next: (now) => Math.min(jobs.nextChange(), queues.nextResume(now))
      },
      others: {
        check: Effect.ignore(this.checkProcesses),
        report: (counts) => Effect.isSuccess(commits.run(() => processes.noteIdleWorkers(counts)))
      },
      request: () => commits.request()
    }
  }

  // ---------------------------------------------------------------------------
  // This process and the others
  // ---------------------------------------------------------------------------

  readonly checkProcesses: Effect.Effect<void, BrokerError> = Effect.suspend(() =>
    Effect.flatMap(
      Effect.try({
        try: () => this.processes.dead(),
        catch: (cause) => failure(this.broker, this.explain(cause))
      }),
      (dead) => dead.length === 0 ? Effect.void : this.commits.run(() => this.processes.removeDead(dead))
    )
  )

  /** Enters this process in the file. If the previous session had the same file open, it keeps its id and its leases. */
  enter(previous: Session | undefined): Effect.Effect<void, BrokerError> {
    const known = previous !== undefined && this.guard.isOfSame(previous.guard) ? previous.holder : undefined
    return Effect.map(this.commits.runCurrent(() => this.processes.enter(known)), (id) => {
      this.processes.id = id
    })
  }

  /** Requeues the jobs of this process, and fails all later operations. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() => {
    this.waiters.close(this.retired ?? brokerClosed(this.broker))
    return this.commits.run(() => this.processes.leave())
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOption(Rules.closeFor),
    Effect.ignore,
    Effect.andThen(Effect.sync(() => this.commits.close(this.retired ?? brokerClosed(this.broker))))
  )
}

/**
 * Opens a session on the file at the path. The first session creates a missing file. A later one does not, because the
 * file may only be on its way to the path.
 */
export const make = Effect.fnUntraced(function*(
  options: Options,
  previous?: Session
): Effect.fn.Return<Session, BrokerError, Scope.Scope> {
  const file = new OpenFile(options, yield* acquire(options, previous))
  yield* file.commits.start
  yield* file.enter(previous)
  yield* Effect.addFinalizer(() => file.leave)
  yield* Effect.forkScoped(file.waiters.watch)
  yield* Effect.forkScoped(Housekeeping.run(file))
  yield* Effect.ignore(file.checkProcesses)
  if (file.guard.names > 1) {
    yield* Effect.logWarning(
      `${options.path} must have one name, but has ${file.guard.names} (hard links), and a program that opens it by ` +
        "another name destroys it: remove the other names, or use symbolic links"
    )
  }
  return file
})
