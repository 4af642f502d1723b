/** A clock that counts sleeping fibers: a sleeping fiber has found nothing to do. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * The clock of the test, how often somebody has begun to sleep on it, and how to
 * wait until that was so often from now on, for no longer than `longest` each.
 */
export const make = Effect.map(Clock.Clock, (real) => {
  let sleeps = 0
  let onSleep: (millis: number) => void = () => {}
  const sleep = (duration: Duration.Duration) =>
    Effect.suspend(() => {
      sleeps++
      onSleep(Duration.toMillis(duration))
      return real.sleep(duration)
    })
  const clock: Clock.Clock = Object.assign(Object.create(real), { sleep })
  const begun = (count: number, longest: Duration.Input) =>
    Effect.suspend(() => {
      const [enough, limit] = [Deferred.makeUnsafe<void>(), Duration.toMillis(Duration.fromInputUnsafe(longest))]
      let left = count
      onSleep = (millis) => {
        if (millis <= limit && --left === 0) Deferred.doneUnsafe(enough, Effect.void)
      }
      return Deferred.await(enough)
    })
  return { clock, begun, count: () => sleeps }
})
