/**
 * Retries a broker operation until the broker accepts it.
 *
 * A job can't just fail once it has sent pushes: the retry would send the accepted
 * ones again. So an operation that fails because the broker is full, drains or is
 * away is retried, at most 10 seconds apart, while the worker renews the job's lease.
 * Interruption and a permanent failure end it.
 *
 * Limit: jobs that wait here free no space in a broker that is full. The first failure
 * is logged.
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
        `the broker operation is retried until it succeeds, so that no push is sent twice: ${input.message}`
      )
      : Effect.void
  )
)

/** Retries an effect while it fails with a transient error of the broker. */
export const untilAccepted = <A, E extends BrokerError | PublishError, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.retry(effect, schedule)
