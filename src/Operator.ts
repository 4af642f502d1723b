/**
 * Actions on many jobs of a queue, the same on every broker.
 *
 * They read pages from a broker that can list jobs, and otherwise look at the
 * next job again and again. There a job must leave its state before the next one
 * shows, so {@link forEachJob} is for actions that delete, move, kick or bury.
 *
 * Workers and publishers go on in the meantime: an action skips a job that a
 * worker takes first, and may include one that arrives later.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { JobId } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import { Inspector, type ListedJob, type ListedState, type ListOptions, type Page } from "./Inspector.ts"

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
export const isPeekable = (state: ListedState): state is "ready" | "delayed" | "buried" =>
  state === "ready" || state === "delayed" || state === "buried"

const next = Effect.fnUntraced(function*(
  queue: string,
  state: "ready" | "delayed" | "buried"
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
  readonly state: "ready" | "delayed" | "buried"
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
export const forEachJob = Effect.fnUntraced(function*(
  queue: string,
  { max, state }: ForEachOptions,
  act: (id: JobId) => Effect.Effect<unknown, BrokerError>
): Effect.fn.Return<number, BrokerError, Inspector> {
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
