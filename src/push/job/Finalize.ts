/**
 * Work that is brought to its end even when the worker cuts it short.
 *
 * A handler is interrupted when its worker stops, when its attempt takes too
 * long, when its job expires, and when its lease is lost. What it did by then
 * is done, and has to be written down, or it is done a second time. So the work
 * may be interrupted, and its conclusion only after some seconds more. When the
 * lease is lost there is nothing to conclude: the job runs again as a whole.
 *
 * A fiber that was interrupted can't succeed any more, but it can fail: work
 * that was concluded nonetheless ends with `Job.discard`, and the worker deletes
 * the job.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Delivery } from "../../Handler.ts"
import type * as Job from "../../Job.ts"

/** How long a conclusion may take after an interruption. A worker waits for 10 seconds, and has to settle the job in them. */
const finalizeTimeout = Duration.seconds(8)

/**
 * Does some work, and concludes it. `conclude` is told why the work did not come
 * to its end, if so, and may fail with that: then the worker, who knows what it
 * interrupted the handler for, decides.
 */
export const finalize = <E, R, B, E2, R2>(
  work: Effect.Effect<unknown, E, R>,
  conclude: (cause: Cause.Cause<E> | undefined) => Effect.Effect<B, E2, R2>,
  { cutShort, isLost }: Pick<Delivery, "isLost"> & {
    /** Says what was concluded after an interruption. */
    readonly cutShort: (result: B) => Job.Discard
  }
): Effect.Effect<B, E | E2 | Job.Discard, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const worked = yield* Effect.exit(restore(work))
      const cause = Exit.isFailure(worked) ? worked.cause : undefined
      if (cause !== undefined && (yield* isLost)) return yield* Effect.failCause(cause)
      const conclusion = yield* Effect.forkChild(conclude(cause))
      const awaited = yield* Effect.exit(restore(Fiber.await(conclusion)))
      if (Exit.isSuccess(awaited)) return yield* awaited.value
      const end = (yield* isLost)
        ? Option.none()
        : yield* Effect.timeoutOption(Fiber.await(conclusion), finalizeTimeout)
      yield* Fiber.interrupt(conclusion)
      if (Option.isNone(end)) return yield* Effect.failCause(awaited.cause)
      return yield* Exit.match(end.value, {
        onSuccess: (result): Effect.Effect<never, E2 | Job.Discard> => Effect.fail(cutShort(result)),
        onFailure: Effect.failCause
      })
    })
  )
