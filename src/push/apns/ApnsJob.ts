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
 *   publishing is retried.
 * - If the worker stops or the attempt takes too long, it does the same with pushes
 *   without an answer, within a few seconds. If no push has ended, the job is requeued
 *   unchanged.
 * - `push/job/Plan.ts` says what happens to a failed push. Delayed pushes wait in the
 *   queue. A configuration fault buries no job: the handler logs once what to do, and
 *   the jobs wait.
 * - It reports dead and wrong tokens to the application before the job is settled: see
 *   `DeadTokenJob`.
 *
 * With `onUnknown: "Drop"` no push is sent twice. But an interrupted attempt loses the
 * pushes without an answer, even those that were not sent.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { JobId } from "../../Broker.ts"
import type * as Handler from "../../Handler.ts"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { distinctTargets, logReported, type Plan, PushJob, reportedLine, splitTokens } from "../job/index.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import * as Apns from "./Apns.ts"
import * as DeadTokenJob from "./DeadTokenJob.ts"
import { bundleIdOf } from "./Gateway.ts"
import { ApnsPayload } from "./notification/ApnsPayload.ts"
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
export type Summary = PushJob.Summary

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

/** Upper and lower case mean the same device, and the first spelling is kept. */
const distinct = (tokens: Iterable<string>): Array<string> => distinctTargets(tokens, (token) => token.toLowerCase())

const split = (tokens: Iterable<string>): Array<Arr.NonEmptyReadonlyArray<string>> => splitTokens(distinct(tokens))

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
  const { job: chosen = job, ...rest } = options
  return PushJob.publish(chosen, () => split(tokens).map((tokens) => ({ tokens, notification })), rest)
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

type Failed = Plan.Failed<string, ApnsError.ApnsError>

const interrupted = ApnsError.make(new ApnsError.Unknown({ detail: "the attempt was interrupted" }))

type Service = PushJob.Service<ApnsPayload, string, ApnsError.ApnsError, Apns.Apns | Publisher.Publisher>

const send: Service["send"] = ({ notification }, tokens, id, ended) =>
  Stream.fromIterable(tokens).pipe(
    Stream.map((token) => ({ notification, token, apnsId: pushId(id, token) })),
    Apns.sendAll,
    PushJob.collect(ended, ({ token }) => token)
  )

const deadToken = ({ error, target: token }: Failed, app: Apns.App): DeadTokenJob.DeadToken => {
  const { action, reason } = error
  const appleReason = ApnsError.appleReason(error)
  return {
    token,
    topic: app.topic,
    environment: app.environment,
    kind: action === "DropToken" ? "Dead" : "Wrong",
    ...(appleReason === undefined ? undefined : { reason: appleReason }),
    ...("timestamp" in reason && reason.timestamp !== undefined ? { timestamp: reason.timestamp } : undefined)
  }
}

const logDead = (dead: ReadonlyArray<Failed>, total: number): Effect.Effect<void> =>
  logReported(
    dead,
    reportedLine(dead, total, "device tokens", (error) => ApnsError.appleReason(error) ?? error.reason._tag)
  )

const report: Service["report"] = ({ notification }, dead, total) =>
  Apns.Apns.use((apns) => apns.app(bundleIdOf(notification), notification.pushType)).pipe(
    // The credential may have been replaced meanwhile.
    Effect.mapError((cause) => new DeadTokenJob.NotReported({ detail: cause.message, cause })),
    Effect.flatMap((app) => DeadTokenJob.report(Arr.map(dead, (failed) => deadToken(failed, app)))),
    Effect.tap(() => logDead(dead, total))
  )

/**
 * Sends the notifications of a queue. Succeeds with the {@link Summary}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Apns.Apns | Publisher.Publisher> =>
  PushJob.handler<ApnsPayload, string, ApnsError.ApnsError, Apns.Apns | Publisher.Publisher>({
    job: options.job ?? job,
    onUnknown: options.onUnknown ?? "Repeat",
    interrupted,
    targetsOf: ({ tokens }) => distinct(tokens),
    originOf: ({ origin }) => origin,
    // A job from another language may be larger than the limits here.
    split: ({ notification }, targets, origin) => split(targets).map((tokens) => ({ tokens, notification, origin })),
    send,
    scopeOf: ({ notification }) => bundleIdOf(notification),
    report
  })
