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
import type * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Broker, checkQueue, type Consumer, type JobId, type Lease, type PutRequest } from "../../Broker.ts"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import * as OptionRules from "../../internal/options.ts"
import { Rules, Services as Shared } from "../shared/index.ts"
import { Access } from "./access.ts"
import { portion, portions, SqliteConsumer } from "./consumer.ts"
import { Consumers } from "./consumers.ts"
import * as File from "./file.ts"
import * as Inspection from "./inspector.ts"
import * as Presence from "./presence.ts"
import { mostBytes } from "./rows.ts"
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

const sizeOf = ({ body }: PutRequest) => body.length

const checkMaxJobSize = (bytes: number): Effect.Effect<number, BrokerError> => {
  const rule = OptionRules.integer(bytes, 1, File.largestBody, "bytes")
  return rule === undefined
    ? Effect.succeed(bytes)
    : Effect.fail(optionInvalid("maxJobSize (max-job-size in the URL)", rule))
}

// -----------------------------------------------------------------------------
// Putting
// -----------------------------------------------------------------------------

type Put = Result.Result<JobId, BrokerError>

/** Adds those that are not too big. */
const putNow = (
  { jobs, queues }: Session,
  queue: string,
  requests: ReadonlyArray<PutRequest>,
  maxJobSize: number,
  now: number
): ReadonlyArray<Put> => {
  const sizes = requests.map(({ body }) => Rules.checkSize(queue, body, maxJobSize))
  const fitting = requests.filter((_, i) => Result.isSuccess(sizes[i]!))
  const ids = fitting.length > 0 ? jobs.add(queues.put(queue, fitting.length), fitting, now) : []
  let next = 0
  return sizes.map((size): Put => Result.map(size, () => ids[next++]!))
}

const putting = (access: Access, maxJobSize: number): Pick<Broker["Service"], "put" | "putAll"> => ({
  put: (queue, request) => {
    const checked = checkQueue(queue)
    return Result.isFailure(checked)
      ? Effect.fail(checked.failure)
      : Effect.flatMap(
        access.put((session, now) => putNow(session, queue, [request], maxJobSize, now)[0]!),
        Effect.fromResult
      )
  },
  putAll: (queue, requests) => {
    const checked = checkQueue(queue)
    if (Result.isFailure(checked)) return Effect.succeed(requests.map(() => Result.fail(checked.failure)))
    const putPortion = (requests: ReadonlyArray<PutRequest>) =>
      Effect.match(access.put((session, now) => putNow(session, queue, requests, maxJobSize, now)), {
        onFailure: (error) => requests.map((): Put => Result.fail(error)),
        onSuccess: (results) => results
      })
    return Effect.map(
      Effect.forEach(portions(requests, portion, mostBytes / 2, sizeOf), putPortion, { concurrency: "unbounded" }),
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
      const consumer = new SqliteConsumer({ store: current(), queues: Array.from(new Set(names)), lostLeases, back })
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
 * Opens a file as a broker and its inspector. Fails with `Unavailable` where the file can't be used, and leaves it as
 * it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  const name = `sqlite:${options.path}`
  const maxJobSize = yield* checkMaxJobSize(options.maxJobSize ?? Rules.defaultMaxJobSize)
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
    keepsDone: Duration.isPositive(history)
  } as const
  const uptime = () => Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt)
  return {
    broker: {
      name,
      features,
      ping: access.run(() => undefined),
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
