/**
 * The Broker over beanstalkd.
 *
 * Puts and an operator's commands share one connection, which is kept alive in
 * the background; each consumer has connections of its own. Everything that is
 * asked for in one tick leaves in one write, and many commands may be under
 * way.
 *
 * What is particular to beanstalkd: times have a resolution of a second and
 * are rounded up; reasons and failures are not kept; jobs can't be listed; a queue exists
 * while it holds jobs or a connection uses it; jobs survive a restart only
 * where the server runs with `-b`.
 *
 * Limits: an interrupted `put` is not taken back, the job may be accepted.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import {
  Broker,
  type BrokerStats,
  checkDuration,
  checkQueue,
  type JobId,
  type JobState,
  type JobStats,
  type PutRequest
} from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { clip, maxNameChars } from "../../internal/text.ts"
import { checkMax, isId } from "./arguments.ts"
import type { Command } from "./command.ts"
import type { Connection, ConnectOptions, Driver } from "./Connection.ts"
import * as BeanstalkConsumer from "./consumer.ts"
import * as Native from "./Native.ts"
import type { Answer } from "./pipeline.ts"
import * as Reconnect from "./reconnect.ts"
import {
  failure,
  isHeld,
  jobStats,
  leaseInfo,
  noJob,
  noQueue,
  readOn,
  serverStats,
  tooBig,
  tubeList,
  tubeStats,
  violation,
  wholeSeconds
} from "./replies.ts"
import type { JobStats as StatsReply, ServerStats } from "./stats.ts"

/**
 * How a broker behaves, whatever the driver.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerOptions {
  /**
   * How long the server may be away before a worker's `reserve` fails. Default:
   * for ever. Puts and operator's commands fail at once while it is away.
   */
  readonly reconnectFor?: Duration.Input | undefined
}

/**
 * The options of the layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ConnectOptions, BrokerOptions {}

type Fail = BrokerError.BrokerError

/** A `use` that was sent. Its failure makes everything worthless that relied on it. */
interface Use {
  readonly queue: string
  failure: Fail | undefined
}

interface Greeting {
  readonly maxJobSize: number
  /** The `use` that counts for what is sent next. */
  use: Use
}

const put = (request: PutRequest): Command => ({
  _tag: "Put",
  priority: request.priority,
  delay: wholeSeconds(request.delay),
  ttr: wholeSeconds(request.ttr),
  body: request.body
})

const brokerStats = (stats: ServerStats): BrokerStats => ({
  version: clip(stats.version, maxNameChars),
  uptime: Duration.seconds(stats.uptime),
  ready: stats["current-jobs-ready"],
  delayed: stats["current-jobs-delayed"],
  reserved: stats["current-jobs-reserved"],
  buried: stats["current-jobs-buried"],
  idleWorkers: stats["current-waiting"],
  maxJobSize: stats["max-job-size"],
  draining: stats.draining === "true",
  // The server numbers its log files from 1, and has the number 0 when it keeps none.
  durable: stats["binlog-current-index"] > 0
})

/** What becomes of a command without an answer: what became of itself, not of the `use` before it. */
const unanswered = (answer: Answer | undefined): Result.Result<never, Fail> | undefined =>
  answer?._tag === "Unanswered" ? Result.fail(answer.error) : undefined

const failAll = (requests: ReadonlyArray<PutRequest>, error: Fail): ReadonlyArray<Result.Result<JobId, Fail>> =>
  requests.map(() => Result.fail(error))

/** Returns a job that was taken to the state that it was in. */
const putBack = ({ id, pri: priority, state, "time-left": timeLeft }: StatsReply): Command =>
  state === "buried"
    ? { _tag: "Bury", id, priority }
    : { _tag: "Release", id, priority, delay: state === "delayed" ? timeLeft : 0 }

const deleteAll = (connection: Connection, ids: ReadonlyArray<string>): void => {
  connection.submit(ids.map((id) => ({ _tag: "Delete", id })), () => {})
}

/**
 * Makes a broker over a driver.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(driver: Driver, options: BrokerOptions = {}) {
  const name = driver.name
  const reconnectFor = options.reconnectFor === undefined
    ? Duration.infinity
    : DurationInput.fromInputUnsafe(options.reconnectFor)

  const { current } = yield* Reconnect.make(driver, (stats): Greeting => ({
    maxJobSize: stats["max-job-size"],
    use: { queue: "default", failure: undefined }
  }))

  const one = <A>(
    command: Command,
    read: (answer: Answer | undefined) => Result.Result<A, Fail>
  ): Effect.Effect<A, Fail> =>
    Effect.flatMap(current, ({ connection }) =>
      Effect.flatMap(
        connection.request([command]),
        ([answer]) => Effect.fromResult(readOn(connection, answer, read))
      ))

  /**
   * Sends commands that are about the used tube. The order in which batches are
   * submitted is the order in which the server sees them, so what is used is
   * known here without asking.
   */
  const inQueue = (
    { connection, greeting }: Reconnect.Ready<Greeting>,
    queue: string,
    commands: ReadonlyArray<Command>
  ): Effect.Effect<{ readonly answers: ReadonlyArray<Answer>; readonly use: Use }> =>
    Effect.callback((resume) => {
      const fresh = greeting.use.queue !== queue || greeting.use.failure !== undefined
      const use: Use = fresh ? { queue, failure: undefined } : greeting.use
      greeting.use = use
      connection.submit(fresh ? [{ _tag: "Use", tube: queue }, ...commands] : commands, (answers) => {
        const first = answers[0]
        if (fresh && first?._tag !== "Using") {
          use.failure = Option.getOrThrow(Result.getFailure(failure(name, "Use", first)))
        }
        resume(Effect.succeed({ answers: fresh ? answers.slice(1) : answers, use }))
      })
    })

  const oneInQueue = <A>(
    queue: string,
    command: Command,
    read: (answer: Answer | undefined) => Result.Result<A, Fail>
  ): Effect.Effect<A, Fail> =>
    Effect.gen(function*() {
      yield* Effect.fromResult(checkQueue(queue))
      const ready = yield* current
      const { answers, use } = yield* inQueue(ready, queue, [command])
      return yield* Effect.fromResult(
        use.failure === undefined ? read(answers[0]) : unanswered(answers[0]) ?? Result.fail(use.failure)
      )
    })

  const accepted = (
    { connection, greeting }: Reconnect.Ready<Greeting>,
    queue: string,
    request: PutRequest,
    answer: Answer | undefined
  ): Result.Result<JobId, Fail> => {
    switch (answer?._tag) {
      case "Inserted":
        return Result.succeed(answer.id as JobId)
      // There is no memory to queue the job, and it is kept aside: not what was asked for.
      case "Buried":
        if (answer.id !== undefined) deleteAll(connection, [answer.id])
        return Result.fail(BrokerError.make(new BrokerError.OutOfMemory({ broker: name })))
      case "JobTooBig":
        return tooBig(queue, request.body.length, greeting.maxJobSize)
      default:
        return failure(name, "Put", answer)
    }
  }

  const putMany = (
    ready: Reconnect.Ready<Greeting>,
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ): Effect.Effect<ReadonlyArray<Result.Result<JobId, Fail>>> => {
    const limit = ready.greeting.maxJobSize
    const small = requests.filter((request) => request.body.length <= limit)
    if (small.length === 0) return Effect.succeed(requests.map((request) => tooBig(queue, request.body.length, limit)))
    return Effect.map(inQueue(ready, queue, small.map(put)), ({ answers, use }) => {
      if (use.failure !== undefined) {
        // They went to whatever was used before.
        deleteAll(ready.connection, answers.flatMap((answer) => answer._tag === "Inserted" ? [answer.id] : []))
      }
      let next = 0
      return requests.map((request) => {
        if (request.body.length > limit) return tooBig(queue, request.body.length, limit)
        const answer = answers[next++]
        return use.failure === undefined
          ? accepted(ready, queue, request, answer)
          : unanswered(answer) ?? Result.fail(use.failure)
      })
    })
  }

  const putAll: Broker["Service"]["putAll"] = (queue, requests) => {
    const checked = checkQueue(queue)
    if (Result.isFailure(checked)) return Effect.succeed(failAll(requests, checked.failure))
    if (requests.length === 0) return Effect.succeed([])
    return Effect.matchEffect(current, {
      onFailure: (error) => Effect.succeed(failAll(requests, error)),
      onSuccess: (ready) => putMany(ready, queue, requests)
    })
  }

  const statsTube = (queue: string) =>
    Effect.andThen(
      Effect.fromResult(checkQueue(queue)),
      one({ _tag: "StatsTube", tube: queue }, (answer) => tubeStats(name, queue, answer))
    )

  const pauseTube = (queue: string, seconds: number) =>
    Effect.andThen(
      Effect.fromResult(checkQueue(queue)),
      one({ _tag: "PauseTube", tube: queue, seconds }, (answer) =>
        answer?._tag === "Paused" ? Result.void : failure(name, "PauseTube", answer, noQueue(queue)))
    )

  /** A command about one job. What can't be an id is not sent. */
  const aboutJob = <A>(
    tag: "Delete" | "KickJob" | "StatsJob" | "Peek",
    id: JobId,
    read: (answer: Answer | undefined) => Result.Result<A, Fail>
  ): Effect.Effect<A, Fail> => isId(id) ? one({ _tag: tag, id }, read) : Effect.fromResult(read({ _tag: "NotFound" }))

  const peeked = (command: Command["_tag"]) => (answer: Answer | undefined) => {
    switch (answer?._tag) {
      case "Found":
        return Result.succeed(Option.some({ id: answer.id as JobId, body: answer.body }))
      case "NotFound":
        return Result.succeed(Option.none())
      default:
        return failure(name, command, answer)
    }
  }

  const statsOf = (id: JobId): Effect.Effect<StatsReply, Fail> =>
    aboutJob("StatsJob", id, (answer) => jobStats(name, id, answer))

  /** Looks at a job and takes it, if it is in one of some states. It has to be settled on the same connection. */
  const takeJob = Effect.fnUntraced(function*(id: JobId, states: ReadonlyArray<JobState>) {
    // until here nothing was done
    const stats = yield* Effect.mapError(statsOf(id), BrokerError.notSent)
    if (!states.includes(stats.state)) return yield* BrokerError.jobNotFound(id)
    const ready = yield* current
    const [answer] = yield* ready.connection.request([{ _tag: "ReserveJob", id }])
    if (answer?._tag !== "Reserved") return yield* Effect.fromResult(failure(name, "ReserveJob", answer, noJob(id)))
    return { body: answer.body, ready, stats }
  })

  // Not to be interrupted: what was taken has to be settled.
  const buryJob: Broker["Service"]["buryJob"] = (id) =>
    Effect.uninterruptible(Effect.gen(function*() {
      const { ready, stats } = yield* takeJob(id, ["ready", "delayed"])
      const [answer] = yield* ready.connection.request([{ _tag: "Bury", id, priority: stats.pri }])
      if (answer?._tag !== "Buried") return yield* Effect.fromResult(failure(name, "Bury", answer, noJob(id)))
    }))

  const moveJob: Broker["Service"]["moveJob"] = (id, queue) =>
    Effect.uninterruptible(Effect.gen(function*() {
      yield* Effect.fromResult(checkQueue(queue))
      const { body, ready, stats } = yield* takeJob(id, ["ready", "delayed", "buried"])
      const request = { body, priority: stats.pri, delay: Duration.zero, ttr: Duration.seconds(stats.ttr) }
      const [put] = yield* putMany(ready, queue, [request])
      if (put === undefined || Result.isFailure(put)) {
        ready.connection.submit([putBack(stats)], () => {})
        return yield* put?.failure ?? violation(name, "it did not answer to a put")
      }
      const [answer] = yield* ready.connection.request([{ _tag: "Delete", id }])
      // The copy is there.
      if (answer?._tag !== "Deleted") {
        return yield* Effect.mapError(
          Effect.fromResult(failure(name, "Delete", answer, noJob(id))),
          BrokerError.maybeDone
        )
      }
      return put.success
    }))

  const peekCommands = { ready: "PeekReady", delayed: "PeekDelayed", buried: "PeekBuried" } as const

  return Broker.of({
    name,
    ping: one(
      { _tag: "ListTubeUsed" },
      (answer) => answer?._tag === "Using" ? Result.void : failure(name, "ListTubeUsed", answer)
    ),
    put: (queue, request) => Effect.flatMap(putAll(queue, [request]), ([result]) => Effect.fromResult(result!)),
    putAll,
    consume: (queues) =>
      Effect.andThen(
        Effect.forEach(queues, (queue) => Effect.fromResult(checkQueue(queue)), { discard: true }),
        BeanstalkConsumer.make({ driver, queues, reconnectFor })
      ),
    idleWorkers: (queue) =>
      Effect.map(statsTube(queue), (stats) => stats["current-waiting"]).pipe(
        Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed(0))
      ),
    peek: (id) => aboutJob("Peek", id, peeked("Peek")),
    peekNext: (queue, state) => oneInQueue(queue, { _tag: peekCommands[state] }, peeked(peekCommands[state])),
    list: () =>
      Effect.fail(BrokerError.make(
        new BrokerError.Unsupported({
          broker: name,
          operation: "list",
          hint: "beanstalkd shows the job of a queue that is next in a state (peekNext), and any job by its id (peek)"
        })
      )),
    delete: (id) =>
      aboutJob(
        "Delete",
        id,
        (answer) => answer?._tag === "Deleted" ? Result.void : failure(name, "Delete", answer, noJob(id))
      ),
    kick: (queue, max) =>
      Effect.andThen(
        Effect.fromResult(checkMax(max)),
        oneInQueue(queue, { _tag: "Kick", bound: max }, (answer) =>
          answer?._tag === "Kicked" && answer.count !== undefined
            ? Result.succeed(answer.count)
            : failure(name, "Kick", answer))
      ),
    kickJob: (id) =>
      aboutJob(
        "KickJob",
        id,
        (answer) => answer?._tag === "Kicked" ? Result.void : failure(name, "KickJob", answer, noJob(id))
      ),
    buryJob,
    moveJob,
    pause: (queue, duration) =>
      Effect.flatMap(
        Effect.fromResult(checkDuration("pause", duration)),
        (checked) => pauseTube(queue, wholeSeconds(checked))
      ),
    resume: (queue) => pauseTube(queue, 0),
    stats: one({ _tag: "Stats" }, (answer) => Result.map(serverStats(name, answer), brokerStats)),
    statsQueue: (queue) =>
      Effect.map(statsTube(queue), (stats) => ({
        queue: stats.name,
        ready: stats["current-jobs-ready"],
        delayed: stats["current-jobs-delayed"],
        reserved: stats["current-jobs-reserved"],
        buried: stats["current-jobs-buried"],
        idleWorkers: stats["current-waiting"],
        total: stats["total-jobs"],
        pausedFor: Duration.seconds(stats["pause-time-left"])
      })),
    statsJob: (id) =>
      Effect.map(statsOf(id), (stats): JobStats => ({
        ...leaseInfo(stats, isHeld(stats.state)),
        id,
        queue: stats.tube,
        state: stats.state,
        age: Duration.seconds(stats.age),
        timeLeft: Duration.seconds(stats["time-left"]),
        reason: undefined,
        lastFailure: undefined
      })),
    queues: one({ _tag: "ListTubes" }, (answer) => tubeList(name, "ListTubes", answer))
  })
})

/**
 * The broker over a driver of your own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDriver = (driver: Driver, options?: BrokerOptions): Layer.Layer<Broker> =>
  Layer.effect(Broker, make(driver, options))

/**
 * The broker at a host and port. The layer is built whether or not the server
 * can be reached; `ping` tells.
 *
 * @example
 * ```ts
 * import { BeanstalkBroker } from "backq/beanstalk"
 *
 * const broker = BeanstalkBroker.layer({ host: "queue.example.org", reconnectFor: "5 minutes" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Broker> => layerDriver(Native.driver(options), options)
