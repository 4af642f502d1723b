/** Runs one payload through one handler as a worker would, without a queue. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Broker, type Consumer, JobId, type Lease, type LeaseInfo, type PutRequest } from "../Broker.ts"
import { MemoryBroker } from "../brokers/memory/index.ts"
import type { Handler } from "../Handler.ts"
import { effectOf } from "../internal/thrown.ts"
import type { Outcome } from "../Outcome.ts"
import * as Publisher from "../Publisher.ts"
import * as Worker from "../Worker.ts"

/**
 * The options of {@link perform}.
 *
 * @category models
 * @since 0.1.0
 */
export interface PerformOptions {
  /** The number of the attempt, from 1. The retry schedule is replayed up to it. Default: 1. */
  readonly attempt?: number | undefined
  /** How many earlier deliveries ended without a settlement; see `LeaseInfo`. Default: 0. */
  readonly abandoned?: number | undefined
  /** The options of its publication. Default: the job's. */
  readonly publish?: Publisher.PublishOptions | undefined
  /** The options of the worker. */
  readonly worker?: Pick<Worker.Options, "timeout" | "poisonLimit" | "grace"> | undefined
}

const id = JobId.make("1")

const succeedAll = <A>(answer: A) => (questions: ReadonlyArray<unknown>) =>
  Effect.succeed(questions.map(() => Result.succeed(answer)))

/** A consumer with one lease. */
const consumerOf = (lease: Lease): Consumer => {
  const leases: Array<Lease> = [lease]
  return {
    reserve: () =>
      Effect.suspend(() => {
        const next = leases.pop()
        return next === undefined ? Effect.never : Effect.succeed<NonEmptyReadonlyArray<Lease>>([next])
      }),
    settle: succeedAll(undefined),
    touch: succeedAll(undefined),
    inspect: succeedAll(lease.info!),
    leasesLost: Effect.never
  }
}

/** The request that a publisher makes from a payload. */
const encode = Effect.fnUntraced(function*(
  handler: Handler<any>,
  payload: unknown,
  options: Publisher.PublishOptions | undefined
): Effect.fn.Return<PutRequest, Publisher.PublishError> {
  const requests: Array<PutRequest> = []
  const broker = Layer.mock(Broker)({
    features: MemoryBroker.features,
    name: "perform:",
    put: (_, request) => Effect.sync(() => (requests.push(request), id))
  })
  // Publisher.layer may be built already, on another broker
  const publisher = yield* Effect.provide(Publisher.make, broker)
  yield* publisher.publish(handler.job, payload, options)
  return requests[0]!
})

/** Gives a handler that uses a broker the broker of the test, not the double that holds the payload. */
const onBrokerOf = <R>(handler: Handler<R>): Effect.Effect<Handler<R>> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const broker = Context.getOption(context, Broker)
    return Effect.succeed(
      Option.isNone(broker) ? handler : {
        job: handler.job,
        run: (payload, delivery) =>
          Effect.provideService(effectOf("the handler", () => handler.run(payload, delivery)), Broker, broker.value)
      }
    )
  })

/**
 * Encodes a payload, decodes it, runs the handler once and returns the outcome
 * that a worker would report. Fails when the payload does not encode.
 *
 * ```ts
 * const outcome = yield* perform(welcome, { userId: "42" }, { attempt: 3 })
 * assert.strictEqual(outcome._tag, "Retried")
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const perform = Effect.fnUntraced(function*<R>(
  handler: Handler<R>,
  payload: unknown,
  options: PerformOptions = {}
): Effect.fn.Return<Outcome, Publisher.PublishError, R> {
  const { body, priority, ttr } = yield* encode(handler, payload, options.publish)
  const queue = options.publish?.queue ?? handler.job.queue
  const info: LeaseInfo = { attempt: options.attempt ?? 1, abandoned: options.abandoned ?? 0, buries: 0, priority, ttr }
  const broker = Layer.mock(Broker)({
    features: MemoryBroker.features,
    name: "perform:",
    consume: () => Effect.succeed(consumerOf({ id, queue, body, info }))
  })
  const outcomes = Worker.stream({ ...options.worker, queue, concurrency: 1 }, yield* onBrokerOf(handler))
  return Option.getOrThrow(yield* Stream.runHead(outcomes).pipe(Effect.orDie, Effect.provide(broker)))
})
