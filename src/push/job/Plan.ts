/**
 * From what became of a job's pushes to what becomes of the job. Pure.
 *
 * | action of the failure | the push | tried again |
 * |---|---|---|
 * | `DropToken`, `CheckToken` | over, once the target is reported | if it can't be: as the job's schedule says, until its end, and for a day at least |
 * | `Discard` | over | |
 * | `Retry`, `Reconnect` | was not processed | as the job's schedule says, without end |
 * | `RetryMayDuplicate` | may have been processed | as the job's schedule says, until its end, and for a day at least; or over, if a second copy is not to be risked |
 * | `RetryLater` | was put off by the service | after the service's time, doubled each time, until the schedule's end, and for a day at least |
 * | `FixConfiguration`, `RenewToken` | is kept | every 5 minutes, without end |
 * | `FixNotification`, `DropChannel`, `ReportBug` | never works | buried |
 * | none, since the attempt was interrupted | may have been processed | at once; or over, if a second copy is not to be risked |
 *
 * What is tried "without end" says nothing against the job: an outage of the
 * network, or a wrong key, buries none. The broker counts those attempts too,
 * so that the schedule may be at its end when a push reaches the service for the
 * first time: hence the day.
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

/** May a push that was perhaps processed be repeated? */
export type OnUnknown = "Repeat" | "Drop"

/** A service's error for a push that was not accepted. */
export interface Failure {
  readonly message: string
  readonly action: Action
  /** How long to wait before the push is tried again, where the service has a say in it. */
  readonly delay: Duration.Duration | undefined
}

/** A push and how it ended. `T` is what was pushed to, `E` the service's error. */
export interface Ended<out T, out E> {
  readonly target: T
  readonly result: Result.Result<unknown, E>
}

/** A push that failed. */
export interface Failed<out T, out E> {
  readonly target: T
  readonly error: E
}

/** A push that is not over. */
export interface Unfinished<out T, out E> {
  readonly target: T
  readonly error: E | NotReported
  /** The rule for it. */
  readonly by: RuleName
}

/** A job's pushes, by what is to be done next. */
export interface Sorted<out T, out E> {
  readonly accepted: number
  /** The target is of no use. */
  readonly dead: ReadonlyArray<Failed<T, E>>
  /** Not wanted any more, or not to be repeated. */
  readonly dropped: ReadonlyArray<Failed<T, E>>
  readonly rest: ReadonlyArray<Unfinished<T, E>>
}

/** Pushes that are not over, and what becomes of them together. */
export interface Part<out T, out E> {
  readonly targets: Arr.NonEmptyReadonlyArray<T>
  /** When they are tried again. Zero for those that are not. */
  readonly delay: Duration.Duration
  /** Why, in words. */
  readonly reason: string
  /** The failure that decided. */
  readonly error: E | NotReported
}

/** What becomes of what is not over. */
export interface Next<out T, out E> {
  readonly again: Part<T, E> | undefined
  /** They will never work, or were tried for long enough: they are buried, and not pushed again with the others. */
  readonly buried: Part<T, E> | undefined
}

/** Where a job stands. */
export interface Progress {
  /** Which attempt it was: 1 for the first. */
  readonly attempt: number
  /** What the job's schedule says after this attempt, `undefined` at its end. */
  readonly scheduled: Duration.Duration | undefined
  /** Was it published longer ago than {@link patience}? */
  readonly isOld: boolean
}

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/** How often it is tried whether the configuration was mended, and how often at the end of the schedule. */
const fixDelay = Duration.minutes(5)

/** For how long after its publication a job that reaches the service is tried again, whatever its schedule says. */
export const minRetryPeriod = Duration.days(1)

/** The longest delay that doubling leads to. */
const maxDoubledDelay = Duration.hours(1)

/** Twice as long each time; no shorter than the service's word in the end. */
const doubled = (delay: Duration.Duration, attempt: number): Duration.Duration =>
  Duration.max(delay, Duration.min(Duration.times(delay, 2 ** Math.min(attempt - 1, 20)), maxDoubledDelay))

const withinRetryPeriod = ({ isOld, scheduled }: Progress) => scheduled ?? (isOld ? undefined : fixDelay)

/** After how long a push is tried again; `undefined` for never: it is buried. `asked` is the service's word. */
type Delay = (progress: Progress, asked: Duration.Duration) => Duration.Duration | undefined

/** What becomes of a push that was not accepted: it is over, or tried again. */
type Rule =
  | { readonly over: "Dead" | "Dropped" }
  | {
    readonly delay: Delay
    /** May it have been processed, so that a second copy is risked? */
    readonly mayDuplicate: boolean
  }

const again = (delay: Delay): Rule => ({ delay, mayDuplicate: false })

const reported: Rule = { over: "Dead" }
const withoutEnd = again(({ scheduled }) => scheduled ?? fixDelay)
const untilFixed = again(() => fixDelay)
const bury = again(() => undefined)

/** The one table: by action, and for pushes that have no answer and targets that could not be reported. */
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
  RenewToken: untilFixed,
  FixNotification: bury,
  DropChannel: bury,
  ReportBug: bury,
  Interrupted: { delay: () => Duration.zero, mayDuplicate: true },
  NotReported: again(withinRetryPeriod)
} satisfies Record<Action, Rule> & Record<string, Rule>

/** Which rule is for a push: its action, or what happened to it instead. */
export type RuleName = keyof typeof rules

const ruleOf = (name: RuleName): Rule => rules[name]

// -----------------------------------------------------------------------------
// Sorting
// -----------------------------------------------------------------------------

/** Is it a fault of the configuration, that somebody has to mend? */
export const isConfigFault = ({ by }: Unfinished<unknown, unknown>): boolean => ruleOf(by) === untilFixed

/** Dead targets that the application could not be told of: the service will give the same answer to another push. */
export const unreported = <T, E>(
  dead: ReadonlyArray<Failed<T, E>>,
  error: NotReported
): ReadonlyArray<Unfinished<T, E>> => dead.map(({ target }) => ({ target, error, by: "NotReported" }))

/** Sorts a job's pushes by what is to be done next. Those without a result were interrupted, and fail with `interrupted`. */
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
// What becomes of the rest
// -----------------------------------------------------------------------------

const askedBy = (error: Failure | NotReported): Duration.Duration =>
  ("delay" in error ? error.delay : undefined) ?? Duration.zero

/** When a failed push is tried again; `undefined` for never. */
const delayAfter = ({ by, error }: Unfinished<unknown, Failure>, progress: Progress): Duration.Duration | undefined => {
  const rule = ruleOf(by)
  return "over" in rule ? undefined : rule.delay(progress, askedBy(error))
}

/** A push and when it is tried again. */
interface Timed<out T, out E> extends Unfinished<T, E> {
  readonly delay: Duration.Duration
}

const byDelay = Order.mapInput(Duration.Order, ({ delay }: Timed<unknown, unknown>) => delay)

/** After the longest of their delays. */
const together = <T, E extends Failure>(pushes: ReadonlyArray<Timed<T, E>>, total: number): Part<T, E> | undefined => {
  if (!Arr.isReadonlyArrayNonEmpty(pushes)) return undefined
  const { delay, error } = Arr.max(pushes, byDelay)
  const count = total === 1 ? "" : `${pushes.length} of ${total} pushes: `
  return { targets: Arr.map(pushes, ({ target }) => target), delay, reason: `${count}${error.message}`, error }
}

/** What becomes of what is not over, of so many pushes. */
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
