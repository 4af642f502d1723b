/**
 * The job that pushes a notification to one or many devices, and its handler.
 *
 * ```ts
 * yield* ApnsJob.publish(Notification.alert({ body: "Hello" }), tokens)
 * Worker.layer({ concurrency: 64 }, ApnsJob.handler()).pipe(Layer.provide(apns))
 * ```
 *
 * Every push of a job is accounted for on its own. What the handler promises:
 *
 * - a push that Apple accepted is not sent again, unless the worker dies, or
 *   loses the lease, before the job is settled. Then it goes out a second time,
 *   with the same `apns-id`: at least once. A collapse id makes the second
 *   replace the first;
 * - when some pushes are to be tried again and others are over, those that are
 *   not become a new job, which is published before the old one is settled. A
 *   broker that takes no jobs is asked until it does: see `untilAccepted`;
 * - when the worker stops, or the attempt takes too long, the same is done with
 *   what has no answer yet, as far as some seconds allow: see `finalize`. A job
 *   none of whose pushes is over is requeued as it is;
 * - what becomes of a failed push is in the table of `Plan.ts`. Delays are
 *   spent in the queue. A fault of the configuration buries no job: the log
 *   says once what to do, and the jobs wait;
 * - tokens that are dead, or wrong, are told to the application before the job
 *   is settled, however it ends: see `DeadTokenJob`.
 *
 * Who asks for at most one copy (`onUnknown: "Drop"`) loses the pushes that were
 * not answered when an attempt was interrupted, also those that were not sent.
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
 * Pushes a notification to one or many devices. Job and default queue are called `apns`.
 *
 * @category models
 * @since 0.1.0
 */
export const ApnsJob: Job.Job<ApnsPayload> = Job.make("apns", { payload: ApnsPayload })

/**
 * What became of a job's pushes: the handler's result.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** Apple has them. */
  readonly accepted: number
  /** Their tokens are dead, or wrong, and were reported. */
  readonly dead: number
  /** They expired, or must not be repeated. */
  readonly dropped: number
  /** They were published as a new job. */
  readonly again: number
  /** They were published as a new job too, which is buried: they will never work. */
  readonly buried: number
}

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

/** A job has at most so many tokens, and their text so many characters: a worker does it in a second, and beanstalkd takes it. */
const maxTokens = 500
const maxCharacters = 40_000

/** Each token once, in its first spelling: upper and lower case are one device. */
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

/** Made when it is read, so that tokens which throw are a failure of the publication. */
const payloads = (notification: Notification, tokens: Iterable<string>): Iterable<ApnsPayload> => ({
  *[Symbol.iterator]() {
    for (const some of split(tokens)) yield { tokens: some, notification }
  }
})

/**
 * Publishes a notification for any number of devices, in jobs of at most 500,
 * and says for each job whether it was accepted. No token, no job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish = (
  notification: Notification,
  tokens: Iterable<string>,
  options: Publisher.PublishOptions & { readonly job?: Job.Job<ApnsPayload> | undefined } = {}
): Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, never, Publisher.Publisher> => {
  const { id, job = ApnsJob, ...rest } = options
  return Publisher.publishAll(
    job,
    payloads(notification, tokens),
    (_, index) => ({ ...rest, id: id === undefined || index === 0 ? id : `${id}/${index + 1}` })
  )
}

// -----------------------------------------------------------------------------
// The handler
// -----------------------------------------------------------------------------

/**
 * How pushes are made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What is done about a push that was sent and never answered, or had no answer
   * yet when the attempt was interrupted. `"Repeat"`: it is tried again, and may
   * be shown twice. `"Drop"`: it is not, and may never be shown. Default:
   * `"Repeat"`.
   */
  readonly onUnknown?: Plan.OnUnknown | undefined
  /** The job to handle, for one with a policy of its own. Default: {@link ApnsJob}. */
  readonly job?: Job.Job<ApnsPayload> | undefined
}

/** The first job that these pushes were in: by its id theirs are made, and its attempts go on being counted. */
const originOf = (
  { origin }: ApnsPayload,
  { id, publishedAt }: Handler.Delivery
): Omit<Origin, "publishedAt"> & { readonly publishedAt: number | undefined } =>
  origin ?? { id, attempts: 0, publishedAt }

/** An attempt at a job. */
interface Attempt {
  readonly payload: ApnsPayload
  /** Each once. */
  readonly tokens: ReadonlyArray<string>
  /** Written as they come, so that an interruption leaves them. */
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

/** `2 of 500 device tokens are of no use, and the application is told: 1 Unregistered, 1 BadDeviceToken`. */
const logDead = (dead: ReadonlyArray<Failed>, total: number): Effect.Effect<void> => {
  const reasons = new Map<string, number>()
  for (const { error } of dead) {
    const word = ApnsError.appleReason(error) ?? error.reason._tag
    reasons.set(word, (reasons.get(word) ?? 0) + 1)
  }
  const counts = Array.from(reasons, ([word, count]) => `${count} ${word}`).join(", ")
  const line = `${dead.length} of ${total} device tokens are of no use, and the application is told: ${counts}`
  // apps are removed every day; a wrong token is a fault of whoever published it
  return dead.some(({ error: { action } }) => action === "CheckToken") ? Effect.logWarning(line) : Effect.logInfo(line)
}

/** Tells the application of dead tokens. Succeeds with those that it could not be told of. */
const report = (dead: ReadonlyArray<Failed>, total: number, notification: Notification) =>
  Arr.isReadonlyArrayNonEmpty(dead)
    ? Apns.Apns.use((apns) => apns.app(bundleIdOf(notification), notification.pushType)).pipe(
      // the credential may have been replaced since
      Effect.mapError((cause) => new DeadTokenJob.NotReported({ detail: cause.message, cause })),
      Effect.flatMap((app) => DeadTokenJob.report(Arr.map(dead, (failed) => deadToken(failed, app)))),
      Effect.tap(() => logDead(dead, total)),
      Effect.match({ onSuccess: () => [], onFailure: (error) => Plan.unreported(dead, error) })
    )
    : Effect.succeed([])

const cutShort = ({ accepted, again, dead }: Summary) =>
  Job.discard(`interrupted: ${accepted} accepted, ${dead} dead, ${again} published as a new job`)

/** Says once for each app what is wrong with the configuration, until a push has been accepted again. */
const makeAlarm = () => {
  const raised = new Map<string | undefined, string>()
  return (topic: string | undefined, { accepted, rest }: Plan.Sorted<string, ApnsError.ApnsError>) =>
    Effect.suspend(() => {
      if (accepted > 0) raised.delete(topic)
      const fault = rest.find(Plan.isConfigFault)?.error.message
      if (fault === undefined || raised.get(topic) === fault) return Effect.void
      raised.set(topic, fault)
      return Effect.logError(`${fault}. The jobs are kept and tried again every 5 minutes`)
    })
}

/**
 * Pushes the notifications of a queue. Succeeds with the {@link Summary}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Apns.Apns | Publisher.Publisher> => {
  const { job = ApnsJob, onUnknown = "Repeat" } = options
  const alarm = makeAlarm()

  /** As a job of its own, as urgent as this one, and wanted for as long. */
  const publishPart = Effect.fnUntraced(function*(
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
    // a job of another language may have been as large as the broker takes
    for (const [index, tokens] of split(part.targets).entries()) {
      const own = { ...options, id: index === 0 ? id : `${id}/${index + 1}` }
      const publish = Publisher.publish(job, { tokens, notification, origin }, own)
      yield* untilAccepted(Effect.flatMap(isLost, (lost) => lost ? Effect.interrupt : publish)).pipe(
        Effect.mapError((error) => Job.bury(`${part.reason}, and can't be published: ${error.message}`, error))
      )
    }
  })

  /** Says what became of pushes, and publishes those that are not over. `cut` is why some of them have no result. */
  const finish = Effect.fnUntraced(function*<E>(
    { ended, payload, tokens }: Attempt,
    delivery: Handler.Delivery,
    cut: Cause.Cause<E> | undefined
  ) {
    const { notification } = payload
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

    const { attempts, id, publishedAt } = originOf(payload, delivery)
    const attempt = attempts + (yield* untilAccepted(delivery.attempt))
    // a schedule that fails is at its end
    const scheduled = yield* Effect.catchCause(
      Job.retryDelay(job.retry, attempt, rest[0].error),
      () => Effect.undefined
    )
    const isOld = now - (publishedAt ?? now) > Duration.toMillis(Plan.minRetryPeriod)
    const { again, buried } = Plan.next(rest, tokens.length, { attempt, scheduled, isOld })
    // nobody would know when the patience with it ends: as a new job it has a date
    const isUndated = publishedAt === undefined && scheduled === undefined
    if (again?.targets.length === tokens.length && !isUndated) {
      return yield* cut === undefined ? Job.retryAfter(again.delay, again.reason, again.error) : Effect.failCause(cut)
    }
    if (buried?.targets.length === tokens.length) return yield* Job.bury(buried.reason, buried.error)

    const origin: Origin = { id, attempts: attempt, publishedAt: publishedAt ?? now }
    if (again !== undefined) {
      yield* publishPart(again, notification, origin, delivery)
      yield* Effect.logWarning(`published as a new job: ${again.reason}`)
    }
    if (buried !== undefined) {
      yield* publishPart(
        buried,
        notification,
        { ...origin, buried: { reason: buried.reason, queue: delivery.queue } },
        delivery
      )
    }
    return { ...over, again: again?.targets.length ?? 0, buried: buried?.targets.length ?? 0 } satisfies Summary
  })

  return Handler.make(job, (payload, delivery) =>
    Effect.gen(function*() {
      const { buried, id } = originOf(payload, delivery)
      // whoever kicks it, or moves it, wants it to be pushed
      if (buried?.queue === delivery.queue && (yield* delivery.info).buries === 0) return yield* Job.bury(buried.reason)
      const attempt: Attempt = { payload, tokens: distinct(payload.tokens), ended: [] }
      return yield* finalize(
        pushAll(attempt, id),
        (cut) => finish(attempt, delivery, cut),
        { isLost: delivery.isLost, cutShort }
      )
    }))
}
