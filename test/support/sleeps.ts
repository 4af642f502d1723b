/** The clock of the machine, which tells of those who sleep on it: whoever sleeps has found nothing to do. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** A clock, and how to wait until somebody has begun to sleep on it `count` times, for no longer than `longest` each. */
export const make = Effect.map(Clock.Clock, (real) => {
  let onSleep = (_: number) => {}
  const sleep = (duration: Duration.Duration) =>
    Effect.suspend(() => {
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
  return { clock, begun }
})
