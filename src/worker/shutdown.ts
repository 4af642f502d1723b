/**
 * How a worker ends.
 *
 * When it ends by itself (idle, enough jobs) it waits for what it has in hand.
 * When it is stopped or interrupted, what has not begun goes back to its queue
 * at once, handlers may go on for the grace time, and what is left then is
 * interrupted and goes back too. When the broker is gone, so are the leases:
 * their handlers are interrupted, and the worker fails.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { BrokerError } from "../BrokerError.ts"
import { formatCounts } from "../Outcome.ts"
import type { Parts } from "./parts.ts"
import { settleNext } from "./settle.ts"
import { log } from "./telemetry.ts"

/** After its grace time an interrupted handler gets this long to clean up. */
const cleanupTime = Duration.seconds(10)

/** Waits until everything in hand is settled. */
const allSettled = ({ attempts }: Parts): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => attempts.all.size > 0,
    body: () => {
      attempts.changed.closeUnsafe()
      return attempts.changed.await
    },
    step: () => {}
  })

/** Requeues what has not begun, and after the grace time what has not ended. */
const wind = Effect.fnUntraced(function*({ attempts, settings }: Parts) {
  attempts.endWaiting({ _tag: "Requeue" })
  yield* Effect.sleep(settings.grace)
  if (attempts.running > 0) {
    yield* log("Warn", `jobs that did not finish within the grace time and are requeued: ${attempts.running}`)
  }
  for (const attempt of attempts.all) attempt.interrupt({ _tag: "Requeue" })
  yield* Effect.sleep(cleanupTime)
})

/** Takes deliveries in until `options.stop` or the end of `intake`, and waits for those in hand. */
export const afterIntake = (parts: Parts, intake: Effect.Effect<void, BrokerError>): Effect.Effect<void> => {
  const { attempts, ending, settings } = parts
  return Effect.raceFirst(intake, settings.stop).pipe(
    Effect.andThen(
      Effect.suspend(() =>
        ending.reason === "Stopped" ? Effect.raceFirst(allSettled(parts), wind(parts)) : allSettled(parts)
      )
    ),
    Effect.matchCauseEffect({
      onSuccess: () => attempts.end,
      onFailure: (cause) => {
        ending.isBrokerAway = true
        return Effect.andThen(allSettled(parts), attempts.fail(cause))
      }
    })
  )
}

/** Settles what is in hand when the worker is interrupted. */
export const finish = (parts: Parts): Effect.Effect<void> => {
  const { attempts } = parts
  const settleRest = Effect.whileLoop({
    while: () => attempts.all.size > 0,
    body: () => settleNext(parts, attempts.takeEnded),
    step: () => {}
  })
  return Effect.raceFirst(settleRest, wind(parts)).pipe(
    Effect.ignore,
    Effect.andThen(Effect.suspend(() => log("Info", `worker stopped: ${formatCounts(attempts.countsSoFar())}`)))
  )
}
