/**
 * The job that sends a message to one or many targets through Firebase, and its handler.
 *
 * ```ts
 * yield* FcmJob.publish({ notification: { title: "Hello" } }, tokens)
 * Worker.layer({ concurrency: 64 }, FcmJob.handler()).pipe(Layer.provide(fcm))
 * ```
 *
 * The handler tracks each push of a job: see `push/job/PushJob.ts`. It guarantees that
 * a push that Google accepted is not sent again, unless the worker dies or loses the
 * lease before the job is settled. Google has no id against duplicates: give messages a
 * `collapseKey` or a `tag`, by which the second replaces the first on the device.
 *
 * - A message whose `android.ttl` has passed since the job was published is not sent.
 * - A 429 of the project makes its jobs wait in the queue. Other projects go on.
 * - If most tokens of a job are dead at once, the worker logs an error, because the
 *   project or the app may be the wrong one. It reports them all the same.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { JobId } from "../../Broker.ts"
import type * as Handler from "../../Handler.ts"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { distinctTargets, logReported, type Plan, PushJob, reportedLine, splitTokens } from "../job/index.ts"
import * as FcmError from "./answer/FcmError.ts"
import * as DeadTokenJob from "./DeadTokenJob.ts"
import * as Fcm from "./Fcm.ts"
import { encode } from "./message/Encoder.ts"
import { expiresAt } from "./message/expiry.ts"
import { FcmPayload } from "./message/FcmPayload.ts"
import type { Message } from "./message/Message.ts"
import * as Target from "./message/Target.ts"

// -----------------------------------------------------------------------------
// The job
// -----------------------------------------------------------------------------

/**
 * Sends a message to one or many targets. The job and its default queue are named `fcm`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<FcmPayload> = Job.make("fcm", { payload: FcmPayload })

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

const nameOf = (target: Target.Target): string => `${target._tag} ${Target.fieldOf(target).value}`

const distinct = (targets: Iterable<Target.Target>): Array<Target.Target> => distinctTargets(targets, nameOf)

/** Splits targets into jobs: tokens together, installation ids together, each topic and condition alone. */
const split = (targets: Iterable<Target.Target>): Array<Arr.NonEmptyReadonlyArray<Target.Target>> => {
  const tokens: Array<string> = []
  const fids: Array<string> = []
  const others: Array<Arr.NonEmptyReadonlyArray<Target.Target>> = []
  for (const target of distinct(targets)) {
    if (target._tag === "Token") tokens.push(target.token)
    else if (target._tag === "Fid") fids.push(target.fid)
    else others.push([target])
  }
  return [
    ...splitTokens(tokens).map((some) => Arr.map(some, Target.token)),
    ...splitTokens(fids).map((some) => Arr.map(some, Target.fid)),
    ...others
  ]
}

/**
 * The options of {@link publish}.
 *
 * @category models
 * @since 0.1.0
 */
export interface PublishOptions extends Publisher.PublishOptions {
  /** The id of the project. Default: that of the worker's first credential. */
  readonly project?: string | undefined
  /** The job to publish, for a job with another policy. Default: {@link job}. */
  readonly job?: Job.Job<FcmPayload> | undefined
}

/** The message for these targets, as jobs. */
const payloads = (
  message: Message,
  targets: Iterable<Target.Target>,
  project: string | undefined
): Array<FcmPayload> =>
  split(targets).map((some) => ({ targets: some, message, ...(project === undefined ? undefined : { project }) }))

/**
 * Publishes a message for any number of targets, in jobs of at most 500. A text is a
 * registration token. Returns a result for each job. Without targets it publishes no job.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish = (
  message: Message,
  targets: Iterable<Target.Target | string>,
  options: PublishOptions = {}
): Effect.Effect<ReadonlyArray<Result.Result<JobId, Publisher.PublishError>>, never, Publisher.Publisher> => {
  const { job: chosen = job, project, ...rest } = options
  return PushJob.publish(chosen, () => payloads(message, Array.from(targets, Target.of), project), rest)
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
  readonly job?: Job.Job<FcmPayload> | undefined
}

type Failed = Plan.Failed<Target.Target, FcmError.FcmError>

type Service = PushJob.Service<FcmPayload, Target.Target, FcmError.FcmError, Fcm.Fcm | Publisher.Publisher>

const interrupted = FcmError.make(new FcmError.Unknown({ detail: "the attempt was interrupted" }))

/** When each push was sent, for reports: Google does not say when a token died. */
const makeSend =
  (sentAt: WeakMap<Target.Target, number>): Service["send"] => (payload, targets, _id, ended, publishedAt) =>
    Effect.flatMap(Clock.Clock, (clock) => {
      const { message, project } = payload
      const deadline = Result.isSuccess(encode(message)) ? expiresAt(message, publishedAt) : undefined
      return Stream.fromIterable(targets).pipe(
        Stream.map((target) => {
          sentAt.set(target, clock.currentTimeMillisUnsafe())
          return { message, target, project, expiresAt: deadline }
        }),
        Fcm.sendAll,
        PushJob.collect(ended, ({ target }) => target)
      )
    })

const deadToken = (
  { error, target }: Failed,
  project: string,
  sentAt: number
): DeadTokenJob.DeadToken => {
  const errorCode = FcmError.errorCode(error)
  const { value } = Target.fieldOf(target)
  return {
    ...(target._tag === "Fid" ? { fid: value } : { token: value }),
    project,
    kind: error.action === "DropToken" ? "Dead" : "Wrong",
    ...(errorCode === undefined ? undefined : { errorCode }),
    sentAt
  }
}

/** Jobs with fewer targets are too small for a verdict about the project. */
const minAlarmTargets = 20

/** This share of dead targets in a job is not normal. */
const alarmShare = 0.9

const isOtherProject = ({ error: { reason } }: Failed): boolean =>
  reason._tag === "WrongToken" && reason.kind === "OtherProject"

/** Logs dead targets, and raises an alarm if nearly all of a job are dead or most belong to another project. */
const logDead = (dead: ReadonlyArray<Failed>, total: number, project: string): Effect.Effect<void> => {
  const line = reportedLine(
    dead,
    total,
    `targets of the project ${project}`,
    (error) => FcmError.errorCode(error) ?? error.reason._tag
  )
  const foreign = dead.filter(isOtherProject).length
  if (foreign > 0 && foreign * 2 >= total) {
    return Effect.logError(`${line}. Most belong to another project: check which service account this worker uses`)
  }
  if (total >= minAlarmTargets && dead.length >= total * alarmShare) {
    const fids = dead.some(({ target }) => target._tag === "Fid")
      ? ", and that the app registered by installation ids"
      : ""
    return Effect.logError(`${line}. So many at once are not normal: check the project and the app${fids}`)
  }
  return logReported(dead, line)
}

const makeReport = (sentAt: WeakMap<Target.Target, number>): Service["report"] => ({ project }, dead, total) =>
  Fcm.Fcm.use((fcm) => fcm.project(project)).pipe(
    Effect.mapError((cause) => new DeadTokenJob.NotReported({ detail: cause.message, cause })),
    Effect.tap((id) =>
      DeadTokenJob.report(Arr.map(dead, (failed) => deadToken(failed, id, sentAt.get(failed.target) ?? 0)))
    ),
    Effect.flatMap((id) => logDead(dead, total, id))
  )

/**
 * Sends the messages of a queue. Succeeds with the {@link Summary}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Fcm.Fcm | Publisher.Publisher> => {
  const sentAt = new WeakMap<Target.Target, number>()
  return PushJob.handler<FcmPayload, Target.Target, FcmError.FcmError, Fcm.Fcm | Publisher.Publisher>({
    job: options.job ?? job,
    onUnknown: options.onUnknown ?? "Repeat",
    interrupted,
    targetsOf: ({ targets }) => distinct(targets),
    originOf: ({ origin }) => origin,
    split: ({ message, project }, targets, origin) =>
      payloads(message, targets, project).map((payload) => ({ ...payload, origin })),
    send: makeSend(sentAt),
    // A wrong key for iOS or browsers does not stop the project.
    scopeOf: ({ project }, fault) =>
      fault?.reason._tag === "ThirdPartyFault" ? `${project ?? ""} third party` : project,
    report: makeReport(sentAt)
  })
}
