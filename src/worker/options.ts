/** The options of a worker, their rules and defaults. */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type BrokerError, optionInvalid } from "../BrokerError.ts"
import type { ForeignDecoder } from "../Envelope.ts"
import type { Handler } from "../Handler.ts"
import * as OptionRules from "../internal/options.ts"
import { AttemptTimeout } from "../Outcome.ts"
import type { Interruption } from "./decision.ts"
import type { Rules } from "./decodeLease.ts"

/** The options of a worker. */
export interface Options {
  /** The queues that it reserves jobs from. Default: the queues of its handlers' jobs. */
  readonly queue?: string | NonEmptyReadonlyArray<string> | undefined
  /** At most this many handlers run at once. Default: 16. */
  readonly concurrency?: number | undefined
  /** At most this many jobs wait in the worker beyond those that run, which saves a round trip between two jobs. Default: 0. */
  readonly prefetch?: number | undefined
  /** Whether to renew the leases of jobs that run or wait in the worker. Default: true. */
  readonly touch?: boolean | undefined
  /** How long one attempt may take, for jobs without their own `timeout`. Default: no limit. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Bury a job after this many deliveries whose worker crashed or let the lease
   * expire. Default: 5.
   */
  readonly poisonLimit?: number | undefined
  /** How long running handlers may go on after the worker is stopped. Default: 30 seconds. */
  readonly grace?: Duration.Input | undefined
  /** Stop after this long without a job. Default: never. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Stop after settling this many jobs. Default: never. */
  readonly maxJobs?: number | undefined
  /** Stop gracefully when this Effect completes. Default: never. */
  readonly stop?: Effect.Effect<unknown> | undefined
  /** Decodes bodies that are not envelopes. Default: such jobs are buried. */
  readonly foreign?: ForeignDecoder | undefined
}

/** How long an attempt may take, in milliseconds, and the decision on one that takes longer. */
export interface AttemptLimit {
  readonly millis: number
  readonly interruption: Interruption
}

/** The checked options with their defaults. Durations are in milliseconds. */
export interface Settings {
  readonly queues: NonEmptyReadonlyArray<string>
  readonly concurrency: number
  readonly prefetch: number
  readonly touch: boolean
  readonly grace: number
  readonly idleTimeout: number | undefined
  readonly maxJobs: number
  readonly rules: Rules
  readonly attemptLimits: ReadonlyMap<Handler<any>, AttemptLimit>
  /** Completes when the worker must stop. */
  readonly stop: Effect.Effect<void>
}

const integer = (option: string, value: number, min: number): Effect.Effect<number, BrokerError> => {
  const rule = OptionRules.integer(value, min)
  return rule === undefined ? Effect.succeed(value) : Effect.fail(optionInvalid(option, rule))
}

const duration = (option: string, input: Duration.Input): Effect.Effect<Duration.Duration, BrokerError> =>
  Effect.mapError(Effect.fromResult(OptionRules.readDuration(input)), (rule) => optionInvalid(option, rule))

const queuesOf = (
  options: Options,
  handlers: ReadonlyArray<Handler<any>>
): Effect.Effect<NonEmptyReadonlyArray<string>, BrokerError> => {
  const queues = options.queue === undefined
    ? handlers.map(({ job }) => job.queue)
    : typeof options.queue === "string"
    ? [options.queue]
    : options.queue
  const distinct = [...new Set(queues)]
  return isReadonlyArrayNonEmpty(distinct)
    ? Effect.succeed(distinct)
    : Effect.fail(optionInvalid("queue", "must name at least one queue, not []"))
}

const handlersByName = (
  handlers: ReadonlyArray<Handler<any>>
): Effect.Effect<ReadonlyMap<string, Handler<any>>> => {
  const byName = new Map(handlers.map((handler) => [handler.job.name, handler]))
  return byName.size === handlers.length && handlers.length > 0
    ? Effect.succeed(byName)
    : Effect.die(new Error("a worker must have at least one handler, and only one for each job name"))
}

const attemptLimit = (limit: Duration.Duration): AttemptLimit => {
  const failure = new AttemptTimeout({ timeout: limit })
  return { millis: Duration.toMillis(limit), interruption: { _tag: "Failed", failure, reason: failure.message } }
}

const attemptLimits = (
  handlers: ReadonlyArray<Handler<any>>,
  timeout: Duration.Duration | undefined
): ReadonlyMap<Handler<any>, AttemptLimit> =>
  new Map(handlers.flatMap((handler) => {
    const limit = handler.job.timeout ?? timeout
    return limit === undefined || !Duration.isFinite(limit) ? [] : [[handler, attemptLimit(limit)] as const]
  }))

/** Checks the options and fills in the defaults. */
export const make = Effect.fnUntraced(function*(
  options: Options,
  handlers: ReadonlyArray<Handler<any>>
): Effect.fn.Return<Settings, BrokerError> {
  const byName = yield* handlersByName(handlers)
  const timeout = options.timeout === undefined ? undefined : yield* duration("timeout", options.timeout)
  return {
    queues: yield* queuesOf(options, handlers),
    concurrency: yield* integer("concurrency", options.concurrency ?? 16, 1),
    prefetch: yield* integer("prefetch", options.prefetch ?? 0, 0),
    touch: options.touch ?? true,
    grace: Duration.toMillis(yield* duration("grace", options.grace ?? "30 seconds")),
    idleTimeout: options.idleTimeout === undefined
      ? undefined
      : Duration.toMillis(yield* duration("idleTimeout", options.idleTimeout)),
    maxJobs: options.maxJobs === undefined ? Infinity : yield* integer("maxJobs", options.maxJobs, 0),
    rules: {
      handlers: byName,
      foreign: options.foreign,
      poisonLimit: yield* integer("poisonLimit", options.poisonLimit ?? 5, 1)
    },
    attemptLimits: attemptLimits(handlers, timeout),
    stop: options.stop === undefined ? Effect.never : Effect.asVoid(options.stop)
  }
})
