/**
 * The handler of a push job, for any push service. The service says how it sends
 * and who its targets are: see {@link Service}.
 *
 * - A push that ended is not sent again. If some pushes of a job have ended and
 *   others have not, the unfinished ones become a new job before the old job is
 *   settled. If no push has ended, the job itself is retried.
 * - An interruption does the same, within a few seconds: see `finalize`.
 * - `Plan` decides what happens to a failed push.
 * - Dead targets are reported to the application before the job is settled.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type JobId, maxDelay } from "../../Broker.ts"
import * as Handler from "../../Handler.ts"
import * as Job from "../../Job.ts"
import * as Publisher from "../../Publisher.ts"
import type { NotReported } from "./DeadTargets.ts"
import { finalize } from "./finalize.ts"
import * as Plan from "./Plan.ts"
import { untilAccepted } from "./untilAccepted.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** The first job of pushes that were published again. */
export const Origin = Schema.Struct({
  /** The id of its envelope, which determines the ids of the pushes. */
  id: Schema.String,
  /** The number of attempts so far. */
  attempts: Schema.Natural,
  /** When it was published, in milliseconds since 1970. */
  publishedAt: Schema.Finite,
  /** Why the pushes are buried, and in which queue. A worker sends them only after an operator kicks or moves the job. */
  buried: Schema.optionalKey(Schema.Struct({ reason: Schema.String, queue: Schema.String }))
})

/** The decoded {@link Origin}. */
export type Origin = typeof Origin.Type

/** How the pushes of a job ended. */
export interface Summary {
  /** Pushes that the service accepted. */
  readonly accepted: number
  /** Pushes to dead or wrong targets, which were reported. */
  readonly dead: number
  /** Pushes that expired, or that must not be sent again. */
  readonly dropped: number
  /** Pushes that were published as a new job. */
  readonly again: number
  /** Pushes that can't succeed. They were published as a new job, which is buried. */
  readonly buried: number
}

/** What a push service defines. `P` is the payload of its job, `T` a target, `E` its error, `R` what it requires. */
export interface Service<P, T, E extends Plan.Failure, R> {
  readonly job: Job.Job<P>
  readonly onUnknown: Plan.OnUnknown
  /** The error of a push that had no answer when the attempt was interrupted. */
  readonly interrupted: E
  /** The targets of a payload, without duplicates. */
  readonly targetsOf: (payload: P) => ReadonlyArray<T>
  readonly originOf: (payload: P) => Origin | undefined
  /** The payload for some of its targets, as one or more payloads that fit into a job. */
  readonly split: (payload: P, targets: Arr.NonEmptyReadonlyArray<T>, origin: Origin) => ReadonlyArray<P>
  /** Sends to all targets. Calls `ended` with results as they come, so that an interruption keeps them. */
  readonly send: (
    payload: P,
    targets: ReadonlyArray<T>,
    id: string,
    ended: (push: Plan.Ended<T, E>) => void,
    /** When the first job was published, in milliseconds since 1970, if that is known. */
    publishedAt: number | undefined
  ) => Effect.Effect<void, E, R>
  /** What a fault of the configuration belongs to, such as an app; without an error, what the job belongs to. */
  readonly scopeOf: (payload: P, fault?: E) => string | undefined
  /** Reports dead targets to the application. `total` counts the targets of the job. */
  readonly report: (
    payload: P,
    dead: Arr.NonEmptyReadonlyArray<Plan.Failed<T, E>>,
    total: number
  ) => Effect.Effect<void, NotReported, R>
}

/** An attempt of a job. */
interface Attempt<P, T, E> {
  readonly payload: P
  readonly targets: ReadonlyArray<T>
  /** The ended pushes. It grows during the attempt. */
  readonly ended: Array<Plan.Ended<T, E>>
  readonly delivery: Handler.Delivery
}

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

/** The id of a part: that of the publication for the first, with a number for the others. */
const idOf = (id: string, index: number): string => index === 0 ? id : `${id}/${index + 1}`

/**
 * Publishes the parts of a publication, each as a job. Calls `parts` lazily, so that
 * targets that throw fail the publication.
 */
export const publish = <P>(
  job: Job.Job<P>,
  parts: () => Iterable<P>,
  { id, ...options }: Publisher.PublishOptions
): Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, never, Publisher.Publisher> =>
  Publisher.publishAll(
    job,
    { [Symbol.iterator]: () => parts()[Symbol.iterator]() },
    (_, index) => ({ ...options, id: id === undefined ? id : idOf(id, index) })
  )

// -----------------------------------------------------------------------------
// Steps
// -----------------------------------------------------------------------------

/** Runs a stream of results, and calls `ended` with each. */
export const collect = <I, T, E>(ended: (push: Plan.Ended<T, E>) => void, targetOf: (push: I) => T) =>
<R>(
  results: Stream.Stream<{ readonly push: I; readonly result: Result.Result<unknown, E> }, never, R>
): Effect.Effect<void, never, R> =>
  Stream.runForEachArray(results, (some) =>
    Effect.sync(() => {
      for (const { push, result } of some) ended({ target: targetOf(push), result })
    }))

/** Logs a configuration fault once per scope, until the service accepts a push of that scope again. */
const makeAlarm = <P, T, E extends Plan.Failure, R>({ scopeOf }: Service<P, T, E, R>) => {
  const raised = new Map<string | undefined, string>()
  return (payload: P, { accepted, rest }: Plan.Sorted<T, E>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (accepted > 0) raised.delete(scopeOf(payload))
      const fault = rest.find(Plan.isConfigFault)?.error
      if (fault === undefined) return Effect.void
      const scope = scopeOf(payload, "action" in fault ? fault : undefined)
      if (raised.get(scope) === fault.message) return Effect.void
      raised.set(scope, fault.message)
      return Effect.logError(
        `${fault.message}. The jobs are kept and retried every ${Duration.toMinutes(Plan.fixDelay)} minutes`
      )
    })
}

/** The first job of these pushes. Its id determines their ids, and its attempts count on. */
const firstJob = (
  origin: Origin | undefined,
  { id, publishedAt }: Handler.Delivery
): Omit<Origin, "publishedAt"> & { readonly publishedAt: number | undefined } =>
  origin ?? { id, attempts: 0, publishedAt }

/** Publishes a part of the pushes as a job of the same priority, ttr and deadline. */
const publishPart = Effect.fnUntraced(function*<P, T, E extends Plan.Failure, R>(
  service: Service<P, T, E, R>,
  part: Plan.Part<T, E>,
  payload: P,
  origin: Origin,
  { expiresAt, info, isLost, queue }: Handler.Delivery
) {
  const { priority, ttr } = yield* untilAccepted(info)
  const id = `${origin.id}#${origin.buried === undefined ? "after" : "buried"}-${origin.attempts}`
  const delay = Duration.min(part.delay, maxDelay)
  const deadline = Option.getOrElse(DateTime.make(expiresAt ?? Number.NaN), () => Duration.infinity)
  const options = { queue, delay, priority, ttr, deadline }
  for (const [index, own] of service.split(payload, part.targets, origin).entries()) {
    const publish = Publisher.publish(service.job, own, { ...options, id: idOf(id, index) })
    yield* untilAccepted(Effect.flatMap(isLost, (lost) => lost ? Effect.interrupt : publish)).pipe(
      Effect.mapError((error) =>
        Job.bury(`${part.reason}, and the broker refuses its new job: ${error.message}`, error)
      )
    )
  }
})

/** Publishes the unfinished pushes, or ends the attempt so that the whole job is retried or buried. */
const publishRest = Effect.fnUntraced(function*<P, T, E extends Plan.Failure, R, E2>(
  service: Service<P, T, E, R>,
  rest: Arr.NonEmptyReadonlyArray<Plan.Unfinished<T, E>>,
  { delivery, payload, targets }: Attempt<P, T, E>,
  cut: Cause.Cause<E2> | undefined,
  now: number
) {
  const { attempts, id, publishedAt } = firstJob(service.originOf(payload), delivery)
  const attempt = attempts + (yield* untilAccepted(delivery.attempt))
  // A schedule that fails counts as ended.
  const scheduled = yield* Effect.catchCause(
    Job.retryDelay(service.job.retry, attempt, rest[0].error),
    () => Effect.undefined
  )
  const isOld = now - (publishedAt ?? now) > Duration.toMillis(Plan.minRetryPeriod)
  const { again, buried } = Plan.next(rest, targets.length, { attempt, scheduled, isOld })
  // A job without a date gets one as a new job, so that its minimum retry period can end.
  const isUndated = publishedAt === undefined && scheduled === undefined
  if (again?.targets.length === targets.length && !isUndated) {
    return yield* cut === undefined ? Job.retryAfter(again.delay, again.reason, again.error) : Effect.failCause(cut)
  }
  if (buried?.targets.length === targets.length) return yield* Job.bury(buried.reason, buried.error)

  const origin: Origin = { id, attempts: attempt, publishedAt: publishedAt ?? now }
  if (again !== undefined) {
    yield* publishPart(service, again, payload, origin, delivery)
    yield* Effect.logWarning(`published as a new job: ${again.reason}`)
  }
  if (buried !== undefined) {
    const place = { reason: buried.reason, queue: delivery.queue }
    yield* publishPart(service, buried, payload, { ...origin, buried: place }, delivery)
  }
  return { again: again?.targets.length ?? 0, buried: buried?.targets.length ?? 0 }
})

/** Reports dead targets to the application. Succeeds with those whose report failed. */
const report = <P, T, E extends Plan.Failure, R>(
  service: Service<P, T, E, R>,
  { payload, targets }: Attempt<P, T, E>,
  dead: ReadonlyArray<Plan.Failed<T, E>>
): Effect.Effect<ReadonlyArray<Plan.Unfinished<T, E>>, never, R> =>
  Arr.isReadonlyArrayNonEmpty(dead)
    ? Effect.match(service.report(payload, dead, targets.length), {
      onSuccess: () => [],
      onFailure: (error) => Plan.unreported(dead, error)
    })
    : Effect.succeed([])

/** Reports dead targets and publishes the unfinished pushes. `cut` is why some pushes have no result. */
const conclude = Effect.fnUntraced(function*<P, T, E extends Plan.Failure, R, E2>(
  service: Service<P, T, E, R>,
  alarm: ReturnType<typeof makeAlarm<P, T, E, R>>,
  attempt: Attempt<P, T, E>,
  cut: Cause.Cause<E2> | undefined
) {
  const { delivery, ended, payload, targets } = attempt
  const sorted = Plan.sort(targets, ended, service)
  const { accepted, dropped } = sorted
  yield* alarm(payload, sorted)
  const unreported = yield* report(service, attempt, sorted.dead)
  const dead = sorted.dead.length - unreported.length
  const rest = [...sorted.rest, ...unreported]
  const now = yield* Clock.currentTimeMillis
  if (cut !== undefined && now >= (delivery.expiresAt ?? Infinity)) return yield* Effect.failCause(cut)

  const over = { accepted, dead, dropped: dropped.length }
  if (!Arr.isReadonlyArrayNonEmpty(rest)) {
    if (accepted + dead === 0) return yield* Job.discard(dropped[0]?.error.message ?? "no targets")
    return { ...over, again: 0, buried: 0 } satisfies Summary
  }
  return { ...over, ...(yield* publishRest(service, rest, attempt, cut, now)) } satisfies Summary
})

const cutShort = ({ accepted, again, dead }: Summary) =>
  Job.discard(`interrupted: ${accepted} accepted, ${dead} dead, ${again} published as a new job`)

// -----------------------------------------------------------------------------
// The handler
// -----------------------------------------------------------------------------

/** The handler of a service's job. Succeeds with the {@link Summary}. */
export const handler = <P, T, E extends Plan.Failure, R>(
  service: Service<P, T, E, R>
): Handler.Handler<R | Publisher.Publisher> => {
  const alarm = makeAlarm(service)
  return Handler.make(service.job, (payload, delivery) =>
    Effect.gen(function*() {
      const { buried, id, publishedAt } = firstJob(service.originOf(payload), delivery)
      // After an operator kicks or moves the job, it is sent.
      if (buried?.queue === delivery.queue && (yield* delivery.info).buries === 0) return yield* Job.bury(buried.reason)
      const attempt: Attempt<P, T, E> = { payload, targets: service.targetsOf(payload), ended: [], delivery }
      return yield* finalize(
        service.send(payload, attempt.targets, id, (push) => void attempt.ended.push(push), publishedAt),
        (cut) => conclude(service, alarm, attempt, cut),
        { isLost: delivery.isLost, cutShort }
      )
    }))
}
