/**
 * Work that is finalized even if the worker interrupts it.
 *
 * A worker interrupts a handler when the worker stops, when the attempt takes too
 * long, when the job expires, and when the lease is lost. The work done by then must
 * be recorded, or it is done twice. So an interruption ends the work at once, but the
 * finalizer only after 8 seconds. When the lease is lost nothing is finalized: the
 * whole job runs again.
 *
 * An interrupted fiber can't succeed, but it can fail. So interrupted work that was
 * finalized ends with `Job.discard`, and the worker deletes the job.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Delivery } from "../../Handler.ts"
import type * as Job from "../../Job.ts"

/** How long the finalizer may take after an interruption. A worker waits 10 seconds, and must settle the job in them. */
const finalizeTimeout = Duration.seconds(8)

/**
 * Does some work and finalizes it. `conclude` gets the cause if the work did not
 * succeed, and may fail with it. Then the worker, which knows why it interrupted the
 * handler, decides.
 */
export const finalize = <E, R, B, E2, R2>(
  work: Effect.Effect<unknown, E, R>,
  conclude: (cause: Cause.Cause<E> | undefined) => Effect.Effect<B, E2, R2>,
  { cutShort, isLost }: Pick<Delivery, "isLost"> & {
    /** The end of interrupted work that was finalized. */
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
