/**
 * The statistics of queues: their jobs by state, the age of the next job, and
 * rates, as a table or as JSON.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BrokerError } from "../../BrokerError.ts"
import type { Inspector, QueueStats } from "../../Inspector.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import * as Operator from "../../Operator.ts"
import { table } from "./table.ts"
import { rate, shortDuration } from "./text.ts"

/** Jobs in and out per second. */
export interface Rates {
  /** Put, by publishers or by a move. */
  readonly in: number
  /** Done, deleted, or moved away. */
  readonly out: number
}

/** The statistics of a queue. */
export interface QueueNumbers extends QueueStats {
  /** The age of the next job; `undefined` if none is ready. */
  readonly nextAge: Duration.Duration | undefined
  /** `undefined` if not measured. */
  readonly rates: Rates | undefined
}

/** The broker's own statistics of queues at one time. */
export interface Count {
  /** Milliseconds of the monotonic clock. */
  readonly at: number
  readonly queues: ReadonlyArray<QueueStats>
}

/** All statistics of queues at one time. */
export interface Sample extends Count {
  readonly queues: ReadonlyArray<QueueNumbers>
}

const orGone = <A, E extends BrokerError, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchReason(effect as Effect.Effect<A, BrokerError, R>, "BrokerError", "NotFound", () => Effect.undefined)

const nextAge = Effect.fnUntraced(function*({ queue, ready }: QueueStats) {
  if (ready === 0) return undefined
  const next = yield* Operator.peekNext(queue, "ready")
  if (Option.isNone(next)) return undefined
  return (yield* orGone(Operator.statsJob(next.value.id)))?.age
})

/** Enough requests at once that they are sent and answered in batches. */
export const manyAtOnce = { concurrency: 256 } as const

const count = Effect.fnUntraced(function*(
  names: ReadonlyArray<string>
): Effect.fn.Return<Count, BrokerError, Inspector> {
  const stats = names.length > 0 ? Operator.statsQueue : (name: string) => orGone(Operator.statsQueue(name))
  const wanted = names.length > 0 ? names : Array.from(yield* Operator.queues).sort()
  const queues = yield* Effect.forEach(wanted, stats, manyAtOnce)
  const at = monotonicMillis(yield* Clock.Clock)
  return { at, queues: queues.filter((one) => one !== undefined) }
})

/**
 * Samples the named queues, or all queues sorted by name. A queue that vanishes
 * meanwhile is omitted, but a named queue must exist.
 */
export const sample = Effect.fnUntraced(function*(
  names: ReadonlyArray<string> = []
): Effect.fn.Return<Sample, BrokerError, Inspector> {
  const { at, queues } = yield* count(names)
  const ages = yield* Effect.forEach(queues, nextAge, manyAtOnce)
  return { at, queues: queues.map((stats, i) => ({ ...stats, nextAge: ages[i], rates: undefined })) }
})

const held = ({ buried, delayed, ready, reserved }: QueueStats) => ready + delayed + reserved + buried

/** The rates between two samples of a queue. */
export const ratesBetween = (before: QueueStats, after: QueueStats, seconds: number): Rates | undefined => {
  const came = after.total - before.total
  // the queue was deleted and created again, so no rate is known
  if (came < 0 || seconds <= 0) return undefined
  return { in: came / seconds, out: Math.max(0, came - (held(after) - held(before))) / seconds }
}

/** The later of two samples, with the rates since the first. */
export const withRates = (before: Count, after: Sample): Sample => {
  const seconds = (after.at - before.at) / 1000
  const earlier = new Map(before.queues.map((queue) => [queue.queue, queue]))
  return {
    at: after.at,
    queues: after.queues.map((queue) => {
      const then = earlier.get(queue.queue)
      return { ...queue, rates: then === undefined ? undefined : ratesBetween(then, queue, seconds) }
    })
  }
}

/** Samples queues; unless the time is zero, twice, to measure the rates. */
export const sampleFor = Effect.fnUntraced(function*(
  time: Duration.Duration,
  names: ReadonlyArray<string> = []
): Effect.fn.Return<Sample, BrokerError, Inspector> {
  if (Duration.isZero(time)) return yield* sample(names)
  const before = yield* count(names)
  yield* Effect.sleep(time)
  return withRates(before, yield* sample(names))
})

const optional = <A>(value: A | undefined, show: (value: A) => string): string =>
  value === undefined ? "-" : show(value)

type Column = readonly [title: string, cell: (queue: QueueNumbers) => string | number]

const columns: ReadonlyArray<Column> = [
  ["queue", ({ queue }) => queue],
  ["ready", ({ ready }) => ready],
  ["delayed", ({ delayed }) => delayed],
  ["reserved", ({ reserved }) => reserved],
  ["buried", ({ buried }) => buried],
  ["idle", ({ idleWorkers }) => idleWorkers],
  ["next", ({ nextAge }) => optional(nextAge, shortDuration)]
]

const rateColumns: ReadonlyArray<Column> = [
  ["in/s", ({ rates }) => optional(rates, (rates) => rate(rates.in))],
  ["out/s", ({ rates }) => optional(rates, (rates) => rate(rates.out))]
]

const isPaused = ({ pausedFor }: QueueNumbers): boolean => !Duration.isZero(pausedFor)

/** Queues as lines of a table. Omits empty columns, because a terminal may have only 80 characters. */
export const queueTable = (queues: ReadonlyArray<QueueNumbers>): ReadonlyArray<string> => {
  if (queues.length === 0) return ["there are no queues"]
  const shown: ReadonlyArray<Column> = [
    ...columns,
    ...(queues.some(({ rates }) => rates !== undefined) ? rateColumns : []),
    ["total", ({ total }) => total],
    ...(queues.some(isPaused)
      ? [["paused", (queue) => isPaused(queue) ? shortDuration(queue.pausedFor) : "-"] satisfies Column]
      : [])
  ]
  return table(shown.map(([title]) => title), queues.map((queue) => shown.map(([, cell]) => cell(queue))))
}

/** A queue as JSON. */
export const encodeQueue = ({ nextAge, pausedFor, rates, ...stats }: QueueNumbers) => ({
  ...stats,
  pausedFor: Duration.toMillis(pausedFor),
  nextAge: nextAge === undefined ? null : Duration.toMillis(nextAge),
  rates: rates ?? null
})
