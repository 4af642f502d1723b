/**
 * Asks a broker until it does what it is asked.
 *
 * Once pushes were made their job can't just fail: it would be tried again as a
 * whole, and what the service has accepted would go out a second time. So a broker
 * that is full, or drains, or is away, is asked again, every 10 seconds in the
 * end, while the worker renews the job's lease. Interruption ends it, and an
 * answer that will stay the same.
 *
 * A broker that is full stays full while nobody takes from it: jobs that wait
 * here delete nothing. The log says so.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { BrokerError, BrokerErrorReason } from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import type { PublishError } from "../../Publisher.ts"

const transient: ReadonlySet<string> = new Set<BrokerErrorReason["_tag"]>([
  "Unavailable",
  "Draining",
  "OutOfMemory",
  "ProtocolViolation"
])

const pauses: Limits = { firstMillis: 200, longestMillis: 10_000 }

const schedule = Schedule.forever.pipe(
  Schedule.modifyDelay(({ attempt }) =>
    Effect.map(Random.nextBetween(0.8, 1.2), (jitter) => Duration.millis(pauseMillis(attempt, jitter, pauses)))
  ),
  Schedule.setInputType<BrokerError | PublishError>(),
  Schedule.while(({ input }) => transient.has(input.reason._tag)),
  Schedule.tap(({ attempt, input }) =>
    attempt === 1
      ? Effect.logWarning(
        `the broker is asked again until it answers, so that nothing is pushed twice: ${input.message}`
      )
      : Effect.void
  )
)

/** Repeats what fails because of the state that the broker is in. */
export const untilAccepted = <A, E extends BrokerError | PublishError, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.retry(effect, schedule)
