/**
 * A broker in memory for tests, with helpers to look at its jobs and run them.
 *
 * A test publishes with the service's own code, looks at the enqueued jobs, and
 * runs them with the service's own handlers. Time is the TestClock's, so that no
 * test waits.
 *
 * ```ts
 * yield* Publisher.publish(SendWelcome, { userId: "42" }, { delay: "10 seconds" })
 * yield* TestBroker.advance("10 seconds")
 * const outcomes = yield* TestBroker.drain(Worker.handler(SendWelcome, sendWelcome))
 * ```
 *
 * {@link enqueued} knows all jobs, since each goes through this layer's `Broker`.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Broker, type Consumer, type JobId, type JobState, type Lease } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import { MemoryBroker } from "../brokers/memory/index.ts"
import * as Envelope from "../Envelope.ts"
import type { Handler, Services } from "../Handler.ts"
import { Inspector, type JobStats, type Services as BrokerServices } from "../Inspector.ts"
import type { Job } from "../Job.ts"
import type { Outcome } from "../Outcome.ts"
import * as Publisher from "../Publisher.ts"
import * as Worker from "../Worker.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An enqueued job with its decoded payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Enqueued<A> extends Omit<JobStats, "id" | "age" | "timeLeft"> {
  readonly payload: A
  /** The envelope's id. */
  readonly id: string
  /** The broker's id. */
  readonly jobId: JobId
  /** The time until the job is ready; zero when it is not delayed. */
  readonly delay: Duration.Duration
  /** The deadline, in milliseconds since the epoch; `undefined` when there is none. */
  readonly expiresAt: number | undefined
}

/**
 * Which jobs {@link enqueued} returns.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnqueuedOptions {
  /** The queue. Default: the job's. */
  readonly queue?: string | undefined
  /** The state. Default: ready or delayed. */
  readonly state?: JobState | undefined
}

/**
 * The options of {@link drainWith}: those of a worker, without those that stop it.
 *
 * @category models
 * @since 0.1.0
 */
export type DrainOptions = Omit<Worker.Options, "stop" | "idleTimeout">

/**
 * What a test can do with its broker.
 *
 * @category services
 * @since 0.1.0
 */
export class TestBroker extends Context.Service<TestBroker, {
  /** The enqueued jobs of a kind, in the order of their publication. */
  readonly enqueued: <A>(job: Job<A>, options?: EnqueuedOptions) => Effect.Effect<ReadonlyArray<Enqueued<A>>>

  /** Runs ready jobs until no job is ready. */
  readonly drain: <const Handlers extends ReadonlyArray<Handler<any>>>(
    options: DrainOptions,
    ...handlers: Handlers
  ) => Effect.Effect<ReadonlyArray<Outcome>, BrokerError, Services<Handlers[number]>>
}>()("backq/testing/TestBroker") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** A broker that adds the id of each accepted job to `ids`. */
const recordIds = ({ broker, inspector }: BrokerServices, ids: Set<JobId>): BrokerServices => ({
  broker: {
    ...broker,
    put: (queue, request) => Effect.tap(broker.put(queue, request), (id) => Effect.sync(() => ids.add(id))),
    putAll: (queue, requests) =>
      Effect.tap(broker.putAll(queue, requests), (results) =>
        Effect.sync(() => {
          for (const result of results) if (Result.isSuccess(result)) ids.add(result.success)
        }))
  },
  inspector: {
    ...inspector,
    moveJob: (id, queue) => Effect.tap(inspector.moveJob(id, queue), (id) => Effect.sync(() => ids.add(id))),
    restore: (queue, requests) =>
      Effect.tap(inspector.restore(queue, requests), (results) =>
        Effect.sync(() => {
          for (const result of results) if (Result.isSuccess(result)) ids.add(result.success)
        }))
  }
})

const makeEnqueued = (inspector: Inspector["Service"], ids: Set<JobId>): TestBroker["Service"]["enqueued"] => {
  const look = Effect.fnUntraced(function*<A>(
    jobId: JobId,
    job: Job<A>,
    { queue = job.queue, state }: EnqueuedOptions
  ): Effect.fn.Return<Enqueued<A> | undefined, BrokerError> {
    const peeked = yield* inspector.peek(jobId)
    if (Option.isNone(peeked)) {
      ids.delete(jobId)
      return undefined
    }
    const { age: _, id: __, timeLeft, ...stats } = yield* inspector.statsJob(jobId)
    const wanted = state === undefined ? stats.state === "ready" || stats.state === "delayed" : stats.state === state
    if (!wanted || stats.queue !== queue) return undefined
    const envelope = Envelope.decode(peeked.value.body)
    if (Result.isFailure(envelope) || envelope.success.job !== job.name) return undefined
    const { expiresAt, id, payload, version = 1 } = envelope.success
    return {
      ...stats,
      payload: Result.getOrThrow(
        job.decode(job.exactNumbers ? Envelope.exactPayload(peeked.value.body, envelope.success) : payload, version)
      ),
      id,
      jobId,
      delay: stats.state === "delayed" ? timeLeft : Duration.zero,
      expiresAt
    }
  })
  return (job, options = {}) =>
    Effect.forEach([...ids], (id) => look(id, job, options)).pipe(
      Effect.map((looked) => looked.filter((one) => one !== undefined)),
      // the broker in memory never fails here
      Effect.orDie
    )
}

/**
 * A broker that completes `drained` when no work is left: its consumer holds no
 * lease, and no job is ready on a queue that is not paused.
 */
const completeWhenDrained = (
  { broker, inspector }: BrokerServices,
  drained: Deferred.Deferred<void>
): Broker["Service"] => {
  const isIdle = (queues: ReadonlyArray<string>) =>
    Effect.map(
      Effect.forEach(queues, inspector.statsQueue),
      (all) => all.every((queue) => queue.ready === 0 || !Duration.isZero(queue.pausedFor))
    )
  return {
    ...broker,
    consume: Effect.fnUntraced(function*(queues): Effect.fn.Return<Consumer, BrokerError, Scope.Scope> {
      const consumer = yield* broker.consume(queues)
      const held = new Set<Lease>()
      const check = Effect.suspend(() =>
        held.size > 0 ? Effect.void : Effect.flatMap(
          isIdle(queues),
          (idle) => idle ? Effect.asVoid(Deferred.succeed(drained, undefined)) : Effect.void
        )
      )
      return {
        ...consumer,
        reserve: (max) =>
          Effect.tap(
            Effect.andThen(check, consumer.reserve(max)),
            (leases) => Effect.sync(() => leases.forEach((lease) => held.add(lease)))
          ),
        settle: (settlements) =>
          Effect.tap(consumer.settle(settlements), () => {
            for (const { lease } of settlements) held.delete(lease)
            return Effect.orDie(check)
          })
      }
    })
  }
}

const makeDrain = (services: BrokerServices): TestBroker["Service"]["drain"] => (options, ...handlers) =>
  Effect.flatMap(
    Deferred.make<void>(),
    (drained) =>
      Worker.stream({ concurrency: 1, ...options, stop: Deferred.await(drained) }, ...handlers).pipe(
        Stream.runCollect,
        Effect.provideService(Broker, completeWhenDrained(services, drained))
      )
  )

const make = Effect.gen(function*() {
  const ids = new Set<JobId>()
  const services = recordIds(yield* MemoryBroker.make, ids)
  return Context.make(Broker, services.broker).pipe(
    Context.add(Inspector, services.inspector),
    Context.add(TestBroker, { enqueued: makeEnqueued(services.inspector, ids), drain: makeDrain(services) })
  )
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Provides an empty broker in memory, a publisher on it, and the helpers of this module.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Broker | Inspector | Publisher.Publisher | TestBroker> = Layer.provideMerge(
  Publisher.layer,
  Layer.effectContext(make)
)

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * The enqueued jobs of a kind, in the order of their publication. Dies when the
 * job's Schema does not decode a payload.
 *
 * @category accessors
 * @since 0.1.0
 */
export const enqueued = <A>(
  job: Job<A>,
  options?: EnqueuedOptions
): Effect.Effect<ReadonlyArray<Enqueued<A>>, never, TestBroker> =>
  TestBroker.use((testBroker) => testBroker.enqueued(job, options))

/**
 * Runs the ready jobs on the queues of these handlers, one after the other, until
 * no job is ready. Returns the outcome of each delivery. It also runs the jobs
 * that the handlers publish meanwhile. Delayed jobs stay, such as those that wait
 * for a retry: {@link advance} the time and drain again.
 *
 * It is a real worker: it buries a job on these queues that has no handler.
 *
 * @category running
 * @since 0.1.0
 */
export const drain = <const Handlers extends ReadonlyArray<Handler<any>>>(
  ...handlers: Handlers
): Effect.Effect<ReadonlyArray<Outcome>, BrokerError, TestBroker | Services<Handlers[number]>> =>
  drainWith({}, ...handlers)

/**
 * Like {@link drain}, with the options of a worker: other queues, more concurrency, a decoder for foreign bodies.
 *
 * @category running
 * @since 0.1.0
 */
export const drainWith = <const Handlers extends ReadonlyArray<Handler<any>>>(
  options: DrainOptions,
  ...handlers: Handlers
): Effect.Effect<ReadonlyArray<Outcome>, BrokerError, TestBroker | Services<Handlers[number]>> =>
  TestBroker.use((testBroker) => testBroker.drain(options, ...handlers))

/**
 * How often fibers run before time passes. A worker needs about ten turns from
 * its start until its handlers wait for the clock, and the TestClock gives one.
 */
const turns = 50

/**
 * Moves the TestClock. Afterwards the jobs that are due are ready, and waiting
 * workers have started them. Fibers that were forked before run first, until they
 * wait.
 *
 * @category accessors
 * @since 0.1.0
 */
export const advance = (duration: Duration.Input): Effect.Effect<void> =>
  Effect.andThen(Effect.repeat(Effect.yieldNow, { times: turns }), TestClock.adjust(duration))
