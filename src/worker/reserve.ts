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

/**
 * After reserves of this many jobs other fibers get their turn. A broker in the same process, and a handler that ends at
 * once, need no turn of the event loop; without this the worker would take all.
 */
const maxPerTurn = 64

/** Streams the leases of a worker. */
export const reserve = ({ attempts, broker, clocks, consumer, ending, settings }: Parts): Stream.Stream<
  Lease,
  BrokerError
> => {
  const { idleTimeout, maxJobs } = settings

  const end = (reason: StopReason) =>
    Effect.suspend(() => {
      ending.reason = reason
      return Cause.done()
    })

  /** Leases, or the end of the worker if none come within the idle time. */
  const reserveUntilIdle = Effect.fnUntraced(function*(
    max: number,
    idleTimeout: number
  ): Effect.fn.Return<NonEmptyReadonlyArray<Lease>, BrokerError | Cause.Done> {
    const isIdleFor = attempts.all.size === 0 ? clocks.now() - attempts.lastActiveAt : 0
    const leases = yield* Effect.timeoutOption(consumer.reserve(max), Math.max(idleTimeout - isIdleFor, 0))
    if (Option.isSome(leases)) return leases.value
    if (attempts.all.size === 0 && clocks.now() - attempts.lastActiveAt >= idleTimeout) {
      // while the broker is unreachable it is unknown whether there are jobs
      if (yield* Effect.isSuccess(broker.ping)) return yield* end("IdleTimeout")
      attempts.markActive()
    }
    return yield* pull
  })

  /** Whether the worker can take more leases, or has settled enough jobs. */
  const mayGoOn = () => attempts.capacity > 0 || attempts.settled >= maxJobs

  // The first step waits for its turn, so that the fiber that forks this one can be interrupted.
  let asked = maxPerTurn

  const pull: Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError | Cause.Done> = Effect.suspend(() => {
    if (attempts.settled >= maxJobs) return end("MaxJobs")
    const max = attempts.capacity
    if (max <= 0) return Effect.andThen(attempts.changed.until(mayGoOn), pull)
    if (asked >= maxPerTurn || (asked > 0 && attempts.running > 0)) {
      asked = 0
      return Effect.andThen(Effect.yieldNow, pull)
    }
    asked += max
    return idleTimeout === undefined ? consumer.reserve(max) : reserveUntilIdle(max, idleTimeout)
  })

  return Stream.fromPull(Effect.succeed(pull))
}
