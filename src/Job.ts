/**
 * What a job is: a name, the Schema of its payload, and how it is to be treated.
 *
 * A `Job` is a value that publisher and worker share. It holds no handler, so a
 * program that only publishes needs none of the worker's dependencies.
 *
 * ```ts
 * const SendWelcome = Job.make("send-welcome", {
 *   payload: Schema.Struct({ userId: Schema.String }),
 *   queue: "mail",
 *   retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
 * })
 * ```
 *
 * A handler may decide what becomes of its job: it fails with a directive,
 * {@link retryAfter}, {@link bury} or {@link discard}. For every other failure
 * the job's retry schedule decides.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as DurationInput from "./internal/durationInput.ts"
import { asCause, callSafely, messageOfThrown } from "./internal/thrown.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * How a job is to be treated, wherever it is published or run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  /** The queue it goes to. Default: the job's name. */
  readonly queue: string
  /** 0 is the most urgent, 2^32 - 1 the least. Default: 1024. */
  readonly priority: number | undefined
  /**
   * Time to run: how long a worker may be silent before the job is given to
   * another. A worker renews it while it works, so this is how fast a hung
   * machine is noticed, not how long a job may take. Default: 60 seconds.
   */
  readonly ttr: Duration.Input | undefined
  /** How long one attempt may take before it is interrupted and counts as failed. Default: no limit. */
  readonly timeout: Duration.Duration | undefined
  /** When, and how often, a failed job is tried again. When the schedule ends or fails, the job is buried. Default: {@link defaultRetry}. */
  readonly retry: Schedule.Schedule<unknown, any, unknown>
  /** How long after its publication the job is still wanted. Later it is not run any more. Default: for ever. */
  readonly deadline: Duration.Duration | undefined
}

/**
 * A kind of job whose payload is an `A`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job<in out A> extends Policy {
  /** Says which job an envelope is for. Unique among the jobs of a queue. */
  readonly name: string
  /** The version of the payload's Schema. Default: 1. */
  readonly version: number
  /** To the JSON that goes on the wire. */
  readonly encode: (payload: A) => Result.Result<unknown, Schema.SchemaError>
  /** From the JSON on the wire, published by any version up to this one. */
  readonly decode: (payload: unknown, version: number) => Result.Result<A, Schema.SchemaError>
  /** Does `decode` get numbers that JavaScript would change as they were published? See {@link Options}. */
  readonly exactNumbers: boolean
}

/**
 * The payload's type.
 *
 * @category models
 * @since 0.1.0
 */
export type Payload<J> = J extends Job<infer A> ? A : never

/**
 * A job as it is written down; see {@link Policy} for the fields that are not described here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** The payload. Anything Schema can turn into JSON: classes, dates, options, big integers. */
  readonly payload: Schema.ConstraintCodec<A, unknown>
  /** Raise it when the payload changes in a way that old workers would misread. Default: 1. */
  readonly version?: number | undefined
  /** Turns a payload of an older version into one that this version decodes. Default: as it is. */
  readonly upgrade?: ((payload: unknown, version: number) => unknown) | undefined
  /**
   * What becomes of numbers that JavaScript would change, such as
   * `1234567890123456789` in a job of another language. `false`: they are
   * rounded, as everywhere in JavaScript. `true`: they come as what
   * `JSON.rawJSON` makes of their digits, so that JSON which is only handed on
   * stays as it is; `Schema.Json` and `Schema.Unknown` let them through,
   * `Schema.Finite` refuses them. Default: what the payload's Schema is
   * annotated with, else `false`.
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
 * Ten more attempts, after 1 s, 2 s, 4 s ... and at most 5 minutes.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("1 second"),
  Schedule.spaced("5 minutes")
]).pipe(Schedule.upTo({ times: 10 }))

/**
 * The annotation of a Schema whose jobs have {@link Options.exactNumbers}.
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
 * Try again after this delay, whatever the job's schedule says.
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
 * This will never work: bury the job, with the reason.
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
 * This is not wanted any more: delete the job, with the reason in the log.
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
 * What a handler fails with to decide what becomes of its job.
 *
 * @category models
 * @since 0.1.0
 */
export type Directive = RetryAfter | Bury | Discard

const isAnyDirective = Schema.is(Schema.Union([RetryAfter, Bury, Discard]))

/**
 * Is this a directive? A value that can't be read is none.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDirective = (u: unknown): u is Directive =>
  Result.getOrElse(callSafely(() => isAnyDirective(u)), () => false)

/** A reason is a text, also where a type was forced. */
const reasonOf = (reason: unknown): string => typeof reason === "string" ? reason : messageOfThrown(reason)

/**
 * Ends the attempt; the job is tried again after `delay`, and its schedule is
 * not asked. A delay that is over already (a "retry at" in the past) is none. What
 * is no duration, `NaN` for instance, throws: then the schedule is asked.
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
 * Ends the attempt; the job is buried with the reason, to be looked at by a person.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bury = (reason: string, cause?: unknown): Bury =>
  new Bury({ reason: reasonOf(reason), cause: asCause(cause) })

/**
 * Ends the attempt; the job is deleted, with the reason in the log.
 *
 * @category constructors
 * @since 0.1.0
 */
export const discard = (reason: string, cause?: unknown): Discard =>
  new Discard({ reason: reasonOf(reason), cause: asCause(cause) })

// -----------------------------------------------------------------------------
// Retry
// -----------------------------------------------------------------------------

/** No schedule is replayed for more attempts. With more, one that goes on has found its pace, and a broker may say any number. */
const maxReplayed = 10_000

/** No job is older: a hundred years. Beyond the dates that there are no calendar has a next one. */
const maxAge = 36_525 * 86_400_000

/** A delay of the user's schedule, which may be negative, endless, or no number. */
const millisOf = (delay: Duration.Duration): number => Math.min(Math.max(Duration.toMillis(delay), 0) || 0, maxAge)

/** What the schedule said before the last of some steps, in milliseconds; `undefined` when it came to its end. */
const delaysBefore = Effect.fnUntraced(function*(
  schedule: Schedule.Schedule<unknown, any, unknown>,
  steps: number,
  failure: unknown
): Effect.fn.Return<ReadonlyArray<number> | undefined, unknown> {
  const step = yield* Schedule.toStep(schedule)
  const delays: Array<number> = []
  let elapsed = 0
  for (let i = 1; i < steps; i++) {
    const next = yield* Pull.catchDone(step(elapsed, failure), () => Effect.undefined)
    if (next === undefined) return undefined
    const delay = millisOf(next[1])
    delays.push(delay)
    elapsed = Math.min(elapsed + delay, maxAge)
  }
  return delays
})

/**
 * The delay before the next attempt, or `undefined` when the schedule is at its
 * end.
 *
 * Attempts of one job run in different processes, so no schedule state can be
 * kept between them: the schedule is replayed from its start up to the attempt
 * that failed, every step fed the failure of this attempt. Elapsed time is made
 * up of the schedule's own delays, and ends now, so that a schedule that goes
 * by the calendar (`Schedule.cron`) gives its next time.
 *
 * At most 10,000 attempts are replayed. Of later ones, 4,000,000,000 for
 * instance, each counts as another of the last delay: a schedule without an end
 * gives the delay at which it has settled, and an end by time
 * (`Schedule.upTo({ duration })`) comes where it is due. An end by number has to
 * be within the 10,000, or it never comes.
 *
 * @category functions
 * @since 0.1.0
 */
export const retryDelay = Effect.fnUntraced(function*(
  schedule: Schedule.Schedule<unknown, any, unknown>,
  attempt: number,
  failure: unknown
): Effect.fn.Return<Duration.Duration | undefined, unknown> {
  const delays = yield* delaysBefore(schedule, Math.min(attempt, maxReplayed), failure)
  if (delays === undefined) return undefined
  const more = attempt > maxReplayed ? Math.min(attempt, Number.MAX_SAFE_INTEGER) - maxReplayed : 0
  const skipped = more * (delays.at(-1) ?? 0)
  const now = yield* Clock.currentTimeMillis
  const step = yield* Schedule.toStep(schedule)
  let at = now - Math.min(delays.reduce((sum, delay) => sum + delay, skipped), maxAge)
  for (let i = 0; i < delays.length; i++) {
    const next = yield* Pull.catchDone(step(at, failure), () => Effect.undefined)
    if (next === undefined) return undefined
    // what is skipped comes early: a schedule of fixed times is on time again at the end
    at = Math.min(at + delays[i]! + (i === 0 ? skipped : 0), now)
  }
  const last = yield* Pull.catchDone(step(now, failure), () => Effect.undefined)
  return last?.[1]
})
