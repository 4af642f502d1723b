/**
 * From what became of a job's pushes to what becomes of the job. Pure.
 *
 * | action of the failure | the push | tried again |
 * |---|---|---|
 * | `DropToken`, `CheckToken` | over, once the token is reported | if it can't be: as the job's schedule says, until its end, and for a day at least |
 * | `Discard` | over | |
 * | `Retry`, `Reconnect` | was not processed | as the job's schedule says, without end |
 * | `RetryMayDuplicate` | may have been processed | as the job's schedule says, until its end, and for a day at least; or over, if a second copy is not to be risked |
 * | `RetryLater` | was put off by Apple | after Apple's time, doubled each time, until the schedule's end, and for a day at least |
 * | `FixConfiguration`, `RenewToken` | is kept | every 5 minutes, without end |
 * | `FixNotification`, `DropChannel`, `ReportBug` | never works | buried |
 * | none, since the attempt was interrupted | may have been processed | at once; or over, if a second copy is not to be risked |
 *
 * What is tried "without end" says nothing against the job: an outage of the
 * network, or a wrong key, buries none. The broker counts those attempts too,
 * so that the schedule may be at its end when a push reaches Apple for the
 * first time: hence the day.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Order from "effect/Order"
import * as Result from "effect/Result"
import * as ApnsError from "../apns/answer/ApnsError.ts"
import type { Action } from "../apns/answer/Reason.ts"
import type { PushResult } from "../apns/Apns.ts"
import type { NotReported } from "../apns/DeadTokenJob.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** May a push that was perhaps processed be repeated? */
export type OnUnknown = "Repeat" | "Drop"

/** What becomes of a push that was not accepted. */
export type Fate = "Dead" | "Dropped" | "Again" | "Repeat" | "Unanswered" | "Later" | "Kept" | "Never"

/** A push that failed. */
export interface Failed {
  readonly token: string
  readonly error: ApnsError.ApnsError
}

/** A push that is not over. */
export interface Pending {
  readonly token: string
  readonly fate: Fate
  readonly error: ApnsError.ApnsError | NotReported
}

/** A job's pushes, by what is to be done next. */
export interface Sorted {
  readonly accepted: number
  /** The token is of no use. */
  readonly dead: ReadonlyArray<Failed>
  /** Not wanted any more, or not to be repeated. */
  readonly dropped: ReadonlyArray<Failed>
  readonly rest: ReadonlyArray<Pending>
}

/** Pushes that are not over, and what becomes of them together. */
export interface Part {
  readonly tokens: Arr.NonEmptyReadonlyArray<string>
  /** When they are tried again. Zero for those that are not. */
  readonly delay: Duration.Duration
  /** Why, in words. */
  readonly reason: string
  /** The failure that decided. */
  readonly error: Pending["error"]
}

/** What becomes of what is not over. */
export interface Next {
  readonly again: Part | undefined
  /** They will never work, or were tried for long enough: they are buried, and not pushed again with the others. */
  readonly buried: Part | undefined
}

// -----------------------------------------------------------------------------
// Sorting
// -----------------------------------------------------------------------------

const fates: Readonly<Record<Action, Fate>> = {
  DropToken: "Dead",
  CheckToken: "Dead",
  Discard: "Dropped",
  Retry: "Again",
  Reconnect: "Again",
  RetryMayDuplicate: "Repeat",
  RetryLater: "Later",
  FixConfiguration: "Kept",
  RenewToken: "Kept",
  FixNotification: "Never",
  DropChannel: "Never",
  ReportBug: "Never"
}

/** Is it a fault of the configuration, that somebody has to mend? */
export const isConfigFault = ({ fate }: Pending): boolean => fate === "Kept"

/** Dead tokens that the application could not be told of: APNs will give the same answer to another push. */
export const unreported = (dead: ReadonlyArray<Failed>, error: NotReported): ReadonlyArray<Pending> =>
  dead.map(({ token }) => ({ token, fate: "Repeat", error }))

const interrupted = ApnsError.make(new ApnsError.Unknown({ detail: "the attempt was interrupted" }))

/** Sorts a job's pushes by what is to be done next. Those without a result were interrupted. */
export const sort = (
  tokens: ReadonlyArray<string>,
  results: ReadonlyArray<PushResult>,
  onUnknown: OnUnknown
): Sorted => {
  const sorted = { accepted: 0, dead: [] as Array<Failed>, dropped: [] as Array<Failed>, rest: [] as Array<Pending> }
  const put = (token: string, fate: Fate, error: ApnsError.ApnsError) => {
    const isUnknown = fate === "Repeat" || fate === "Unanswered"
    if (fate === "Dead") sorted.dead.push({ token, error })
    else if (fate === "Dropped" || (isUnknown && onUnknown === "Drop")) sorted.dropped.push({ token, error })
    else sorted.rest.push({ token, fate, error })
  }
  for (const { push: { token }, result } of results) {
    if (Result.isSuccess(result)) sorted.accepted++
    else put(token, fates[result.failure.action], result.failure)
  }
  if (results.length < tokens.length) {
    const answered = new Set(results.map(({ push }) => push.token))
    for (const token of tokens) if (!answered.has(token)) put(token, "Unanswered", interrupted)
  }
  return sorted
}

// -----------------------------------------------------------------------------
// Delays
// -----------------------------------------------------------------------------

/** How often it is tried whether the configuration was mended, and how often at the end of the schedule. */
const keptDelay = Duration.minutes(5)

/** For how long after its publication a job that reaches Apple is tried again, whatever its schedule says. */
export const patience = Duration.days(1)

/** The longest delay that doubling leads to. */
const longest = Duration.hours(1)

const delayOf = (error: Pending["error"]): Duration.Duration =>
  "reason" in error && "delay" in error.reason && error.reason.delay !== undefined ? error.reason.delay : Duration.zero

/** Twice as long each time; no shorter than Apple's word in the end. */
const doubled = (delay: Duration.Duration, attempt: number): Duration.Duration =>
  Duration.max(delay, Duration.min(Duration.times(delay, 2 ** Math.min(attempt - 1, 20)), longest))

/** Where a job stands. */
export interface Progress {
  /** Which attempt it was: 1 for the first. */
  readonly attempt: number
  /** What the job's schedule says after this attempt, `undefined` at its end. */
  readonly scheduled: Duration.Duration | undefined
  /** Was it published longer ago than {@link patience}? */
  readonly isOld: boolean
}

/** When a failed push is tried again; `undefined` for never. */
const delayAfter = (
  { error, fate }: Pending,
  { attempt, isOld, scheduled }: Progress
): Duration.Duration | undefined => {
  const patient = scheduled ?? (isOld ? undefined : keptDelay)
  switch (fate) {
    case "Unanswered":
      return Duration.zero
    case "Again":
      return scheduled ?? keptDelay
    case "Repeat":
      return patient
    case "Later":
      return patient && Duration.max(patient, doubled(delayOf(error), attempt))
    case "Kept":
      return keptDelay
    default:
      return undefined
  }
}

/** A push and when it is tried again. */
interface Timed extends Pending {
  readonly delay: Duration.Duration
}

const byDelay = Order.mapInput(Duration.Order, ({ delay }: Timed) => delay)

/** After the longest of their delays. */
const together = (pushes: ReadonlyArray<Timed>, total: number): Part | undefined => {
  if (!Arr.isReadonlyArrayNonEmpty(pushes)) return undefined
  const { delay, error } = Arr.max(pushes, byDelay)
  const count = total === 1 ? "" : `${pushes.length} of ${total} pushes: `
  return { tokens: Arr.map(pushes, ({ token }) => token), delay, reason: `${count}${error.message}`, error }
}

/** What becomes of what is not over, of so many pushes. */
export const next = (rest: ReadonlyArray<Pending>, total: number, progress: Progress): Next => {
  const again: Array<Timed> = []
  const buried: Array<Timed> = []
  for (const pending of rest) {
    const delay = delayAfter(pending, progress)
    if (delay === undefined) buried.push({ ...pending, delay: Duration.zero })
    else again.push({ ...pending, delay })
  }
  return { again: together(again, total), buried: together(buried, total) }
}
