/**
 * Decides what happens to a job from the results of its pushes. Pure.
 *
 * | action of the failure | the push | retry |
 * |---|---|---|
 * | `DropToken`, `CheckToken` | ends once the target is reported | if the report fails: by the job's schedule, for at least a day |
 * | `Discard` | has ended | |
 * | `Retry`, `Reconnect` | was not processed | by the job's schedule, and not before the service's delay, without end |
 * | `RetryMayDuplicate` | may have been processed | by the job's schedule, for at least a day; none with `"Drop"` |
 * | `RetryLater` | was deferred by the service | after the service's delay, doubled each time, for at least a day |
 * | `FixConfiguration`, `RenewAuthorization` | is kept | every 5 minutes, without end |
 * | `FixNotification`, `DropChannel`, `ReportBug` | can't succeed | buried |
 * | none: the attempt was interrupted | may have been processed | at once; none with `"Drop"` |
 *
 * Retries "without end" are not the job's fault: a network outage or a wrong key
 * buries no job. The broker counts these attempts too, so the schedule may have
 * ended when a push first reaches the service. Hence at least a day.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Order from "effect/Order"
import * as Result from "effect/Result"
import type { Action } from "./Action.ts"
import type { NotReported } from "./DeadTargets.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** What to do with a push that may have been processed: send it again, or not. */
export type OnUnknown = "Repeat" | "Drop"

/** A service's error for a push that was not accepted. */
export interface Failure {
  readonly message: string
  readonly action: Action
  /** How long to wait before a retry, if the service says so. */
  readonly delay: Duration.Duration | undefined
}

/** A push and its result. `T` is the target, `E` the service's error. */
export interface Ended<out T, out E> {
  readonly target: T
  readonly result: Result.Result<unknown, E>
}

/** A push that failed. */
export interface Failed<out T, out E> {
  readonly target: T
  readonly error: E
}

/** A push that has not ended. */
export interface Unfinished<out T, out E> {
  readonly target: T
  readonly error: E | NotReported
  /** The rule that applies to it. */
  readonly by: RuleName
}

/** A job's pushes, sorted by what to do next. */
export interface Sorted<out T, out E> {
  readonly accepted: number
  /** Pushes to dead targets. */
  readonly dead: ReadonlyArray<Failed<T, E>>
  /** Pushes that expired, or that must not be sent again. */
  readonly dropped: ReadonlyArray<Failed<T, E>>
  readonly rest: ReadonlyArray<Unfinished<T, E>>
}

/** Unfinished pushes that share their next step. */
export interface Part<out T, out E> {
  readonly targets: Arr.NonEmptyReadonlyArray<T>
  /** The delay before the retry; zero for buried pushes. */
  readonly delay: Duration.Duration
  /** The reason, for logs and brokers. */
  readonly reason: string
  /** The failure with the longest delay. */
  readonly error: E | NotReported
}

/** The next step of the unfinished pushes. */
export interface Next<out T, out E> {
  readonly again: Part<T, E> | undefined
  /** Pushes that can't succeed, or whose retries are exhausted. They are buried apart from the others. */
  readonly buried: Part<T, E> | undefined
}

/** The progress of a job. */
export interface Progress {
  /** The number of the attempt: 1 for the first. */
  readonly attempt: number
  /** The delay that the job's schedule gives after this attempt; `undefined` at its end. */
  readonly scheduled: Duration.Duration | undefined
  /** Whether the job was published longer ago than {@link minRetryPeriod}. */
  readonly isOld: boolean
}

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/** The interval of retries after a configuration fault, and after the end of the schedule. */
export const fixDelay = Duration.minutes(5)

/** A job that reaches the service is retried for at least this long after its publication, even beyond its schedule. */
export const minRetryPeriod = Duration.days(1)

/** Doubling does not exceed this delay. */
const maxDoubledDelay = Duration.hours(1)

/** The service's delay, doubled for each attempt. */
const doubled = (delay: Duration.Duration, attempt: number): Duration.Duration =>
  Duration.max(delay, Duration.min(Duration.times(delay, 2 ** Math.min(attempt - 1, 20)), maxDoubledDelay))

const withinRetryPeriod = ({ isOld, scheduled }: Progress) => scheduled ?? (isOld ? undefined : fixDelay)

/** The delay before a retry; `undefined` to bury the push. `asked` is the service's delay. */
type Delay = (progress: Progress, asked: Duration.Duration) => Duration.Duration | undefined

/** The rule for a push that was not accepted: it ends, or it is retried. */
type Rule =
  | { readonly over: "Dead" | "Dropped" }
  | {
    readonly delay: Delay
    /** Whether the push may have been processed, so that a retry may duplicate it. */
    readonly mayDuplicate: boolean
  }

const again = (delay: Delay): Rule => ({ delay, mayDuplicate: false })

const reported: Rule = { over: "Dead" }
const withoutEnd = again(({ scheduled }, asked) => Duration.max(scheduled ?? fixDelay, asked))
const untilFixed = again(() => fixDelay)
const bury = again(() => undefined)

/** The rules by action, and those for interrupted pushes and unreported targets. */
const rules = {
  DropToken: reported,
  CheckToken: reported,
  Discard: { over: "Dropped" },
  Retry: withoutEnd,
  Reconnect: withoutEnd,
  RetryMayDuplicate: { delay: withinRetryPeriod, mayDuplicate: true },
  RetryLater: again((progress, asked) => {
    const delay = withinRetryPeriod(progress)
    return delay && Duration.max(delay, doubled(asked, progress.attempt))
  }),
  FixConfiguration: untilFixed,
  RenewAuthorization: untilFixed,
  FixNotification: bury,
  DropChannel: bury,
  ReportBug: bury,
  Interrupted: { delay: () => Duration.zero, mayDuplicate: true },
  NotReported: again(withinRetryPeriod)
} satisfies Record<Action, Rule> & Record<string, Rule>

/** The name of a rule: an action, or what happened instead of an answer. */
export type RuleName = keyof typeof rules

const ruleOf = (name: RuleName): Rule => rules[name]

// -----------------------------------------------------------------------------
// Sorting
// -----------------------------------------------------------------------------

/** Whether the failure is a configuration fault, which an operator must fix. */
export const isConfigFault = ({ by }: Unfinished<unknown, unknown>): boolean => ruleOf(by) === untilFixed

/** Dead targets whose report failed. Another push to them gets the same answer. */
export const unreported = <T, E>(
  dead: ReadonlyArray<Failed<T, E>>,
  error: NotReported
): ReadonlyArray<Unfinished<T, E>> => dead.map(({ target }) => ({ target, error, by: "NotReported" }))

/** Sorts a job's pushes by what to do next. Pushes without a result fail with `interrupted`. */
export const sort = <T, E extends Failure>(
  targets: ReadonlyArray<T>,
  ended: ReadonlyArray<Ended<T, E>>,
  { interrupted, onUnknown }: { readonly interrupted: E; readonly onUnknown: OnUnknown }
): Sorted<T, E> => {
  const dead: Array<Failed<T, E>> = []
  const dropped: Array<Failed<T, E>> = []
  const rest: Array<Unfinished<T, E>> = []
  let accepted = 0
  const put = (target: T, error: E, by: RuleName) => {
    const rule = ruleOf(by)
    if ("over" in rule) (rule.over === "Dead" ? dead : dropped).push({ target, error })
    else if (rule.mayDuplicate && onUnknown === "Drop") dropped.push({ target, error })
    else rest.push({ target, error, by })
  }
  for (const { result, target } of ended) {
    if (Result.isSuccess(result)) accepted++
    else put(target, result.failure, result.failure.action)
  }
  if (ended.length < targets.length) {
    const answered = new Set(ended.map(({ target }) => target))
    for (const target of targets) if (!answered.has(target)) put(target, interrupted, "Interrupted")
  }
  return { accepted, dead, dropped, rest }
}

// -----------------------------------------------------------------------------
// The next step
// -----------------------------------------------------------------------------

const askedBy = (error: Failure | NotReported): Duration.Duration =>
  ("delay" in error ? error.delay : undefined) ?? Duration.zero

/** The delay before the retry of a failed push; `undefined` to bury it. */
const delayAfter = ({ by, error }: Unfinished<unknown, Failure>, progress: Progress): Duration.Duration | undefined => {
  const rule = ruleOf(by)
  return "over" in rule ? undefined : rule.delay(progress, askedBy(error))
}

/** A push and the delay before its retry. */
interface Timed<out T, out E> extends Unfinished<T, E> {
  readonly delay: Duration.Duration
}

const byDelay = Order.mapInput(Duration.Order, ({ delay }: Timed<unknown, unknown>) => delay)

/** Joins pushes with the longest of their delays. `total` counts the pushes of the job. */
const together = <T, E extends Failure>(pushes: ReadonlyArray<Timed<T, E>>, total: number): Part<T, E> | undefined => {
  if (!Arr.isReadonlyArrayNonEmpty(pushes)) return undefined
  const { delay, error } = Arr.max(pushes, byDelay)
  const count = total === 1 ? "" : `${pushes.length} of ${total} pushes: `
  return { targets: Arr.map(pushes, ({ target }) => target), delay, reason: `${count}${error.message}`, error }
}

/** Decides the next step of the unfinished pushes. `total` counts the pushes of the job. */
export const next = <T, E extends Failure>(
  rest: ReadonlyArray<Unfinished<T, E>>,
  total: number,
  progress: Progress
): Next<T, E> => {
  const again: Array<Timed<T, E>> = []
  const buried: Array<Timed<T, E>> = []
  for (const unfinished of rest) {
    const delay = delayAfter(unfinished, progress)
    if (delay === undefined) buried.push({ ...unfinished, delay: Duration.zero })
    else again.push({ ...unfinished, delay })
  }
  return { again: together(again, total), buried: together(buried, total) }
}
