/** The schedule of retries that jobs get unless the program chooses another. */
import type * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"

/** At most `times` retries. Each delay is twice the one before, and at most 5 minutes. */
export const doubling = (firstDelay: Duration.Input = "1 second", times = 10): Schedule.Schedule<unknown> =>
  Schedule.min([Schedule.exponential(firstDelay), Schedule.spaced("5 minutes")]).pipe(Schedule.upTo({ times }))
