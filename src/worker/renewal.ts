/**
 * Looks after the leases in hand: renews them before their time to run is over,
 * and ends attempts that take too long. One sleeping fiber for all of them,
 * which wakes when the next one is due; while nothing runs it does not wake.
 */
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

/** May the time limit of this attempt still end it? */
const limited = (entry: Entry) =>
  entry.limit !== undefined && entry.verdict === undefined && entry.interruption === undefined

/** Makes a caretaker. */
export const make = (options: {
  readonly consumer: Consumer
  readonly inFlight: InFlight
  readonly touch: boolean
  readonly now: () => number
}): Caretaker => {
  const { consumer, inFlight, now } = options
  const earlier = Latch.makeUnsafe(false)
  let wakeAt = Infinity

  // an answer that did not come says nothing of the lease: whoever closed the connection tells what is lost
  const failed = (entry: Entry, error: BrokerError) => {
    if (error.reason._tag === "Unavailable" || error.reason._tag === "OutOfMemory") {
      watch(entry.touchAt = now() + inspectAfter)
    } else inFlight.interrupt(entry, { _tag: "Lost", handled: false, error })
  }

  const inspect = Effect.fnUntraced(function*(entries: ReadonlyArray<Entry>) {
    for (const entry of entries) entry.touchAt = Infinity
    const answers = yield* consumer.inspect(entries.map((entry) => entry.lease))
    for (let i = 0; i < entries.length; i++) {
      const answer = answers[i]!
      const entry = entries[i]!
      if (Result.isFailure(answer)) failed(entry, answer.failure)
      else {
        entry.info = answer.success
        watch(entry.touchAt = entry.leasedAt + touchInterval(answer.success))
      }
    }
  })

  const touch = Effect.fnUntraced(function*(entries: ReadonlyArray<Entry>) {
    const sentAt = now()
    for (const entry of entries) entry.touchAt = sentAt + touchInterval(entry.info!)
    const answers = yield* consumer.touch(entries.map((entry) => entry.lease))
    for (let i = 0; i < entries.length; i++) {
      const answer = answers[i]!
      const entry = entries[i]!
      if (Result.isFailure(answer)) failed(entry, answer.failure)
    }
  })

  const watch = (at: number) => {
    if (at < wakeAt) {
      wakeAt = at
      earlier.openUnsafe()
    }
  }

  // a lease is looked after until its settlement is under way, also when its handler has ended
  const held = () => [...inFlight.entries].filter((entry) => !entry.settling)

  // the broker is asked in fibers of their own: one connection that does not answer holds up no other lease
  const tend = Effect.gen(function*() {
    const at = now()
    const all = held()
    for (const entry of all) {
      if (limited(entry) && entry.limit!.at <= at) inFlight.interrupt(entry, entry.limit!.interruption)
    }
    const due = all.filter((entry) => entry.touchAt <= at)
    const unknown = due.filter((entry) => entry.info === undefined)
    const known = due.filter((entry) => entry.info !== undefined)
    if (unknown.length > 0) yield* Effect.forkChild(inspect(unknown))
    if (known.length > 0) yield* Effect.forkChild(touch(known))
    yield* Effect.yieldNow
  })

  const nextDue = (): number => {
    let next = Infinity
    for (const entry of held()) {
      if (entry.touchAt < next) next = entry.touchAt
      if (limited(entry) && entry.limit!.at < next) next = entry.limit!.at
    }
    return next
  }

  // what is due is computed anew only after a wake-up: jobs that ended in between cost nothing
  const run = Effect.gen(function*() {
    while (true) {
      earlier.closeUnsafe()
      const wait = wakeAt - now()
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
    watch,
    run
  }
}
