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
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { BrokerError, BrokerErrorReason } from "../../BrokerError.ts"
import type { PublishError } from "../../Publisher.ts"

const passing: ReadonlySet<string> = new Set<BrokerErrorReason["_tag"]>([
  "Unavailable",
  "Draining",
  "OutOfMemory",
  "ProtocolViolation"
])

const schedule = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered,
  Schedule.setInputType<BrokerError | PublishError>(),
  Schedule.while(({ input }) => passing.has(input.reason._tag)),
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
