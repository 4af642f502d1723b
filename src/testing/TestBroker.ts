/**
 * A broker for tests: the one in memory, and what a test asks of it.
 *
 * A test publishes with the service's own code, looks at what is enqueued, and
 * runs it with the service's own handlers. Time is the TestClock's: nothing
 * waits for real.
 *
 * ```ts
 * yield* Publisher.publish(SendWelcome, { userId: "42" }, { delay: "10 seconds" })
 * yield* TestBroker.advance("10 seconds")
 * const outcomes = yield* TestBroker.drain(Worker.handler(SendWelcome, sendWelcome))
 * ```
 *
 * {@link enqueued} knows the jobs that were put through this layer's `Broker`,
 * which are all there can be.
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
 * A job that is enqueued, with its payload decoded.
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
  /** Until it is ready; zero when it is not delayed. */
  readonly delay: Duration.Duration
  /** Until when it is wanted, in milliseconds since the epoch. */
  readonly expiresAt: number | undefined
}

/**
 * Which jobs {@link enqueued} shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnqueuedOptions {
  /** Default: the job's. */
  readonly queue?: string | undefined
  /** Default: those that wait to be run, ready or delayed. */
  readonly state?: JobState | undefined
}

/**
 * How {@link drainWith} works: a worker's options, but for those that say when it stops.
 *
 * @category models
 * @since 0.1.0
 */
export type DrainOptions = Omit<Worker.Options, "stop" | "idleTimeout">

/**
 * What a test asks of its broker.
 *
 * @category services
 * @since 0.1.0
 */
export class TestBroker extends Context.Service<TestBroker, {
  /** The jobs of a kind that wait to be run, in the order in which they were published. */
  readonly enqueued: <A>(job: Job<A>, options?: EnqueuedOptions) => Effect.Effect<ReadonlyArray<Enqueued<A>>>

  /** Runs everything that is ready, until nothing is. */
  readonly drain: <const Handlers extends ReadonlyArray<Handler<any>>>(
    options: DrainOptions,
    ...handlers: Handlers
  ) => Effect.Effect<ReadonlyArray<Outcome>, BrokerError, Services<Handlers[number]>>
}>()("backq/testing/TestBroker") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** A broker that remembers the ids of the jobs it accepted. */
const remembering = ({ broker, inspector }: BrokerServices, ids: Set<JobId>): BrokerServices => ({
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
    moveJob: (id, queue) => Effect.tap(inspector.moveJob(id, queue), (id) => Effect.sync(() => ids.add(id)))
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
      // the broker in memory doesn't fail to look
      Effect.orDie
    )
}

/**
 * A broker whose consumers say when there is nothing left to do: nothing is
 * held, and nothing is ready on a queue that is not paused.
 */
const draining = ({ broker, inspector }: BrokerServices, drained: Deferred.Deferred<void>): Broker["Service"] => {
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
        Effect.provideService(Broker, draining(services, drained))
      )
  )

const make = Effect.gen(function*() {
  const ids = new Set<JobId>()
  const services = remembering(yield* MemoryBroker.make, ids)
  return Context.make(Broker, services.broker).pipe(
    Context.add(Inspector, services.inspector),
    Context.add(TestBroker, { enqueued: makeEnqueued(services.inspector, ids), drain: makeDrain(services) })
  )
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * An empty broker in memory, a publisher on it, and the helpers of this module.
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
 * The jobs of a kind that wait to be run, in the order in which they were
 * published. Dies when a payload is not what the job's Schema says.
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
 * Runs everything that is ready on the queues of these handlers, one job after
 * the other, until nothing is ready, and returns what became of each delivery.
 * What the handlers publish meanwhile is run too; what is delayed, because it
 * failed for instance, stays: {@link advance} the time and drain again.
 *
 * It is a real worker: a job on these queues that none of the handlers is for
 * is buried.
 *
 * @category running
 * @since 0.1.0
 */
export const drain = <const Handlers extends ReadonlyArray<Handler<any>>>(
  ...handlers: Handlers
): Effect.Effect<ReadonlyArray<Outcome>, BrokerError, TestBroker | Services<Handlers[number]>> =>
  drainWith({}, ...handlers)

/**
 * {@link drain} with a worker's options: other queues, more concurrency, a decoder for foreign bodies.
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
 * How many turns fibers get before time passes. A worker takes about ten from
 * its start until its handlers wait for the clock, which by itself waits for
 * one.
 */
const turns = 50

/**
 * Lets time pass on the TestClock: what is due by then is ready, and waiting
 * workers have begun with it. Fibers that were forked before run first, until
 * they wait for something.
 *
 * @category accessors
 * @since 0.1.0
 */
export const advance = (duration: Duration.Input): Effect.Effect<void> =>
  Effect.andThen(Effect.repeat(Effect.yieldNow, { times: turns }), TestClock.adjust(duration))
