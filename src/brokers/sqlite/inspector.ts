/** The `Inspector` of a file. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { checkDuration, type Features, type JobId } from "../../Broker.ts"
import { type BrokerError, jobNotFound, queueNotFound } from "../../BrokerError.ts"
import type { BrokerStats, Inspector, Page, QueueStats, RestoreRequest } from "../../Inspector.ts"
import { Paging, Rules } from "../shared/index.ts"
import type { Access } from "./access.ts"
import { jobsPerOperation } from "./batches.ts"
import type { Consumers } from "./consumers.ts"
import type { QueueRow } from "./queues.ts"
import { dueAfter, timeLeft } from "./rows.ts"
import type { Session } from "./session.ts"

export interface Options {
  readonly name: string
  readonly features: Features
  readonly access: Access
  readonly consumers: Consumers
  readonly maxJobSize: number
  readonly uptime: () => Duration.Duration
}

/** The number of idle workers of all processes on a queue. */
export const idleWorkersOn = ({ processes, waiters }: Session, queue: string): number =>
  (waiters.counts().get(queue) ?? 0) + processes.idleWorkersElsewhere(queue)

// -----------------------------------------------------------------------------
// Numbers
// -----------------------------------------------------------------------------

const states = ["ready", "delayed", "reserved", "buried"] as const

const isThere = (session: Session, consumers: Consumers, row: QueueRow, queue: string, now: number): boolean =>
  consumers.has(queue) || row.pausedUntil > now || session.jobs.has(row.id)

const queueStats = (session: Session, consumers: Consumers, queue: string, now: number): QueueStats | undefined => {
  const row = session.queues.find(queue) ?? { id: 0, total: 0, pausedUntil: 0 }
  if (!isThere(session, consumers, row, queue, now)) return undefined
  return {
    queue,
    ...session.jobs.count(row.id),
    idleWorkers: idleWorkersOn(session, queue),
    total: row.total,
    pausedFor: timeLeft(now, row.pausedUntil > now ? row.pausedUntil : null)
  }
}

const brokerStats = (
  { jobs, processes, queues, waiters }: Session,
  { maxJobSize, uptime }: Options
): BrokerStats => {
  const sum = { ready: 0, delayed: 0, reserved: 0, buried: 0 }
  for (const { id } of queues.all()) {
    const counts = jobs.count(id)
    for (const state of states) sum[state] += counts[state]
  }
  return {
    version: `sqlite ${process.versions["sqlite"]}`,
    uptime: uptime(),
    ...sum,
    idleWorkers: waiters.size + processes.idleWorkersElsewhere(),
    maxJobSize,
    draining: false,
    durable: true
  }
}

const queueNames = (session: Session, consumers: Consumers, now: number): ReadonlyArray<string> => {
  const found = session.queues.all().filter((row) => isThere(session, consumers, row, row.name, now))
  return Array.from(new Set([...found.map((row) => row.name), ...consumers.queues]))
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** Deletes a job that no worker holds, and its queue if it is no longer in use. Returns whether there was such a job. */
const remove = ({ jobs, queues }: Session, consumers: Consumers, id: JobId, now: number): boolean => {
  const queue = jobs.remove(id)
  if (queue === undefined) return false
  const isConsumed = Array.from(consumers.queues).some((name) => queues.find(name)?.id === queue)
  if (!isConsumed) queues.removeUnused(queue, now)
  return true
}

const move = (session: Session, consumers: Consumers, id: JobId, queue: string, now: number): JobId | undefined => {
  const { jobs, queues } = session
  if (jobs.queueOf(id) === undefined) return undefined
  const moved = jobs.copyTo(id, queues.put(queue, 1), now)
  remove(session, consumers, id, now)
  return moved
}

/** Puts jobs as another broker had them. All that are not too big are in one commit. */
const restore = (
  { access, maxJobSize }: Options,
  queue: string,
  requests: ReadonlyArray<RestoreRequest>
): ReturnType<Inspector["Service"]["restore"]> =>
  Effect.match(
    access.runCurrentOn(queue, ({ jobs, queues }, now) =>
      requests.map((request) =>
        Result.map(
          Rules.checkSize(queue, request.body, maxJobSize),
          () => jobs.restore(queues.put(queue, 1), request, now)
        )
      )),
    { onFailure: (error) => requests.map(() => Result.fail(error)), onSuccess: (results) => results }
  )

/** Kicks in several operations, so that no transaction is long. Kicks delayed jobs only if no job is buried. */
const kick = Effect.fnUntraced(function*(access: Access, queue: string, max: number) {
  yield* Effect.fromResult(Rules.checkMax(max))
  let from: "buried" | "delayed" = "buried"
  let kicked = 0
  while (kicked < max) {
    const size = Math.min(jobsPerOperation, max - kicked)
    const count: number = yield* access.runCurrentOn(queue, ({ jobs, queues }) => {
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

// -----------------------------------------------------------------------------
// The service
// -----------------------------------------------------------------------------

const orFail = <A>(found: Effect.Effect<A | undefined, BrokerError>, error: () => BrokerError) =>
  Effect.filterOrFail(found, Predicate.isNotUndefined, error)

const orJobNotFound = (found: Effect.Effect<boolean, BrokerError>, id: JobId) =>
  Effect.flatMap(found, (found) => found ? Effect.void : Effect.fail(jobNotFound(id)))

export const make = (options: Options): Inspector["Service"] => {
  const { access, consumers, features, name } = options
  return {
    name,
    features,
    peek: (id) => Effect.map(access.read(({ jobs }) => jobs.peek(id)), Option.fromUndefinedOr),
    peekNext: (queue, state) =>
      Effect.map(
        access.readOn(queue, ({ jobs, queues }) => {
          const found = queues.find(queue)
          return found === undefined ? undefined : jobs.peekNext(found.id, state)
        }),
        Option.fromUndefinedOr
      ),
    list: Effect.fnUntraced(function*(queue, options) {
      const request = yield* Effect.fromResult(Paging.request(options))
      return yield* access.readOn(queue, ({ history, jobs, queues }, now): Page => {
        if (request.state === "done") return history.list(queue, request, now)
        const found = queues.find(queue)
        return found === undefined
          ? { jobs: [], next: undefined }
          : jobs.list(found.id, queue, request.state, request, now)
      })
    }),
    delete: (id) => orJobNotFound(access.runCurrent((session, now) => remove(session, consumers, id, now)), id),
    kick: (queue, max) => kick(access, queue, max),
    kickJob: (id) => orJobNotFound(access.runCurrent(({ jobs }) => jobs.kickJob(id)), id),
    buryJob: (id, reason) => orJobNotFound(access.runCurrent(({ jobs }) => jobs.buryJob(id, reason)), id),
    moveJob: (id, queue) =>
      orFail(
        access.runCurrentOn(queue, (session, now) => move(session, consumers, id, queue, now)),
        () => jobNotFound(id)
      ),
    restore: (queue, requests) => restore(options, queue, requests),
    pause: (queue, duration) =>
      Effect.flatMap(
        Effect.fromResult(checkDuration("pause", duration)),
        (checked) => access.runCurrentOn(queue, ({ queues }, now) => queues.pause(queue, dueAfter(now, checked) ?? 0))
      ),
    resume: (queue) =>
      access.runCurrentOn(queue, ({ queues }, now) => {
        const found = queues.find(queue)
        if (found === undefined) return
        queues.pause(queue, 0)
        if (!consumers.has(queue)) queues.removeUnused(found.id, now)
      }),
    stats: Effect.andThen(access.checkProcesses, access.read((session) => brokerStats(session, options))),
    statsQueue: (queue) =>
      orFail(
        Effect.andThen(
          access.checkProcesses,
          access.readOn(queue, (session, now) => queueStats(session, consumers, queue, now))
        ),
        () => queueNotFound(queue)
      ),
    statsJob: (id) => orFail(access.read(({ jobs }, now) => jobs.stats(id, now)), () => jobNotFound(id)),
    queues: access.read((session, now) => queueNames(session, consumers, now))
  }
}
