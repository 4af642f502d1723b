/**
 * The job that sends a message to one or many browsers, and its handler.
 *
 * ```ts
 * yield* WebPushJob.publish({ body: "Hello", ttl: 3600 }, subscriptions)
 * Worker.layer({ concurrency: 16 }, WebPushJob.handler()).pipe(Layer.provide(webPush))
 * ```
 *
 * The handler tracks each message of a job. It guarantees:
 *
 * - A message that a push service accepted is not sent again, unless the worker dies or
 *   loses the lease before the job is settled. With a topic the second replaces the first
 *   while neither is delivered.
 * - If some messages have ended and others have not, the handler publishes the unfinished
 *   ones as a new job before the old job is settled.
 * - If the worker stops or the attempt takes too long, it does the same with messages
 *   without an answer. If none has ended, the job is requeued unchanged.
 * - `push/job/Plan.ts` says what happens to a failed message. A configuration fault buries
 *   no job: the handler logs once what to do, and the jobs wait.
 * - It reports dead and wrong subscriptions to the application before the job is settled:
 *   see `DeadSubscriptionJob`.
 *
 * The `ttl` counts from when the push service gets the message. Give the job a deadline if
 * it is worthless after a time in the queue.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { JobId } from "../../Broker.ts"
import type * as Handler from "../../Handler.ts"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { distinctTargets, logReported, type Plan, PushJob, reportedLine, splitTargets } from "../job/index.ts"
import * as WebPushError from "./answer/WebPushError.ts"
import * as DeadSubscriptionJob from "./DeadSubscriptionJob.ts"
import type { Message } from "./Message.ts"
import type { Subscription } from "./subscription/Subscription.ts"
import * as WebPush from "./WebPush.ts"
import { WebPushPayload } from "./WebPushPayload.ts"

// -----------------------------------------------------------------------------
// The job
// -----------------------------------------------------------------------------

/**
 * Sends a message to one or many browsers. The job and its default queue are named `webpush`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<WebPushPayload> = Job.make("webpush", { payload: WebPushPayload })

/**
 * The result of the handler: how the job's messages ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Summary = PushJob.Summary

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

/** A job fits into beanstalkd's default size of 65,535 bytes, and a worker encrypts it in a moment. */
const maxCharacters = 44_000
const maxSubscriptions = 200

/** Subscriptions with the same endpoint are one, and the first is kept. */
const distinct = (subscriptions: Iterable<Subscription>): Array<Subscription> =>
  distinctTargets(subscriptions, ({ endpoint }) => endpoint)

const split = (
  message: Message,
  subscriptions: Iterable<Subscription>
): Array<Arr.NonEmptyReadonlyArray<Subscription>> =>
  splitTargets(distinct(subscriptions), {
    maxTargets: maxSubscriptions,
    maxCharacters: maxCharacters - JSON.stringify(message).length,
    charactersOf: (subscription) => JSON.stringify(subscription).length
  })

/**
 * Publishes a message for any number of subscriptions, in jobs of at most 200. Returns a
 * result for each job. Without subscriptions it publishes no job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish = (
  message: Message,
  subscriptions: Iterable<Subscription>,
  options: Publisher.PublishOptions & { readonly job?: Job.Job<WebPushPayload> | undefined } = {}
): Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, never, Publisher.Publisher> => {
  const { job: chosen = job, ...rest } = options
  const parts = () => split(message, subscriptions).map((subscriptions) => ({ subscriptions, message }))
  return PushJob.publish(chosen, parts, rest)
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
   * What to do with a message that was sent and not answered, or that had no answer when
   * the attempt was interrupted. `"Repeat"`: send it again; the page may get it twice.
   * `"Drop"`: do not; the page may never get it. Default: `"Repeat"`.
   */
  readonly onUnknown?: Plan.OnUnknown | undefined
  /** The job to handle, for a job with another policy. Default: {@link job}. */
  readonly job?: Job.Job<WebPushPayload> | undefined
}

type Failed = Plan.Failed<Subscription, WebPushError.WebPushError>

type Needs = WebPush.WebPush | Publisher.Publisher

type Service = PushJob.Service<WebPushPayload, Subscription, WebPushError.WebPushError, Needs>

const interrupted = WebPushError.make(new WebPushError.Unknown({ detail: "the attempt was interrupted" }))

/** When the messages of an attempt were sent. A page that subscribed later is alive. */
const sentAt = new WeakMap<Subscription, number>()

const send: Service["send"] = ({ message }, subscriptions, _, ended) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Stream.fromIterable(subscriptions).pipe(
      Stream.map((subscription) => {
        sentAt.set(subscription, now)
        return { message, subscription }
      }),
      WebPush.sendAll,
      PushJob.collect(ended, ({ subscription }) => subscription)
    ))

const deadSubscription = ({ error, target }: Failed, now: number): DeadSubscriptionJob.DeadSubscription => {
  const { reason, status } = WebPushError.answerOf(error)
  return {
    endpoint: target.endpoint,
    ...(typeof target.key === "string" ? { key: target.key } : undefined),
    kind: error.action === "DropToken" ? "Dead" : "Wrong",
    cause: error.reason._tag,
    ...(status === undefined ? undefined : { status }),
    ...(reason === undefined ? undefined : { reason }),
    sentAt: sentAt.get(target) ?? now
  }
}

const isOfOtherKey = ({ error }: Failed): boolean => error.reason._tag === "WrongKey"

const logDead = (dead: ReadonlyArray<Failed>, total: number): Effect.Effect<void> => {
  const line = reportedLine(dead, total, "subscriptions", ({ reason }) => reason._tag)
  const others = dead.filter(isOfOtherKey).length
  if (total > 1 && others * 2 > total) {
    return Effect.logError(
      `${line}. Most belong to another VAPID key: was a wrong key deployed? Configure the key that the pages use`
    )
  }
  return logReported(dead, line)
}

const report: Service["report"] = (_, dead, total) =>
  Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => DeadSubscriptionJob.report(Arr.map(dead, (failed) => deadSubscription(failed, now)))
  ).pipe(Effect.tap(() => logDead(dead, total)))

/**
 * Sends the messages of a queue. Succeeds with the {@link Summary}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Needs> =>
  PushJob.handler<WebPushPayload, Subscription, WebPushError.WebPushError, Needs>({
    job: options.job ?? job,
    onUnknown: options.onUnknown ?? "Repeat",
    interrupted,
    targetsOf: ({ subscriptions }) => distinct(subscriptions),
    originOf: ({ origin }) => origin,
    // A job from another language may be larger than the limits here.
    split: ({ message }, targets, origin) =>
      split(message, targets).map((subscriptions) => ({ subscriptions, message, origin })),
    send,
    scopeOf: () => undefined,
    report
  })
