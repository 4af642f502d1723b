/**
 * A kind of job: its name, the Schema of its payload, and its policy.
 *
 * A `Job` is a value that publisher and worker share. It holds no handler, so a
 * program that only publishes doesn't load the worker's dependencies.
 *
 * ```ts
 * const SendWelcome = Job.make("send-welcome", {
 *   payload: Schema.Struct({ userId: Schema.String }),
 *   queue: "mail",
 *   retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
 * })
 * ```
 *
 * A handler decides about its job by failing with a directive:
 * {@link retryAfter}, {@link bury} or {@link discard}. On every other failure
 * the job's retry schedule decides.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as DurationInput from "./internal/durationInput.ts"
import * as Replay from "./internal/replay.ts"
import * as RetrySchedule from "./internal/retrySchedule.ts"
import { asCause, callSafely, messageOfThrown } from "./internal/thrown.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The policy of a job, which holds wherever it is published or run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  /** The queue that it is published to. Default: the job's name. */
  readonly queue: string
  /** 0 is the most urgent, 2^32 - 1 the least. Default: 1024. */
  readonly priority: number | undefined
  /**
   * Time to run: how long a worker may be silent before another worker gets the
   * job. A worker renews it while the handler runs, so it limits how long a hung
   * machine goes unnoticed, not how long a job takes. Default: 60 seconds.
   */
  readonly ttr: Duration.Input | undefined
  /** How long one attempt may take. After that it is interrupted and counts as failed. Default: no limit. */
  readonly timeout: Duration.Duration | undefined
  /** When and how often a failed job is retried. When the schedule ends or fails, the job is buried. Default: {@link defaultRetry}. */
  readonly retry: Schedule.Schedule<unknown, any, unknown>
  /** How long after its publication the job may run. Later it is deleted. Default: no limit. */
  readonly deadline: Duration.Duration | undefined
}

/**
 * A kind of job whose payload is an `A`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job<in out A> extends Policy {
  /** The name that envelopes use. Unique among the jobs of a queue. */
  readonly name: string
  /** The version of the payload's Schema. Default: 1. */
  readonly version: number
  /** Encodes a payload as JSON. */
  readonly encode: (payload: A) => Result.Result<unknown, Schema.SchemaError>
  /** Decodes a payload from JSON that this or an older version published. */
  readonly decode: (payload: unknown, version: number) => Result.Result<A, Schema.SchemaError>
  /** Whether `decode` gets exact numbers. See {@link Options}. */
  readonly exactNumbers: boolean
}

/**
 * The type of a job's payload.
 *
 * @category models
 * @since 0.1.0
 */
export type Payload<J> = J extends Job<infer A> ? A : never

/**
 * The options of {@link make}; {@link Policy} describes the other fields.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** The Schema of the payload. It may be anything that Schema encodes as JSON: classes, dates, options, big integers. */
  readonly payload: Schema.ConstraintCodec<A, unknown>
  /** Raise it when the payload changes so that old workers would misread it. Default: 1. */
  readonly version?: number | undefined
  /** Converts a payload of an older version to this version. Default: unchanged. */
  readonly upgrade?: ((payload: unknown, version: number) => unknown) | undefined
  /**
   * Whether to keep numbers that JavaScript would round, such as
   * `1234567890123456789` from another language. `false`: they are rounded.
   * `true`: each is the `JSON.rawJSON` of its digits, so that a handler can pass
   * JSON on unchanged. `Schema.Json` and `Schema.Unknown` accept such a number,
   * `Schema.Finite` refuses it. Default: the annotation of the payload's Schema,
   * otherwise `false`.
   */
  readonly exactNumbers?: boolean | undefined
  readonly queue?: string | undefined
  readonly priority?: number | undefined
  readonly ttr?: Duration.Input | undefined
  readonly timeout?: Duration.Input | undefined
  readonly retry?: Schedule.Schedule<unknown, any, unknown> | undefined
  readonly deadline?: Duration.Input | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * At most ten retries, after 1 s, 2 s, 4 s and so on, at most 5 minutes apart.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = RetrySchedule.doubling()

/**
 * The Schema annotation that sets {@link Options.exactNumbers} of jobs with that payload.
 *
 * @category constants
 * @since 0.1.0
 */
export const exactNumbers = "backq/exactNumbers"

/**
 * Defines a job.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(name: string, options: Options<A>): Job<A> => {
  const codec = Schema.toCodecJson(options.payload)
  const version = options.version ?? 1
  const decode = Schema.decodeUnknownResult(codec)
  const upgrade = options.upgrade
  return {
    name,
    version,
    queue: options.queue ?? name,
    priority: options.priority,
    ttr: options.ttr,
    timeout: options.timeout === undefined ? undefined : DurationInput.fromInputUnsafe(options.timeout),
    deadline: options.deadline === undefined ? undefined : DurationInput.fromInputUnsafe(options.deadline),
    retry: options.retry ?? defaultRetry,
    exactNumbers: options.exactNumbers ?? Schema.resolveAnnotations(options.payload)?.[exactNumbers] === true,
    encode: Schema.encodeUnknownResult(codec),
    decode: (payload, from) => decode(upgrade !== undefined && from < version ? upgrade(payload, from) : payload)
  }
}

// -----------------------------------------------------------------------------
// Directives
// -----------------------------------------------------------------------------

/**
 * Retry the job after this delay, whatever its schedule says.
 *
 * @category errors
 * @since 0.1.0
 */
export class RetryAfter extends Schema.TaggedError<RetryAfter>()("RetryAfter", {
  delay: Schema.Duration,
  reason: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return this.reason
  }
}

/**
 * Bury the job with this reason, because a retry can't help.
 *
 * @category errors
 * @since 0.1.0
 */
export class Bury extends Schema.TaggedError<Bury>()("Bury", {
  reason: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return this.reason
  }
}

/**
 * Delete the job and log this reason, because the job is obsolete.
 *
 * @category errors
 * @since 0.1.0
 */
export class Discard extends Schema.TaggedError<Discard>()("Discard", {
  reason: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return this.reason
  }
}

/**
 * A failure by which a handler decides about its job.
 *
 * @category models
 * @since 0.1.0
 */
export type Directive = RetryAfter | Bury | Discard

const isAnyDirective = Schema.is(Schema.Union([RetryAfter, Bury, Discard]))

/**
 * Whether a value is a directive. False for a value that throws when it is read.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDirective = (u: unknown): u is Directive =>
  Result.getOrElse(callSafely(() => isAnyDirective(u)), () => false)

/** A reason as a string, also when the program forced another type. */
const reasonOf = (reason: unknown): string => typeof reason === "string" ? reason : messageOfThrown(reason)

/**
 * Ends the attempt. The job is retried after `delay`, and its schedule does not
 * count. A negative delay, such as of a "retry at" in the past, means 0. An
 * invalid duration such as `NaN` throws, and the schedule decides.
 *
 * ```ts
 * if (response.status === 429) return yield* Job.retryAfter("30 seconds", "the API asks us to slow down")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const retryAfter = (
  delay: Duration.Input,
  reason = "the handler asked for another attempt",
  cause?: unknown
): RetryAfter =>
  new RetryAfter({
    delay: Duration.max(DurationInput.fromInputUnsafe(delay), Duration.zero),
    reason: reasonOf(reason),
    cause: asCause(cause)
  })

/**
 * Ends the attempt and buries the job with the reason, for an operator to act on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bury = (reason: string, cause?: unknown): Bury =>
  new Bury({ reason: reasonOf(reason), cause: asCause(cause) })

/**
 * Ends the attempt and deletes the job. The worker logs the reason.
 *
 * @category constructors
 * @since 0.1.0
 */
export const discard = (reason: string, cause?: unknown): Discard =>
  new Discard({ reason: reasonOf(reason), cause: asCause(cause) })

// -----------------------------------------------------------------------------
// Retry
// -----------------------------------------------------------------------------

/**
 * The delay before the next attempt, or `undefined` when the schedule ends.
 *
 * Attempts of one job run in different processes, so a schedule can't keep its
 * state. Instead it is replayed from its start to the failed attempt, and every
 * step gets the failure of this attempt. The elapsed time is the sum of the
 * schedule's delays and ends now, so that a schedule of a calendar
 * (`Schedule.cron`) gives its next time.
 *
 * At most 10,000 attempts are replayed. Each later one counts as a repetition of
 * the last delay: an endless schedule gives the delay at which it has settled,
 * and an end by time (`Schedule.upTo({ duration })`) comes when it is due. An end
 * by number must be within the 10,000; otherwise it never comes.
 *
 * @category functions
 * @since 0.1.0
 */
export const retryDelay: (
  schedule: Schedule.Schedule<unknown, any, unknown>,
  attempt: number,
  failure: unknown
) => Effect.Effect<Duration.Duration | undefined, unknown> = Replay.delayAfter
