/**
 * The `Inspector` of beanstalkd.
 *
 * beanstalkd has no command that buries or moves a job of no worker. So the job
 * is reserved by its id first (`reserve-job`, since 1.12) and then settled on the
 * same connection. If the connection ends in between, the job is ready again by
 * itself. A move that was cut short may leave the job on both queues.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { checkDuration, checkQueue, type Features, type JobId, type JobState, maxDelay } from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import type { BrokerStats, Inspector, JobStats, PeekedJob, QueueStats, RestoreRequest } from "../../Inspector.ts"
import { clip, maxNameChars } from "../../internal/text.ts"
import { Checked } from "../shared/index.ts"
import { checkMax } from "./arguments.ts"
import type { Command } from "./command.ts"
import { putAll, putMany } from "./putting.ts"
import {
  failure,
  isHeld,
  jobStats,
  leaseInfo,
  noJob,
  noQueue,
  serverStats,
  tubeList,
  violation,
  wholeSeconds
} from "./replies.ts"
import type { Read, SharedConnection } from "./sharedConnection.ts"
import type { JobStats as StatsReply, ServerStats, TubeStats } from "./stats.ts"

// -----------------------------------------------------------------------------
// From the terms of beanstalkd to those of the contract
// -----------------------------------------------------------------------------

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
  // The server numbers its log files from 1. The number is 0 if it keeps no log.
  durable: stats["binlog-current-index"] > 0
})

const queueStats = (stats: TubeStats): QueueStats => ({
  queue: stats.name,
  ready: stats["current-jobs-ready"],
  delayed: stats["current-jobs-delayed"],
  reserved: stats["current-jobs-reserved"],
  buried: stats["current-jobs-buried"],
  idleWorkers: stats["current-waiting"],
  total: stats["total-jobs"],
  pausedFor: Duration.seconds(stats["pause-time-left"])
})

const statsOf = (id: JobId, stats: StatsReply): JobStats => ({
  ...leaseInfo(stats, isHeld(stats.state)),
  id,
  queue: stats.tube,
  state: stats.state,
  age: Duration.seconds(stats.age),
  timeLeft: Duration.seconds(stats["time-left"]),
  reason: undefined,
  lastFailure: undefined
})

const peekCommands = { ready: "PeekReady", delayed: "PeekDelayed", buried: "PeekBuried" } as const

const peeked = (broker: string, command: Command["_tag"]): Read<Option.Option<PeekedJob>> => (answer) => {
  switch (answer?._tag) {
    case "Found":
      return Result.succeed(Option.some({ id: answer.id as JobId, body: answer.body }))
    case "NotFound":
      return Result.succeed(Option.none())
    default:
      return failure(broker, command, answer)
  }
}

/** The command that returns a reserved job to its earlier state. */
const putBack = ({ id, pri: priority, state, "time-left": timeLeft }: StatsReply): Command =>
  state === "buried"
    ? { _tag: "Bury", id, priority }
    : { _tag: "Release", id, priority, delay: state === "delayed" ? timeLeft : 0 }

// -----------------------------------------------------------------------------
// Operations
// -----------------------------------------------------------------------------

const statsJob = (shared: SharedConnection, id: JobId): Effect.Effect<StatsReply, BrokerError.BrokerError> =>
  shared.aboutJob("StatsJob", id, (answer) => jobStats(shared.name, id, answer))

/** Reserves a job, if it is in one of some states. Settle it on the same connection. */
const reserveJob = Effect.fnUntraced(function*(shared: SharedConnection, id: JobId, states: ReadonlyArray<JobState>) {
  // A failure until here has changed nothing.
  const stats = yield* Effect.mapError(statsJob(shared, id), BrokerError.notSent)
  if (!states.includes(stats.state)) return yield* BrokerError.jobNotFound(id)
  const ready = yield* shared.current
  const [answer] = yield* ready.connection.request([{ _tag: "ReserveJob", id }])
  if (answer?._tag !== "Reserved") {
    return yield* Effect.fromResult(failure(shared.name, "ReserveJob", answer, noJob(id)))
  }
  return { body: answer.body, ready, stats }
})

// Uninterruptible, because a reserved job must be settled.
const bury = (shared: SharedConnection, id: JobId): Effect.Effect<void, BrokerError.BrokerError> =>
  Effect.uninterruptible(Effect.gen(function*() {
    const { ready, stats } = yield* reserveJob(shared, id, ["ready", "delayed"])
    const [answer] = yield* ready.connection.request([{ _tag: "Bury", id, priority: stats.pri }])
    if (answer?._tag !== "Buried") return yield* Effect.fromResult(failure(shared.name, "Bury", answer, noJob(id)))
  }))

const move = (shared: SharedConnection, id: JobId, queue: string): Effect.Effect<JobId, BrokerError.BrokerError> =>
  Effect.uninterruptible(Effect.gen(function*() {
    yield* Effect.fromResult(checkQueue(queue))
    const { body, ready, stats } = yield* reserveJob(shared, id, ["ready", "delayed", "buried"])
    const request = { body, priority: stats.pri, delay: Duration.zero, ttr: Duration.seconds(stats.ttr) }
    const [put] = yield* putMany(shared, ready, queue, [request])
    if (put === undefined || Result.isFailure(put)) {
      ready.connection.submit([putBack(stats)], () => {})
      return yield* put?.failure ?? violation(shared.name, "it did not answer a put")
    }
    const [answer] = yield* ready.connection.request([{ _tag: "Delete", id }])
    // The copy is on the queue already, so the fate is unknown.
    if (answer?._tag !== "Deleted") {
      return yield* Effect.mapError(
        Effect.fromResult(failure(shared.name, "Delete", answer, noJob(id))),
        BrokerError.maybeDone
      )
    }
    return put.success
  }))

const deleteJob = (shared: SharedConnection, id: JobId): Effect.Effect<void, BrokerError.BrokerError> =>
  shared.aboutJob(
    "Delete",
    id,
    (answer) => answer?._tag === "Deleted" ? Result.void : failure(shared.name, "Delete", answer, noJob(id))
  )

/** Buries a new job, which is delayed until then so that no worker gets it. If that fails, deletes the job. */
const buryNew = (shared: SharedConnection, id: JobId) =>
  Effect.catch(
    Effect.as(bury(shared, id), id),
    (error) => Effect.andThen(Effect.mapError(deleteJob(shared, id), BrokerError.maybeDone), Effect.fail(error))
  )

const withoutBuries = (name: string) =>
  BrokerError.make(
    new BrokerError.Unsupported({
      broker: name,
      operation: "restore of a buried job",
      hint: "this driver can't bury a job that no worker holds: use the driver of backq"
    })
  )

/** beanstalkd counts attempts itself, so a restored job begins with its first. */
const restore = (
  shared: SharedConnection,
  features: Features,
  queue: string,
  requests: ReadonlyArray<RestoreRequest>
): ReturnType<Inspector["Service"]["restore"]> => {
  const put = putAll(shared)(
    queue,
    requests.map((request) => request.isBuried ? { ...request, delay: maxDelay } : request)
  )
  if (!requests.some(({ isBuried }) => isBuried)) return put
  if (!features.canBury) {
    const error = withoutBuries(shared.name)
    const checks = requests.map(({ isBuried }) => isBuried ? Result.fail(error) : Result.void)
    return Effect.map(
      restore(shared, features, queue, Checked.passed(requests, checks)),
      (results) => Checked.merge(checks, results)
    )
  }
  return Effect.uninterruptible(Effect.flatMap(put, (results) =>
    Effect.forEach(
      results,
      (result, i) =>
        Result.isSuccess(result) && requests[i]!.isBuried
          ? Effect.result(buryNew(shared, result.success))
          : Effect.succeed(result),
      { concurrency: "unbounded" }
    )))
}

const pause = (shared: SharedConnection, queue: string, seconds: number) =>
  Effect.andThen(
    Effect.fromResult(checkQueue(queue)),
    shared.one({ _tag: "PauseTube", tube: queue, seconds }, (answer) =>
      answer?._tag === "Paused" ? Result.void : failure(shared.name, "PauseTube", answer, noQueue(queue)))
  )

// -----------------------------------------------------------------------------
// The service
// -----------------------------------------------------------------------------

export const make = (features: Features, shared: SharedConnection): Inspector["Service"] => {
  const { name } = shared
  return {
    name,
    features,
    peek: (id) => shared.aboutJob("Peek", id, peeked(name, "Peek")),
    peekNext: (queue, state) =>
      shared.oneInQueue(queue, { _tag: peekCommands[state] }, peeked(name, peekCommands[state])),
    list: () =>
      Effect.fail(BrokerError.make(
        new BrokerError.Unsupported({
          broker: name,
          operation: "list",
          hint: "use peekNext for the next job of a queue in a state, or peek for a job by its id"
        })
      )),
    delete: (id) => deleteJob(shared, id),
    kick: (queue, max) =>
      Effect.andThen(
        Effect.fromResult(checkMax(max)),
        shared.oneInQueue(queue, { _tag: "Kick", bound: max }, (answer) =>
          answer?._tag === "Kicked" && answer.count !== undefined
            ? Result.succeed(answer.count)
            : failure(name, "Kick", answer))
      ),
    kickJob: (id) =>
      shared.aboutJob(
        "KickJob",
        id,
        (answer) => answer?._tag === "Kicked" ? Result.void : failure(name, "KickJob", answer, noJob(id))
      ),
    // A driver without `reserve-job` fails with `Unsupported`.
    buryJob: (id) => bury(shared, id),
    moveJob: (id, queue) => move(shared, id, queue),
    restore: (queue, requests) => restore(shared, features, queue, requests),
    pause: (queue, duration) =>
      Effect.flatMap(
        Effect.fromResult(checkDuration("pause", duration)),
        (checked) => pause(shared, queue, wholeSeconds(checked))
      ),
    resume: (queue) => pause(shared, queue, 0),
    stats: shared.one({ _tag: "Stats" }, (answer) => Result.map(serverStats(name, answer), brokerStats)),
    statsQueue: (queue) => Effect.map(shared.statsTube(queue), queueStats),
    statsJob: (id) => Effect.map(statsJob(shared, id), (stats) => statsOf(id, stats)),
    queues: shared.one({ _tag: "ListTubes" }, (answer) => tubeList(name, "ListTubes", answer))
  }
}
