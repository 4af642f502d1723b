/**
 * The first stage: reserves jobs in batches, at most as many as the worker has
 * capacity for.
 *
 * It ends when no job came for the idle time, or after `maxJobs` were settled. It
 * fails when the broker stays unreachable for longer than its policy allows.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Lease } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Parts, StopReason } from "./parts.ts"

/** Streams the leases of a worker. */
export const reserve = ({ attempts, broker, clocks, consumer, ending, settings }: Parts): Stream.Stream<
  Lease,
  BrokerError
> => {
  const { idleTimeout, maxJobs } = settings

  const isIdle = () =>
    idleTimeout !== undefined && attempts.all.size === 0 && clocks.now() - attempts.lastActiveAt >= idleTimeout

  /** Leases, or none within the idle time. */
  const next = (max: number): Effect.Effect<Option.Option<NonEmptyReadonlyArray<Lease>>, BrokerError> =>
    idleTimeout === undefined
      ? Effect.asSome(consumer.reserve(max))
      : Effect.timeoutOption(
        consumer.reserve(max),
        attempts.all.size === 0 ? Math.max(attempts.lastActiveAt + idleTimeout - clocks.now(), 0) : idleTimeout
      )

  const end = (reason: StopReason) =>
    Effect.suspend(() => {
      ending.reason = reason
      return Cause.done()
    })

  const pull = Effect.gen(function*(): Effect.fn.Return<NonEmptyReadonlyArray<Lease>, BrokerError | Cause.Done> {
    while (attempts.settled < maxJobs) {
      attempts.changed.closeUnsafe()
      const max = attempts.capacity
      if (max <= 0) {
        yield* attempts.changed.await
      } else {
        const leases = yield* next(max)
        if (Option.isSome(leases)) return leases.value
        if (isIdle()) {
          // while the broker is unreachable it is unknown whether there are jobs
          if (yield* Effect.isSuccess(broker.ping)) return yield* end("IdleTimeout")
          attempts.markActive()
        }
      }
      // ended attempts are settled first: then both commands leave in one write, and the connection is free to wait
      yield* Effect.yieldNow
    }
    return yield* end("MaxJobs")
  })

  return Stream.fromPull(Effect.succeed(pull))
}
