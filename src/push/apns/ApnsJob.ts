/**
 * The job that sends a notification to one or many devices, and its handler.
 *
 * ```ts
 * yield* ApnsJob.publish(Notification.alert({ body: "Hello" }), tokens)
 * Worker.layer({ concurrency: 64 }, ApnsJob.handler()).pipe(Layer.provide(apns))
 * ```
 *
 * The handler tracks each push of a job. It guarantees:
 *
 * - A push that Apple accepted is not sent again, unless the worker dies or loses the
 *   lease before the job is settled. Then it is sent a second time with the same
 *   `apns-id`. With a collapse id the second replaces the first on the device.
 * - If some pushes have ended and others have not, the handler publishes the unfinished
 *   ones as a new job before the old job is settled. If the broker refuses the new job,
 *   publishing is retried: see `untilAccepted`.
 * - If the worker stops or the attempt takes too long, it does the same with pushes
 *   without an answer, within a few seconds: see `finalize`. If no push has ended, the
 *   job is requeued unchanged.
 * - The table in `Plan.ts` says what happens to a failed push. Delayed pushes wait in the
 *   queue. A configuration fault buries no job: the handler logs once what to do, and
 *   the jobs wait.
 * - It reports dead and wrong tokens to the application before the job is settled: see
 *   `DeadTokenJob`.
 *
 * With `onUnknown: "Drop"` no push is sent twice. But an interrupted attempt loses the
 * pushes without an answer, even those that were not sent.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type JobId, maxDelay } from "../../Broker.ts"
import * as Handler from "../../Handler.ts"
import * as Job from "../../Job.ts"
import * as Publisher from "../../Publisher.ts"
import { finalize, Plan, untilAccepted } from "../job/index.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import * as Apns from "./Apns.ts"
import * as DeadTokenJob from "./DeadTokenJob.ts"
import { bundleIdOf } from "./Gateway.ts"
import { ApnsPayload, type Origin } from "./notification/ApnsPayload.ts"
import type { Notification } from "./notification/Notification.ts"
import { pushId } from "./pushId.ts"

// -----------------------------------------------------------------------------
// The job
// -----------------------------------------------------------------------------

/**
 * Sends a notification to one or many devices. The job and its default queue are named `apns`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<ApnsPayload> = Job.make("apns", { payload: ApnsPayload })

/**
 * The result of the handler: how the job's pushes ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** Pushes that Apple accepted. */
  readonly accepted: number
  /** Pushes to dead or wrong tokens, which were reported. */
  readonly dead: number
  /** Pushes that expired, or that must not be sent again. */
  readonly dropped: number
  /** Pushes that were published as a new job. */
  readonly again: number
  /** Pushes that can't succeed. They were published as a new job, which is buried. */
  readonly buried: number
}

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

/** The limits of a job's tokens: a worker sends them in a second, and the job fits into beanstalkd's default size. */
const maxTokens = 500
const maxCharacters = 40_000

/** Removes duplicate tokens. Upper and lower case mean the same device, and the first spelling is kept. */
const distinct = (tokens: Iterable<string>): Array<string> => {
  const spellings = new Map<string, string>()
  for (const token of tokens) {
    const device = token.toLowerCase()
    if (!spellings.has(device)) spellings.set(device, token)
  }
  return [...spellings.values()]
}

const split = (tokens: Iterable<string>): Array<Arr.NonEmptyReadonlyArray<string>> => {
  const jobs: Array<Arr.NonEmptyArray<string>> = []
  let characters = 0
  for (const token of distinct(tokens)) {
    const last = jobs.at(-1)
    characters += token.length
    if (last === undefined || last.length >= maxTokens || characters > maxCharacters) {
      jobs.push([token])
      characters = token.length
    } else last.push(token)
  }
  return jobs
}

/** Splits the tokens into jobs lazily, so that tokens that throw fail the publication. */
const payloads = (notification: Notification, tokens: Iterable<string>): Iterable<ApnsPayload> => ({
  *[Symbol.iterator]() {
    for (const some of split(tokens)) yield { tokens: some, notification }
  }
})

/**
 * Publishes a notification for any number of devices, in jobs of at most 500 tokens.
 * Returns a result for each job. Without tokens it publishes no job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish = (
  notification: Notification,
  tokens: Iterable<string>,
  options: Publisher.PublishOptions & { readonly job?: Job.Job<ApnsPayload> | undefined } = {}
): Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, never, Publisher.Publisher> => {
  const { id, job: chosen = job, ...rest } = options
  return Publisher.publishAll(
    chosen,
    payloads(notification, tokens),
    (_, index) => ({ ...rest, id: id === undefined || index === 0 ? id : `${id}/${index + 1}` })
  )
}

// -----------------------------------------------------------------------------
// The handler
// -----------------------------------------------------------------------------

/**
 * The options of the {@link handler}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What to do with a push that was sent and not answered, or that had no answer when
   * the attempt was interrupted. `"Repeat"`: send it again; the device may show it
   * twice. `"Drop"`: do not; the device may never show it. Default: `"Repeat"`.
   */
  readonly onUnknown?: Plan.OnUnknown | undefined
  /** The job to handle, for a job with another policy. Default: {@link job}. */
  readonly job?: Job.Job<ApnsPayload> | undefined
}

/** The first job of these pushes. Its id determines their ids, and its attempts count on. */
const originOf = (
  { origin }: ApnsPayload,
  { id, publishedAt }: Handler.Delivery
): Omit<Origin, "publishedAt"> & { readonly publishedAt: number | undefined } =>
  origin ?? { id, attempts: 0, publishedAt }

/** An attempt of a job. */
interface Attempt {
  readonly payload: ApnsPayload
  /** Without duplicates. */
  readonly tokens: ReadonlyArray<string>
  /** The ended pushes. It grows during the attempt, so that an interruption keeps them. */
  readonly ended: Array<Plan.Ended<string, ApnsError.ApnsError>>
}

type Failed = Plan.Failed<string, ApnsError.ApnsError>

const interrupted = ApnsError.make(new ApnsError.Unknown({ detail: "the attempt was interrupted" }))

const pushAll = ({ ended, payload: { notification }, tokens }: Attempt, id: string) =>
  Stream.fromIterable(tokens).pipe(
    Stream.map((token) => ({ notification, token, apnsId: pushId(id, token) })),
    Apns.sendAll,
    Stream.runForEachArray((some) =>
      Effect.sync(() => {
        for (const { push, result } of some) ended.push({ target: push.token, result })
      })
    )
  )

const deadToken = ({ error, target: token }: Failed, app: Apns.App): DeadTokenJob.DeadToken => {
  const { action, reason } = error
  const word = ApnsError.appleReason(error)
  return {
    token,
    topic: app.topic,
    environment: app.environment,
    kind: action === "DropToken" ? "Dead" : "Wrong",
    ...(word === undefined ? undefined : { reason: word }),
    ...("timestamp" in reason && reason.timestamp !== undefined ? { timestamp: reason.timestamp } : undefined)
  }
}

/** Logs, for instance, `2 of 500 device tokens are dead or wrong and were reported: 1 Unregistered, 1 BadDeviceToken`. */
const logDead = (dead: ReadonlyArray<Failed>, total: number): Effect.Effect<void> => {
  const reasons = new Map<string, number>()
  for (const { error } of dead) {
    const word = ApnsError.appleReason(error) ?? error.reason._tag
    reasons.set(word, (reasons.get(word) ?? 0) + 1)
  }
  const counts = Array.from(reasons, ([word, count]) => `${count} ${word}`).join(", ")
  const line = `${dead.length} of ${total} device tokens are dead or wrong and were reported: ${counts}`
  // Dead tokens are normal; a wrong token is a fault of the publisher.
  return dead.some(({ error: { action } }) => action === "CheckToken") ? Effect.logWarning(line) : Effect.logInfo(line)
}

/** Reports dead tokens to the application. Succeeds with those whose report failed. */
const report = (dead: ReadonlyArray<Failed>, total: number, notification: Notification) =>
  Arr.isReadonlyArrayNonEmpty(dead)
    ? Apns.Apns.use((apns) => apns.app(bundleIdOf(notification), notification.pushType)).pipe(
      // The credential may have been replaced meanwhile.
      Effect.mapError((cause) => new DeadTokenJob.NotReported({ detail: cause.message, cause })),
      Effect.flatMap((app) => DeadTokenJob.report(Arr.map(dead, (failed) => deadToken(failed, app)))),
      Effect.tap(() => logDead(dead, total)),
      Effect.match({ onSuccess: () => [], onFailure: (error) => Plan.unreported(dead, error) })
    )
    : Effect.succeed([])

const cutShort = ({ accepted, again, dead }: Summary) =>
  Job.discard(`interrupted: ${accepted} accepted, ${dead} dead, ${again} published as a new job`)

/** Logs a configuration fault once per app, until Apple accepts a push of that app again. */
const makeAlarm = () => {
  const raised = new Map<string | undefined, string>()
  return (topic: string | undefined, { accepted, rest }: Plan.Sorted<string, ApnsError.ApnsError>) =>
    Effect.suspend(() => {
      if (accepted > 0) raised.delete(topic)
      const fault = rest.find(Plan.isConfigFault)?.error.message
      if (fault === undefined || raised.get(topic) === fault) return Effect.void
      raised.set(topic, fault)
      return Effect.logError(`${fault}. The jobs are kept and retried every 5 minutes`)
    })
}

/** What the attempts of one handler share. */
interface Shared {
  readonly handled: Job.Job<ApnsPayload>
  readonly onUnknown: NonNullable<Options["onUnknown"]>
  readonly alarm: ReturnType<typeof makeAlarm>
}

/** Publishes a part of the pushes as a job of the same priority, ttr and deadline. */
const publishPart = Effect.fnUntraced(function*(
  handled: Job.Job<ApnsPayload>,
  part: Plan.Part<string, ApnsError.ApnsError>,
  notification: Notification,
  origin: Origin,
  { expiresAt, info, isLost, queue }: Handler.Delivery
) {
  const { priority, ttr } = yield* untilAccepted(info)
  const id = `${origin.id}#${origin.buried === undefined ? "after" : "buried"}-${origin.attempts}`
  const delay = Duration.min(part.delay, maxDelay)
  const deadline = Option.getOrElse(DateTime.make(expiresAt ?? Number.NaN), () => Duration.infinity)
  const options = { queue, delay, priority, ttr, deadline }
  // A job from another language may be larger than the limits here.
  for (const [index, tokens] of split(part.targets).entries()) {
    const own = { ...options, id: index === 0 ? id : `${id}/${index + 1}` }
    const publish = Publisher.publish(handled, { tokens, notification, origin }, own)
    yield* untilAccepted(Effect.flatMap(isLost, (lost) => lost ? Effect.interrupt : publish)).pipe(
      Effect.mapError((error) =>
        Job.bury(`${part.reason}, and the broker refuses its new job: ${error.message}`, error)
      )
    )
  }
})

/** Publishes the unfinished pushes, or ends the attempt so that the whole job is retried or buried. */
const publishRest = Effect.fnUntraced(function*<E>(
  handled: Job.Job<ApnsPayload>,
  rest: Arr.NonEmptyReadonlyArray<Plan.Unfinished<string, ApnsError.ApnsError>>,
  { payload, tokens }: Attempt,
  delivery: Handler.Delivery,
  cut: Cause.Cause<E> | undefined,
  now: number
) {
  const { attempts, id, publishedAt } = originOf(payload, delivery)
  const attempt = attempts + (yield* untilAccepted(delivery.attempt))
  // A schedule that fails counts as ended.
  const scheduled = yield* Effect.catchCause(
    Job.retryDelay(handled.retry, attempt, rest[0].error),
    () => Effect.undefined
  )
  const isOld = now - (publishedAt ?? now) > Duration.toMillis(Plan.minRetryPeriod)
  const { again, buried } = Plan.next(rest, tokens.length, { attempt, scheduled, isOld })
  // A job without a date gets one as a new job, so that its minimum retry period can end.
  const isUndated = publishedAt === undefined && scheduled === undefined
  if (again?.targets.length === tokens.length && !isUndated) {
    return yield* cut === undefined ? Job.retryAfter(again.delay, again.reason, again.error) : Effect.failCause(cut)
  }
  if (buried?.targets.length === tokens.length) return yield* Job.bury(buried.reason, buried.error)

  const { notification } = payload
  const origin: Origin = { id, attempts: attempt, publishedAt: publishedAt ?? now }
  if (again !== undefined) {
    yield* publishPart(handled, again, notification, origin, delivery)
    yield* Effect.logWarning(`published as a new job: ${again.reason}`)
  }
  if (buried !== undefined) {
    const place = { reason: buried.reason, queue: delivery.queue }
    yield* publishPart(handled, buried, notification, { ...origin, buried: place }, delivery)
  }
  return { again: again?.targets.length ?? 0, buried: buried?.targets.length ?? 0 }
})

/** Reports dead tokens and publishes the unfinished pushes. `cut` is why some pushes have no result. */
const finish = Effect.fnUntraced(function*<E>(
  { alarm, handled, onUnknown }: Shared,
  attempt: Attempt,
  delivery: Handler.Delivery,
  cut: Cause.Cause<E> | undefined
) {
  const { ended, payload: { notification }, tokens } = attempt
  const sorted = Plan.sort(tokens, ended, { onUnknown, interrupted })
  const { accepted, dropped } = sorted
  yield* alarm(bundleIdOf(notification), sorted)
  const unreported = yield* report(sorted.dead, tokens.length, notification)
  const dead = sorted.dead.length - unreported.length
  const rest = [...sorted.rest, ...unreported]
  const now = yield* Clock.currentTimeMillis
  if (cut !== undefined && now >= (delivery.expiresAt ?? Infinity)) return yield* Effect.failCause(cut)

  const over = { accepted, dead, dropped: dropped.length }
  if (!Arr.isReadonlyArrayNonEmpty(rest)) {
    if (accepted + dead === 0) return yield* Job.discard(dropped[0]?.error.message ?? "no tokens")
    return { ...over, again: 0, buried: 0 } satisfies Summary
  }
  return { ...over, ...(yield* publishRest(handled, rest, attempt, delivery, cut, now)) } satisfies Summary
})

/**
 * Sends the notifications of a queue. Succeeds with the {@link Summary}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Apns.Apns | Publisher.Publisher> => {
  const shared: Shared = {
    handled: options.job ?? job,
    onUnknown: options.onUnknown ?? "Repeat",
    alarm: makeAlarm()
  }
  return Handler.make(shared.handled, (payload, delivery) =>
    Effect.gen(function*() {
      const { buried, id } = originOf(payload, delivery)
      // After an operator kicks or moves the job, it is sent.
      if (buried?.queue === delivery.queue && (yield* delivery.info).buries === 0) return yield* Job.bury(buried.reason)
      const attempt: Attempt = { payload, tokens: distinct(payload.tokens), ended: [] }
      return yield* finalize(
        pushAll(attempt, id),
        (cut) => finish(shared, attempt, delivery, cut),
        { isLost: delivery.isLost, cutShort }
      )
    }))
}
