/**
 * The {@link Broker} in memory, for tests and for programs that need no queue
 * server.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. Time is
 * Effect's `Clock` as it was when the broker was made, so a `TestClock` moves
 * it. Operations are synchronous inside: none is ever half done, whatever is
 * interrupted.
 *
 * Nothing survives the process, and only this process sees the jobs.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  Broker,
  checkMax,
  checkQueue,
  type Consumer,
  defaultMaxJobSize,
  type JobId,
  type PeekedJob
} from "../../Broker.ts"
import { type BrokerError, consumerClosed, jobNotFound, queueNotFound } from "../../BrokerError.ts"
import { Paging } from "../shared/index.ts"
import * as Jobs from "./jobs.ts"
import { Store } from "./store.ts"
import type { Holder } from "./waiters.ts"

/**
 * How a memory broker is made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The largest body that is accepted, in bytes. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
}

const name = "memory:"

const peeked = (job: Jobs.Job | undefined): Option.Option<PeekedJob> =>
  job === undefined ? Option.none() : Option.some({ id: job.id, body: new Uint8Array(job.body) })

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const consumerOf = (store: Store, holder: Holder): Consumer => ({
  reserve: (max) =>
    Effect.suspend(() => {
      if (holder.isClosed) return Effect.fail(consumerClosed(name))
      const checked = checkMax(max)
      return Result.isFailure(checked) ? Effect.fail(checked.failure) : store.reserve(holder, max)
    }),
  settle: (settlements) => Effect.sync(() => store.settle(holder, settlements)),
  touch: (leases) =>
    Effect.sync(() =>
      leases.map((lease) => Result.map(store.held(holder, lease), (job) => Jobs.touch(job, store.now())))
    ),
  inspect: (leases) => Effect.sync(() => leases.map((lease) => Result.map(store.held(holder, lease), Jobs.leaseInfo))),
  leasesLost: Effect.never
})

const brokerOf = (store: Store): Broker["Service"] => {
  const existing = (queue: string): Effect.Effect<Jobs.Queue | undefined, BrokerError> =>
    Effect.suspend(() => Effect.fromResult(Result.map(checkQueue(queue), () => store.existing(queue))))

  const act = <A>(id: JobId, isAllowed: (job: Jobs.Job) => boolean, action: (job: Jobs.Job) => A) =>
    Effect.suspend(() => Effect.fromResult(store.act(id, isAllowed, action)))

  const pause: Broker["Service"]["pause"] = (queue, duration) =>
    Effect.suspend(() => Effect.fromResult(store.pause(queue, duration)))

  return {
    name,
    ping: Effect.void,
    put: (queue, request) => Effect.suspend(() => Effect.fromResult(store.put(queue, [request])[0]!)),
    putAll: (queue, requests) => Effect.sync(() => store.put(queue, requests)),
    consume: (queues) =>
      Effect.acquireRelease(
        Effect.suspend(() => Effect.fromResult(store.open(queues))),
        (holder) => Effect.sync(() => store.close(holder, consumerClosed(name)))
      ).pipe(Effect.map((holder) => consumerOf(store, holder))),
    idleWorkers: (queue) =>
      Effect.map(existing(queue), (found) => found === undefined ? 0 : store.waiters.count(found)),
    peek: (id) => Effect.sync(() => peeked(store.find(id))),
    peekNext: (queue, state) => Effect.map(existing(queue), (found) => peeked(found?.[state].peek())),
    list: Effect.fnUntraced(function*(queue, options) {
      const request = yield* Effect.fromResult(Paging.request(options))
      const found = yield* existing(queue)
      return found === undefined ? { jobs: [], next: undefined } : Jobs.list(found, request, store.now())
    }),
    delete: (id) => act(id, ({ state }) => state !== "reserved", (job) => Jobs.remove(store.jobs, job)),
    kick: Effect.fnUntraced(function*(queue, max) {
      yield* Effect.fromResult(checkMax(max))
      const found = yield* existing(queue)
      if (found === undefined) return 0
      const kicked = Jobs.kickQueue(found, max)
      store.serve([found])
      return kicked
    }),
    kickJob: (id) => act(id, ({ state }) => state === "buried" || state === "delayed", Jobs.kick),
    buryJob: (id, reason) =>
      act(
        id,
        ({ state }) => state === "ready" || state === "delayed",
        (job) => Jobs.putAside(store.jobs, job, reason)
      ),
    moveJob: (id, queue) => Effect.suspend(() => Effect.fromResult(store.move(id, queue))),
    pause,
    resume: (queue) => pause(queue, Duration.zero),
    stats: Effect.sync(() => store.stats()),
    statsQueue: (queue) =>
      Effect.flatMap(existing(queue), (found) =>
        found === undefined
          ? Effect.fail(queueNotFound(queue))
          : Effect.succeed(Jobs.queueStats(found, store.waiters.count(found), store.now()))),
    statsJob: (id) =>
      Effect.suspend(() => {
        const job = store.find(id)
        return job === undefined ? Effect.fail(jobNotFound(id)) : Effect.succeed(Jobs.jobStats(job, store.now()))
      }),
    queues: Effect.sync(() => store.names())
  }
}

/**
 * Makes a memory broker with options.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = Effect.fnUntraced(function*(
  { maxJobSize = defaultMaxJobSize }: Options = {}
): Effect.fn.Return<Broker["Service"], never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const runAlarm = yield* FiberHandle.makeRuntime<never>()
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
  const store: Store = new Store({
    maxJobSize,
    now,
    wallNow: () => clock.currentTimeMillisUnsafe(),
    setAlarm: (at) =>
      runAlarm(Effect.andThen(clock.sleep(Duration.millis(at - now())), Effect.sync(() => store.ring())))
  })
  return brokerOf(store)
})

/**
 * Makes a memory broker.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Broker["Service"], never, Scope.Scope> = makeWith()

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A memory broker with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Broker> => Layer.effect(Broker, makeWith(options))

/**
 * A memory broker.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Broker> = Layer.effect(Broker, make)
