/**
 * Transfers jobs from one broker to another, of whatever kinds.
 *
 * It copies ready, delayed and buried jobs in batches, and deletes each job
 * after the other broker accepted it. So nothing is lost. After a crash, at most
 * the batch under way is on both sides, with the same bodies and so under the
 * same envelope ids. Run it again to transfer the rest.
 *
 * Workers, publishers and operators can keep running. A ready job is reserved
 * first, so that no worker on the old side runs what a worker on the new side
 * gets. If one of them takes a delayed or buried job first, the copy is deleted.
 *
 * Limits: jobs that workers hold stay, and so do those that arrive later. A
 * pause is not copied.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Consumer, Features, JobId, Lease } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import { Inspector, type JobStats, type PeekableState, type RestoreRequest, type Services } from "./Inspector.ts"
import * as Operator from "./Operator.ts"

/**
 * How many jobs are in one batch at most.
 *
 * @category constants
 * @since 0.1.0
 */
export const batchSize = 100

/**
 * A job that the other broker did not accept. It stays where it was.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refused {
  readonly id: JobId
  readonly error: BrokerError
}

/**
 * The result of one batch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Batch {
  /** How many jobs are now on the other side only. */
  readonly transferred: number
  readonly refused: ReadonlyArray<Refused>
  /** How many jobs may be on both sides, with the same body: an answer is missing, or workers of both sides took the job. */
  readonly onBoth: number
}

/**
 * The two brokers, and a function called after each batch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly from: Services
  readonly to: Services
  /** Runs after each batch, and before a failure. */
  readonly onBatch?: ((batch: Batch) => Effect.Effect<void>) | undefined
}

/**
 * What transferred jobs lose: how often they were attempted, why they failed, and parts of a second.
 *
 * @category models
 * @since 0.1.0
 */
export type Loss = "attempts" | "reasons" | "milliseconds"

/**
 * What jobs lose on the way between two brokers, by their features.
 *
 * @category functions
 * @since 0.1.0
 */
export const losses = (from: Features, to: Features): ReadonlyArray<Loss> => [
  ...(to.keepsAttempts ? [] : ["attempts" as const]),
  ...(from.keepsReasons && !to.keepsReasons ? ["reasons" as const] : []),
  ...(from.resolution === "millisecond" && to.resolution === "second" ? ["milliseconds" as const] : [])
]

// -----------------------------------------------------------------------------
// One batch
// -----------------------------------------------------------------------------

/** A job on its way. */
type Job = Omit<JobStats, "state"> & { readonly body: Uint8Array; readonly state: string }

const resolutionMillis = { millisecond: 1, second: 1000 } as const

/** A broker rounds down what is left of a delay, and no job may run too early. */
const delayOf = ({ state, timeLeft }: Job, { resolution }: Features): Duration.Duration =>
  state === "delayed" ? Duration.sum(timeLeft, Duration.millis(resolutionMillis[resolution])) : Duration.zero

const requestOf = (job: Job, features: Features): RestoreRequest => ({
  body: job.body,
  priority: job.priority,
  delay: delayOf(job, features),
  ttr: job.ttr,
  isBuried: job.state === "buried",
  attempts: job.attempt,
  abandoned: job.abandoned,
  buries: job.buries,
  reason: job.reason,
  lastFailure: job.lastFailure
})

/** Deletes jobs that the other side has accepted. */
type Remove = (jobs: ReadonlyArray<Job>) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>

/** This job alone can't be accepted; others can. */
const isRefusal = ({ reason }: BrokerError): boolean => reason._tag === "JobTooBig" || reason._tag === "Unsupported"

/** Someone else has the job, or has ended it. */
const isTaken = ({ reason }: BrokerError): boolean => reason._tag === "NotFound" || reason._tag === "LeaseLost"

const mayHaveHappened = ({ reason }: BrokerError): boolean => "fate" in reason && reason.fate === "Unknown"

/** Copies jobs, then deletes those that were accepted. Calls `onBatch`, and fails if the next one would fail too. */
const transferBatch = (queue: string, options: Options, jobs: ReadonlyArray<Job>, remove: Remove) =>
  Effect.uninterruptible(Effect.gen(function*() {
    const { from, onBatch, to } = options
    const refused: Array<Refused> = []
    let [transferred, onBoth] = [0, 0]
    let failed: BrokerError | undefined
    const copies: Array<{ readonly job: Job; readonly id: JobId }> = []
    const restored = yield* to.inspector.restore(queue, jobs.map((job) => requestOf(job, from.inspector.features)))
    for (const [i, result] of restored.entries()) {
      const job = jobs[i]!
      if (Result.isSuccess(result)) copies.push({ job, id: result.success })
      else if (isRefusal(result.failure)) refused.push({ id: job.id, error: result.failure })
      else {
        failed = result.failure
        if (mayHaveHappened(failed)) onBoth++
      }
    }
    const removed = copies.length === 0 ? [] : yield* remove(copies.map(({ job }) => job))
    for (const [i, result] of removed.entries()) {
      if (Result.isSuccess(result)) transferred++
      else if (!isTaken(result.failure)) {
        failed = result.failure
        onBoth++
      } else if (Result.isFailure(yield* Effect.result(to.inspector.delete(copies[i]!.id)))) onBoth++
    }
    if (onBatch !== undefined) yield* onBatch({ transferred, refused, onBoth })
    return failed === undefined ? refused : yield* failed
  }))

// -----------------------------------------------------------------------------
// Ready jobs
// -----------------------------------------------------------------------------

const lookEvery = "100 millis"

/** Waits until no worker could reserve a job of a queue. */
const untilNoneReady = ({ inspector }: Services, queue: string): Effect.Effect<void, BrokerError> =>
  Effect.asVoid(
    Effect.repeat(Effect.andThen(Effect.sleep(lookEvery), inspector.statsQueue(queue)), {
      until: ({ pausedFor, ready }) => ready === 0 || Duration.isPositive(pausedFor)
    })
  )

/** Leases and what is known about them, without those that were lost. */
const heldJobs = Effect.fnUntraced(function*({ inspector }: Services, leases: ReadonlyArray<Lease>) {
  const jobs = yield* Effect.forEach(leases, (lease) =>
    inspector.statsJob(lease.id).pipe(
      // This reservation does not count.
      Effect.map((stats) => [{
        ...stats,
        attempt: Math.max(0, stats.attempt - 1),
        state: "ready",
        body: lease.body,
        lease
      }]),
      Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed([]))
    ), { concurrency: "unbounded" })
  return jobs.flat()
})

const removeHeld = (consumer: Consumer, leases: ReadonlyMap<JobId, Lease>): Remove => (jobs) =>
  consumer.settle(jobs.map(({ id }) => ({ _tag: "Delete", lease: leases.get(id)! })))

const transferReady = Effect.fnUntraced(function*(queue: string, options: Options, count: number) {
  const { from } = options
  const consumer = yield* from.broker.consume([queue])
  const refused = new Map<JobId, Lease>()
  for (let left = count; left > 0;) {
    const reserved = yield* Effect.raceFirst(
      Effect.asSome(consumer.reserve(Math.min(batchSize, left))),
      Effect.as(untilNoneReady(from, queue), Option.none())
    )
    if (Option.isNone(reserved)) return
    const jobs = yield* heldJobs(from, reserved.value.filter(({ id }) => !refused.has(id)))
    if (jobs.length === 0) return
    left -= reserved.value.length
    const leases = new Map(jobs.map(({ id, lease }) => [id, lease]))
    // A refused job is held until the end. Otherwise it would come again and again.
    for (const { id } of yield* transferBatch(queue, options, jobs, removeHeld(consumer, leases))) {
      refused.set(id, leases.get(id)!)
    }
    if (refused.size > 0) yield* consumer.touch(Array.from(refused.values()))
  }
}, Effect.scoped)

// -----------------------------------------------------------------------------
// Jobs that no worker can take
// -----------------------------------------------------------------------------

const transferListed = Effect.fnUntraced(function*(
  queue: string,
  options: Options,
  state: PeekableState,
  count: number
) {
  const { from: { inspector } } = options
  const remove: Remove = (jobs) =>
    Effect.forEach(jobs, ({ id }) => Effect.result(inspector.delete(id)), { concurrency: "unbounded" })
  let [left, after, last] = [count, undefined as string | undefined, undefined as JobId | undefined]
  while (left > 0) {
    const { isNextOnly, jobs, next } = yield* Effect.provideService(
      Operator.look(queue, { state, after, limit: Math.min(batchSize, left) }),
      Inspector,
      inspector
    )
    // Nothing else is shown behind a job that stays.
    if (jobs.length === 0 || isNextOnly && jobs[0]!.id === last) return
    yield* transferBatch(queue, options, jobs, remove)
    left -= jobs.length
    last = jobs.at(-1)!.id
    after = next
    if (!isNextOnly && next === undefined) return
  }
})

/**
 * Transfers the jobs of a queue to the queue of the same name: at most as many in each state as there are at its start.
 * Fails with `NotFound` if there is no such queue, and with the failure of a broker that is away. What was transferred
 * until then stays transferred. An interruption lets the batch under way end first.
 *
 * @category functions
 * @since 0.1.0
 */
export const transfer = Effect.fnUntraced(function*(
  queue: string,
  options: Options
): Effect.fn.Return<void, BrokerError> {
  const { inspector } = options.from
  const { buried, delayed, pausedFor } = yield* inspector.statsQueue(queue)
  yield* transferListed(queue, options, "buried", buried)
  yield* transferListed(queue, options, "delayed", delayed)
  // Counts those whose delay ended meanwhile. The queue may be gone with its last job.
  const ready = yield* Effect.map(inspector.statsQueue(queue), ({ ready }) => ready).pipe(
    Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed(0))
  )
  // No worker takes jobs of a paused queue, and neither could this.
  yield* Duration.isPositive(pausedFor)
    ? transferListed(queue, options, "ready", ready)
    : transferReady(queue, options, ready)
})

/**
 * The queues of a broker that have jobs.
 *
 * @category functions
 * @since 0.1.0
 */
export const queuesWithJobs = Effect.fnUntraced(function*({ inspector }: Services) {
  const names = yield* inspector.queues
  const stats = yield* Effect.forEach(names, (name) =>
    Effect.asSome(inspector.statsQueue(name)).pipe(
      Effect.catchReason("BrokerError", "NotFound", () => Effect.succeedNone)
    ), { concurrency: 16 })
  return stats.flatMap(Option.toArray).filter(({ buried, delayed, ready, reserved }) =>
    ready + delayed + reserved + buried > 0
  )
})
