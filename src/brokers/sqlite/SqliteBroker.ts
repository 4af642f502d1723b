/**
 * The {@link Broker} in a file of SQLite: jobs survive without any server.
 *
 * It behaves like beanstalkd, in milliseconds instead of seconds. Any number of
 * processes of one machine can use one file at the same time. A completed
 * operation is on disk (`durability: "full"`, the default), or survives a crash
 * of the process but not a loss of power (`"normal"`).
 *
 * An idle worker gets a job of its own process at once, and a job of another
 * process within 50 milliseconds. If a worker is killed, its jobs are ready again
 * within two seconds of another worker's `reserve`. That needs `/proc`; without
 * it, and after a reboot, they are ready when their time to run ends.
 *
 * Limits:
 *
 * - Time is the wall clock, because processes and reboots share no other clock.
 *   Setting the clock shifts delays and leases.
 * - SQLite runs on the main thread, for a few milliseconds at a time. On a slow
 *   disk a thread syncs and copies the log. Writing a large body holds the event
 *   loop for as long as SQLite needs.
 * - Counting the jobs of a queue (`stats`, `statsQueue`) reads an index: 3 to 5
 *   ms for each 100,000 jobs. All other operations take as long with a million
 *   jobs as with a few.
 * - If more than 200 delays end at the same moment, their jobs become ready in
 *   batches.
 * - The file must be on a local disk. If it is moved or replaced while it is
 *   open, the broker opens what is at its path then (see `presence.ts`).
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Broker, checkQueue, type Consumer, type JobId, type Lease, type PutRequest } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { Checked, Rules, Services as Shared } from "../shared/index.ts"
import { Access } from "./access.ts"
import { jobsPerOperation, split } from "./batches.ts"
import { SqliteConsumer } from "./consumer.ts"
import { Consumers } from "./consumers.ts"
import * as File from "./file.ts"
import * as Inspection from "./inspector.ts"
import * as Presence from "./presence.ts"
import { batchBytes } from "./rows.ts"
import type { Session } from "./session.ts"

/**
 * What an acknowledged operation survives: a loss of power, or only a crash of the process.
 *
 * @category models
 * @since 0.1.0
 */
export type Durability = "full" | "normal"

/**
 * The options of a broker in a file.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The path of the file. A missing file is created; its folder must exist. */
  readonly path: string
  /** What an acknowledged operation survives: a loss of power, or only a crash of the process. Default: `"full"`. */
  readonly durability?: Durability | undefined
  /** How long operations wait for a lock of another process before they fail with `Unavailable`. Default: 10 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /** The largest accepted body in bytes, at most 64 MiB. Default: 65535, as in beanstalkd. */
  readonly maxJobSize?: number | undefined
  /**
   * How long workers wait for a file that was moved, replaced or removed while it was open. Then they fail with
   * `Unavailable`. The broker opens the next file that appears at the path. Default: 5 seconds.
   */
  readonly reconnectFor?: Duration.Input | undefined
  /** How long finished jobs can be listed. They take space in the file. Default: not at all. */
  readonly history?: Duration.Input | undefined
}

const sizeOf = ({ body }: PutRequest) => body.length

// -----------------------------------------------------------------------------
// Putting
// -----------------------------------------------------------------------------

type Put = Result.Result<JobId, BrokerError>

/** Adds the jobs that are not too big. */
const putNow = (
  { jobs, queues }: Session,
  queue: string,
  requests: ReadonlyArray<PutRequest>,
  maxJobSize: number,
  now: number
): ReadonlyArray<Put> => {
  const sizes = requests.map(({ body }) => Rules.checkSize(queue, body, maxJobSize))
  const fitting = Checked.passed(requests, sizes)
  const ids = fitting.length > 0 ? jobs.add(queues.put(queue, fitting.length), fitting, now) : []
  return Checked.merge(sizes, ids.map((id) => Result.succeed(id)))
}

const putting = (access: Access, maxJobSize: number): Pick<Broker["Service"], "put" | "putAll"> => ({
  put: (queue, request) => {
    const checked = checkQueue(queue)
    return Result.isFailure(checked)
      ? Effect.fail(checked.failure)
      : Effect.flatMap(
        access.run((session, now) => putNow(session, queue, [request], maxJobSize, now)[0]!),
        Effect.fromResult
      )
  },
  putAll: (queue, requests) => {
    const checked = checkQueue(queue)
    if (Result.isFailure(checked)) return Effect.succeed(requests.map(() => Result.fail(checked.failure)))
    const putBatch = (requests: ReadonlyArray<PutRequest>) =>
      Effect.match(access.run((session, now) => putNow(session, queue, requests, maxJobSize, now)), {
        onFailure: (error) => requests.map((): Put => Result.fail(error)),
        onSuccess: (results) => results
      })
    return Effect.map(
      Effect.forEach(split(requests, jobsPerOperation, batchBytes / 2, sizeOf), putBatch, { concurrency: "unbounded" }),
      (results) => results.flat()
    )
  }
})

// -----------------------------------------------------------------------------
// Consuming
// -----------------------------------------------------------------------------

const consuming =
  ({ back, current }: Presence.Presence, consumers: Consumers) =>
  (names: NonEmptyReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> => {
    const begin = Effect.map(Queue.unbounded<Lease>(), (lostLeases) => {
      const consumer = new SqliteConsumer({ session: current(), queues: Array.from(new Set(names)), lostLeases, back })
      consumers.add(consumer)
      return consumer
    })
    return Effect.andThen(
      Effect.fromResult(Result.all(names.map(checkQueue))),
      Effect.acquireRelease(begin, (consumer) => consumers.end(consumer))
    )
  }

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Opens a file as a broker and its inspector. If the file can't be used, fails with `Unavailable` and does not change
 * the file.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  const name = `sqlite:${options.path}`
  const maxJobSize = yield* Rules.checkMaxJobSize(options.maxJobSize, File.maxBodyBytes)
  const history = DurationInput.fromInputUnsafe(options.history ?? 0)
  const clock = yield* Clock.Clock
  const startedAt = clock.monotonicTimeNanosUnsafe()
  const consumers = new Consumers()
  const presence = yield* Presence.make({
    broker: name,
    path: options.path === ":memory:" ? options.path : File.absolute(options.path),
    isFull: options.durability !== "normal",
    busyTimeout: DurationInput.fromInputUnsafe(options.busyTimeout ?? "10 seconds"),
    history,
    reconnectFor: DurationInput.fromInputUnsafe(options.reconnectFor ?? "5 seconds"),
    onOpened: (session, isSameFile) => consumers.move(session, isSameFile)
  })
  const access = new Access(presence.use)
  const features = {
    resolution: "millisecond",
    canList: true,
    canBury: true,
    canMove: true,
    keepsReasons: true,
    keepsDone: Duration.isPositive(history),
    keepsAttempts: true
  } as const
  const uptime = () => Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt)
  return {
    broker: {
      name,
      features,
      ping: access.runCurrent(() => undefined),
      ...putting(access, maxJobSize),
      consume: consuming(presence, consumers),
      idleWorkers: (queue) =>
        Effect.andThen(Effect.fromResult(checkQueue(queue)), access.checkProcesses).pipe(
          Effect.andThen(access.read((session) => Inspection.idleWorkersOn(session, queue)))
        )
    },
    inspector: Inspection.make({ name, features, access, consumers, maxJobSize, uptime })
  }
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A broker in a file, and its inspector.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Broker | Inspector, BrokerError> => Shared.layer(make(options))
