/**
 * What an operator does with many jobs of a queue, the same on every broker.
 *
 * A broker that lists its jobs is asked for pages; one that only shows which
 * job is next is asked for that again and again. There a job has to leave its
 * state before the next can be seen, which is what {@link forEachJob} is for:
 * it deletes, moves, kicks or buries.
 *
 * Others work on the queue meanwhile: a job that somebody took before its turn
 * came is left out, and what comes after the start may be included.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { JobId } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import { Inspector, type ListedJob, type ListedState, type ListOptions, type Page } from "./Inspector.ts"

/**
 * The jobs of a queue as far as the broker shows them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Look extends Page {
  /** Is this only the job that is next, because the broker shows no other? */
  readonly isNextOnly: boolean
}

/**
 * Is it a state whose next job every broker shows?
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
    // somebody may have moved or taken it since
    Effect.map((stats): ReadonlyArray<ListedJob> =>
      stats.queue === queue ? [{ ...stats, body: peeked.value.body, finishedAt: undefined }] : []
    ),
    Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed([]))
  )
  return { jobs, next: undefined, isNextOnly: true }
})

/**
 * Looks at the jobs of a queue in a state: a page of them, or where the broker
 * can't list the one that is next. Fails with `Unsupported` for a state that
 * the broker does not show.
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
 * What is done with jobs, and with how many.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForEachOptions {
  readonly state: "ready" | "delayed" | "buried"
  /** How many jobs at most. Default: as many as the queue has in this state at the start. */
  readonly max?: number | undefined
}

const pageSize = 1000

/**
 * Does something with the jobs of a queue in a state that takes each out of it,
 * in the order in which they are served. Returns with how many it was done. The
 * jobs of a page are worked on at the same time, so that a broker can share a
 * commit or a round trip among them.
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
  // what is gone, or held, when its turn comes was somebody else's
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
