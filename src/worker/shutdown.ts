/**
 * The end of a worker.
 *
 * When it ends by itself (`idleTimeout`, `maxJobs`) it waits for all attempts in
 * progress. When it is stopped or interrupted, it requeues jobs that have not
 * started at once, lets handlers run for the grace time, then interrupts and
 * requeues the rest. When the broker stays away, handlers may run until their
 * leases are over for certain; then the worker interrupts the rest and fails.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { defaultTtr } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import { formatCounts } from "../Outcome.ts"
import type { Parts } from "./parts.ts"
import { settleNext } from "./settle.ts"
import { log } from "./telemetry.ts"

/** How long an interrupted handler may clean up after the grace time. */
const maxCleanupMillis = 10_000

/** Waits until all attempts are settled. */
const allSettled = ({ attempts }: Parts): Effect.Effect<void> => attempts.changed.until(() => attempts.all.size === 0)

/** Requeues jobs that have not started, and after the grace time those that have not ended. */
const requeueAll = Effect.fnUntraced(function*({ attempts, settings }: Parts) {
  attempts.endWaiting({ _tag: "Requeue" })
  yield* Effect.sleep(settings.grace)
  if (attempts.running > 0) {
    yield* log("Warn", `requeued, because they did not finish within the grace time: ${attempts.running} jobs`)
  }
  for (const attempt of attempts.all) attempt.interrupt({ _tag: "Requeue" })
  yield* Effect.sleep(maxCleanupMillis)
})

/**
 * Waits until every lease is over, although nothing can renew it, and interrupts
 * the handlers that still run: another worker may have their jobs by then.
 */
const loseAll = Effect.fnUntraced(function*({ attempts }: Parts) {
  const ttrs = Array.from(attempts.all, ({ info }) => Duration.toMillis(info?.ttr ?? defaultTtr))
  yield* Effect.sleep(Math.max(0, ...ttrs))
  attempts.loseAll()
  yield* Effect.sleep(maxCleanupMillis)
})

/** Runs `admitAll` until it ends or `options.stop` completes, then waits for the attempts in progress. */
export const runUntilStopped = (parts: Parts, admitAll: Effect.Effect<void, BrokerError>): Effect.Effect<void> => {
  const { attempts, ending, settings } = parts
  return Effect.raceFirst(admitAll, settings.stop).pipe(
    Effect.andThen(
      Effect.suspend(() =>
        ending.reason === "Stopped" ? Effect.raceFirst(allSettled(parts), requeueAll(parts)) : allSettled(parts)
      )
    ),
    Effect.matchCauseEffect({
      onSuccess: () => Effect.sync(() => attempts.end(Exit.fail(Cause.Done()))),
      onFailure: (cause) => {
        ending.isBrokerAway = true
        return Effect.map(
          Effect.raceFirst(allSettled(parts), loseAll(parts)),
          () => attempts.end(Exit.failCause(cause))
        )
      }
    })
  )
}

/** Settles the attempts in progress when the worker is interrupted. */
export const finish = (parts: Parts): Effect.Effect<void> => {
  const { attempts } = parts
  const settleRest = Effect.whileLoop({
    while: () => attempts.all.size > 0,
    body: () => settleNext(parts, attempts.nextEnded),
    step: () => {}
  })
  return Effect.raceFirst(settleRest, requeueAll(parts)).pipe(
    Effect.ignore,
    Effect.andThen(Effect.suspend(() => log("Info", `worker stopped: ${formatCounts(attempts.countsSoFar())}`)))
  )
}
