/**
 * Replays a retry schedule from its start to a failed attempt, since attempts of
 * one job run in different processes and a schedule can't keep its state.
 *
 * It uses the clock and keeps nothing. It replays at most {@link maxReplayed}
 * attempts: see `Job.retryDelay`.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"

/** How many attempts of a schedule are replayed at most: by then a schedule has settled, and a broker may report any number. */
const maxReplayed = 10_000

/** The oldest age of a job: a hundred years. A schedule of a calendar fails for dates far beyond that. */
const maxAgeMillis = 36_525 * 86_400_000

/** A delay of the user's schedule, which may be negative, infinite or NaN. */
const millisOf = (delay: Duration.Duration): number =>
  Math.min(Math.max(Duration.toMillis(delay), 0) || 0, maxAgeMillis)

/** The delays of all steps but the last, in milliseconds; `undefined` when the schedule ends before. */
const delaysBefore = Effect.fnUntraced(function*(
  schedule: Schedule.Schedule<unknown, any, unknown>,
  steps: number,
  failure: unknown
): Effect.fn.Return<ReadonlyArray<number> | undefined, unknown> {
  const step = yield* Schedule.toStep(schedule)
  const delays: Array<number> = []
  let elapsed = 0
  for (let i = 1; i < steps; i++) {
    const next = yield* Pull.catchDone(step(elapsed, failure), () => Effect.undefined)
    if (next === undefined) return undefined
    const delay = millisOf(next[1])
    delays.push(delay)
    elapsed = Math.min(elapsed + delay, maxAgeMillis)
  }
  return delays
})

/** The delay after a failed attempt, or `undefined` when the schedule ends. `Job.retryDelay` describes it. */
export const delayAfter = Effect.fnUntraced(function*(
  schedule: Schedule.Schedule<unknown, any, unknown>,
  attempt: number,
  failure: unknown
): Effect.fn.Return<Duration.Duration | undefined, unknown> {
  const delays = yield* delaysBefore(schedule, Math.min(attempt, maxReplayed), failure)
  if (delays === undefined) return undefined
  const more = attempt > maxReplayed ? Math.min(attempt, Number.MAX_SAFE_INTEGER) - maxReplayed : 0
  const skipped = more * (delays.at(-1) ?? 0)
  const now = yield* Clock.currentTimeMillis
  const step = yield* Schedule.toStep(schedule)
  let at = now - Math.min(delays.reduce((sum, delay) => sum + delay, skipped), maxAgeMillis)
  for (let i = 0; i < delays.length; i++) {
    const next = yield* Pull.catchDone(step(at, failure), () => Effect.undefined)
    if (next === undefined) return undefined
    // the skipped time comes first, so that a schedule of fixed times is on time again at the end
    at = Math.min(at + delays[i]! + (i === 0 ? skipped : 0), now)
  }
  const last = yield* Pull.catchDone(step(now, failure), () => Effect.undefined)
  return last?.[1]
})
