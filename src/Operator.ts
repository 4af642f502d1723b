/**
 * What operators do, as functions: the operations of the `Inspector`, and actions
 * on many jobs of a queue that are the same on every broker.
 *
 * ```ts
 * yield* Operator.kick("mail", 10)
 * yield* Operator.forEachJob("mail", { state: "delayed" }, Operator.delete)
 * ```
 *
 * Actions on many jobs read pages from a broker that can list jobs, and otherwise look at the
 * next job again and again. There a job must leave its state before the next one
 * shows, so {@link forEachJob} is for actions that delete, move, kick or bury.
 *
 * Workers and publishers go on in the meantime: an action skips a job that a
 * worker takes first, and may include one that arrives later.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { JobId } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import {
  type BrokerStats,
  type Concern,
  Inspector,
  type JobStats,
  type ListedJob,
  type ListedState,
  type ListOptions,
  type Page,
  type PeekableState,
  type PeekedJob,
  type QueueStats,
  type RestoreRequest
} from "./Inspector.ts"

/**
 * The jobs of a queue that the broker shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Look extends Page {
  /** Whether this is only the next job, because the broker can't list the others. */
  readonly isNextOnly: boolean
}

/**
 * Whether every broker shows the next job in this state.
 *
 * @category functions
 * @since 0.1.0
 */
export const isPeekable = (state: ListedState): state is PeekableState =>
  state === "ready" || state === "delayed" || state === "buried"

const next = Effect.fnUntraced(function*(
  queue: string,
  state: PeekableState
): Effect.fn.Return<Look, BrokerError, Inspector> {
  const inspector = yield* Inspector
  const peeked = yield* inspector.peekNext(queue, state)
  const jobs = Option.isNone(peeked) ? [] : yield* inspector.statsJob(peeked.value.id).pipe(
    // it may have been moved or taken since
    Effect.map((stats): ReadonlyArray<ListedJob> =>
      stats.queue === queue ? [{ ...stats, body: peeked.value.body, finishedAt: undefined }] : []
    ),
    Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed([]))
  )
  return { jobs, next: undefined, isNextOnly: true }
})

/**
 * Returns a page of the jobs of a queue in a state, or only the next job when
 * the broker can't list. Fails with `Unsupported` for a state that the broker
 * does not show.
 *
 * @category accessors
 * @since 0.1.0
 */
export const look = (queue: string, options: ListOptions): Effect.Effect<Look, BrokerError, Inspector> =>
  Inspector.use(({ features, list }) =>
    features.canList || !isPeekable(options.state)
      ? Effect.map(list(queue, options), (page): Look => ({ ...page, isNextOnly: false }))
      : next(queue, options.state)
  )

/**
 * Which jobs to act on, and how many.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForEachOptions {
  readonly state: PeekableState
  /** At most this many jobs. Default: as many as the queue has in this state at the start. */
  readonly max?: number | undefined
}

const pageSize = 1000

/**
 * Acts on the jobs of a queue in a state, in the order in which they are served.
 * `act` must take its job out of that state. Acts on the jobs of one page at the
 * same time, so that they share a commit or a round trip. Returns how many jobs
 * it acted on.
 *
 * @category functions
 * @since 0.1.0
 */
export const forEachJob = Effect.fnUntraced(function*<R>(
  queue: string,
  { max, state }: ForEachOptions,
  act: (id: JobId) => Effect.Effect<unknown, BrokerError, R>
): Effect.fn.Return<number, BrokerError, Inspector | R> {
  const inspector = yield* Inspector
  const limit = max ?? (yield* inspector.statsQueue(queue))[state]
  // a worker or another operator came first
  const done = (id: JobId) =>
    Effect.as(act(id), 1).pipe(Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed(0)))

  const pages = Stream.paginate<string | undefined, ListedJob, BrokerError, never>(undefined, (after) =>
    Effect.map(
      inspector.list(queue, { state, after, limit: Math.min(pageSize, Math.max(limit, 1)) }),
      (page) => [page.jobs, Option.map(Option.fromUndefinedOr(page.next), (next) => next as string | undefined)]
    )).pipe(Stream.map(({ id }) => id))

  const nextOnes = Stream.paginate<JobId | undefined, JobId, BrokerError, never>(
    undefined,
    (last) =>
      Effect.map(inspector.peekNext(queue, state), (peeked) =>
        Option.match(
          Option.filter(peeked, ({ id }) => id !== last),
          {
            onNone: () => [[], Option.none()],
            onSome: ({ id }) => [[id], Option.some(id)]
          }
        ))
  )

  let count = 0
  yield* Stream.runForEachArray(
    Stream.take(inspector.features.canList ? pages : nextOnes, limit),
    (ids) =>
      Effect.map(Effect.forEach(ids, done, { concurrency: "unbounded" }), (results) => {
        for (const one of results) count += one
      })
  )
  return count
})

// -----------------------------------------------------------------------------
// Accessors of the Inspector
// -----------------------------------------------------------------------------

/**
 * Returns a job in any queue and state, without reserving it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const peek = (id: JobId): Effect.Effect<Option.Option<PeekedJob>, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.peek(id))

/**
 * Returns the job that is next in a state of a queue; for `buried`, the one that is kicked first.
 *
 * @category accessors
 * @since 0.1.0
 */
export const peekNext = (
  queue: string,
  state: PeekableState
): Effect.Effect<Option.Option<PeekedJob>, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.peekNext(queue, state))

/**
 * Lists the jobs of a queue in a state, in pages. Fails with `Unsupported` on a broker that can't list; {@link look} then
 * returns the next job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const list = (queue: string, options: ListOptions): Effect.Effect<Page, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.list(queue, options))

/**
 * Deletes a job that no worker holds. Otherwise fails with `NotFound`.
 *
 * @category accessors
 * @since 0.1.0
 */
const delete_ = (id: JobId): Effect.Effect<void, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.delete(id))

export { delete_ as delete }

/**
 * Makes at most `max` buried jobs ready; when no job is buried, at most `max` delayed ones. Returns how many.
 *
 * @category accessors
 * @since 0.1.0
 */
export const kick = (queue: string, max: number): Effect.Effect<number, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.kick(queue, max))

/**
 * Makes one buried or delayed job ready. Otherwise fails with `NotFound`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const kickJob = (id: JobId): Effect.Effect<void, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.kickJob(id))

/**
 * Buries a ready or delayed job. Otherwise fails with `NotFound`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const buryJob = (id: JobId, reason: string): Effect.Effect<void, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.buryJob(id, reason))

/**
 * Moves a ready, delayed or buried job to a queue, where it is ready for its first attempt. Returns its id, which may be
 * a new one. Otherwise fails with `NotFound`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const moveJob = (id: JobId, queue: string): Effect.Effect<JobId, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.moveJob(id, queue))

/**
 * Puts jobs as another broker had them. Returns a result for each, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const restore = (
  queue: string,
  requests: ReadonlyArray<RestoreRequest>
): Effect.Effect<ReadonlyArray<Result.Result<JobId, BrokerError>>, never, Inspector> =>
  Inspector.use((inspector) => inspector.restore(queue, requests))

/**
 * Serves no job of a queue for this long.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pause = (queue: string, duration: Duration.Duration): Effect.Effect<void, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.pause(queue, duration))

/**
 * Ends a pause.
 *
 * @category accessors
 * @since 0.1.0
 */
export const resume = (queue: string): Effect.Effect<void, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.resume(queue))

/**
 * Returns the numbers of the broker.
 *
 * @category accessors
 * @since 0.1.0
 */
export const stats: Effect.Effect<BrokerStats, BrokerError, Inspector> = Inspector.use((inspector) => inspector.stats)

/**
 * Returns the numbers of one queue. Fails with `NotFound` when there is no such queue.
 *
 * @category accessors
 * @since 0.1.0
 */
export const statsQueue = (queue: string): Effect.Effect<QueueStats, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.statsQueue(queue))

/**
 * Returns what the broker knows about one job. Fails with `NotFound` when there is no such job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const statsJob = (id: JobId): Effect.Effect<JobStats, BrokerError, Inspector> =>
  Inspector.use((inspector) => inspector.statsJob(id))

/**
 * Returns the names of all queues.
 *
 * @category accessors
 * @since 0.1.0
 */
export const queues: Effect.Effect<ReadonlyArray<string>, BrokerError, Inspector> = Inspector.use((inspector) =>
  inspector.queues
)

/**
 * Returns what harms the jobs on this server; empty where the broker knows of nothing that could.
 *
 * @category accessors
 * @since 0.1.0
 */
export const concerns: Effect.Effect<ReadonlyArray<Concern>, BrokerError, Inspector> = Inspector.use((inspector) =>
  inspector.concerns ?? Effect.succeed([])
)
