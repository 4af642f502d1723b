/**
 * Looks after the leases in hand: renews them before their time to run is over,
 * and ends attempts that take too long. One sleeping fiber for all of them,
 * which wakes when the next one is due; while nothing runs it does not wake.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type { Consumer, LeaseInfo } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Entry, InFlight } from "./inFlight.ts"

/**
 * How long a delivery may run before the broker is asked for its time to run,
 * where that is unknown. Shorter than half the shortest one (beanstalkd: 1 s),
 * and long enough that a quick job costs nothing.
 */
const inspectAfter = 400

/** Half the time to run: one lost renewal still leaves room for another. */
const touchInterval = (info: LeaseInfo): number => Math.max(Duration.toMillis(info.ttr) / 2, 1)

/** Looks after the leases in hand. */
export interface Caretaker {
  /** When a new delivery has to be looked after for the first time. */
  readonly firstTouchAt: (leasedAt: number, info: LeaseInfo | undefined) => number
  /** To be told when something may be due earlier than what was known. */
  readonly watch: (at: number) => void
  /** Runs for ever. */
  readonly run: Effect.Effect<never>
}

/** Makes a caretaker. */
export const make = Effect.fnUntraced(function*(options: {
  readonly consumer: Consumer
  readonly inFlight: InFlight
  readonly touch: boolean
}): Effect.fn.Return<Caretaker> {
  const { consumer, inFlight } = options
  const clock = yield* Clock.Clock
  const earlier = Latch.makeUnsafe(false)
  let wakeAt = Infinity

  // an answer that did not come says nothing of the lease: whoever closed the connection tells what is lost
  const failed = (entry: Entry, error: BrokerError) => {
    if (error.reason._tag === "Unavailable") entry.touchAt = clock.currentTimeMillisUnsafe() + inspectAfter
    else inFlight.interrupt(entry, { _tag: "Lost", handled: false, error })
  }

  const inspect = Effect.fnUntraced(function*(entries: ReadonlyArray<Entry>) {
    const answers = yield* consumer.inspect(entries.map((entry) => entry.lease))
    for (let i = 0; i < entries.length; i++) {
      const answer = answers[i]!
      const entry = entries[i]!
      if (Result.isFailure(answer)) failed(entry, answer.failure)
      else {
        entry.info = answer.success
        entry.touchAt = entry.leasedAt + touchInterval(answer.success)
      }
    }
  })

  const touch = Effect.fnUntraced(function*(entries: ReadonlyArray<Entry>) {
    const now = clock.currentTimeMillisUnsafe()
    const answers = yield* consumer.touch(entries.map((entry) => entry.lease))
    for (let i = 0; i < entries.length; i++) {
      const answer = answers[i]!
      const entry = entries[i]!
      if (Result.isFailure(answer)) failed(entry, answer.failure)
      else entry.touchAt = now + touchInterval(entry.info!)
    }
  })

  const held = () => [...inFlight.entries].filter((entry) => entry.verdict === undefined)
  const touchable = (now: number) => held().filter((entry) => entry.touchAt <= now)

  const tend = Effect.gen(function*() {
    const now = clock.currentTimeMillisUnsafe()
    for (const entry of held()) {
      if (entry.limit !== undefined && entry.limit.at <= now) inFlight.interrupt(entry, entry.limit.interruption)
    }
    const unknown = touchable(now).filter((entry) => entry.info === undefined)
    if (unknown.length > 0) yield* inspect(unknown)
    const due = touchable(clock.currentTimeMillisUnsafe())
    if (due.length > 0) yield* touch(due)
  })

  const nextDue = (): number => {
    let next = Infinity
    for (const entry of held()) {
      if (entry.touchAt < next) next = entry.touchAt
      if (entry.limit !== undefined && entry.interruption === undefined && entry.limit.at < next) next = entry.limit.at
    }
    return next
  }

  // what is due is computed anew only after a wake-up: jobs that ended in between cost nothing
  const run = Effect.gen(function*() {
    while (true) {
      earlier.closeUnsafe()
      const wait = wakeAt - clock.currentTimeMillisUnsafe()
      if (wakeAt === Infinity) {
        yield* earlier.await
      } else if (wait > 0) {
        yield* Effect.timeoutOption(earlier.await, wait)
      } else {
        yield* tend
        wakeAt = nextDue()
      }
    }
  }) as Effect.Effect<never>

  return {
    firstTouchAt: (leasedAt, info) =>
      options.touch ? leasedAt + (info === undefined ? inspectAfter : touchInterval(info)) : Infinity,
    watch: (at) => {
      if (at < wakeAt) {
        wakeAt = at
        earlier.openUnsafe()
      }
    },
    run
  }
})
