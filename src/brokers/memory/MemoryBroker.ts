/**
 * The {@link Broker} in memory, for tests and for programs that need no queue
 * server.
 *
 * It behaves like beanstalkd, in milliseconds instead of seconds. It uses the
 * `Clock` that is in context when it is created, so a `TestClock` moves its time.
 * Operations are synchronous inside: an interruption never leaves one half done.
 *
 * Limit: the jobs are lost when the process ends, and no other process sees them.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Broker, Consumer, Features } from "../../Broker.ts"
import { consumerClosed } from "../../BrokerError.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { Rules, Services as Shared } from "../shared/index.ts"
import * as Inspection from "./inspector.ts"
import * as Jobs from "./jobs.ts"
import { Store } from "./store.ts"
import type { Holder } from "./waiters.ts"

/**
 * The options of a memory broker.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The largest accepted body in bytes. Default: 65535, as in beanstalkd. */
  readonly maxJobSize?: number | undefined
}

const name = "memory:"

/**
 * What a memory broker can and can't do.
 *
 * @category constants
 * @since 0.1.0
 */
export const features: Features = {
  resolution: "millisecond",
  canList: true,
  canBury: true,
  canMove: true,
  keepsReasons: true,
  keepsDone: false,
  keepsAttempts: true
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const consumerOf = (store: Store, holder: Holder): Consumer => ({
  reserve: (max) =>
    Effect.suspend(() => {
      if (holder.isClosed) return Effect.fail(consumerClosed(name))
      const checked = Rules.checkMax(max)
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

const brokerOf = (store: Store): Broker["Service"] => ({
  name,
  features,
  ping: Effect.void,
  put: (queue, request) => Effect.suspend(() => Effect.fromResult(store.put(queue, [request])[0]!)),
  putAll: (queue, requests) => Effect.sync(() => store.put(queue, requests)),
  consume: (queues) =>
    Effect.acquireRelease(
      Effect.suspend(() => Effect.fromResult(store.open(queues))),
      (holder) => Effect.sync(() => store.close(holder, consumerClosed(name)))
    ).pipe(Effect.map((holder) => consumerOf(store, holder))),
  idleWorkers: (queue) => Effect.suspend(() => Effect.fromResult(store.idleWorkers(queue)))
})

/**
 * Creates a memory broker with options, and its inspector.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = Effect.fnUntraced(function*(
  { maxJobSize = Rules.defaultMaxJobSize }: Options = {}
): Effect.fn.Return<Services, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const runAlarm = yield* FiberHandle.makeRuntime<never>()
  const now = () => monotonicMillis(clock)
  const store: Store = new Store({
    maxJobSize,
    now,
    wallNow: () => clock.currentTimeMillisUnsafe(),
    setAlarm: (at) =>
      runAlarm(Effect.andThen(clock.sleep(Duration.millis(at - now())), Effect.sync(() => store.ring())))
  })
  return { broker: brokerOf(store), inspector: Inspection.make(name, features, store) }
})

/**
 * Creates a memory broker, and its inspector.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Services, never, Scope.Scope> = makeWith()

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A memory broker with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Broker | Inspector> => Shared.layer(makeWith(options))

/**
 * A memory broker.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Broker | Inspector> = Shared.layer(make)
