/**
 * The {@link Broker} on beanstalkd.
 *
 * Puts and the commands of operators share one connection, which is opened again
 * whenever it ends. Each consumer has its own connections. All commands of one
 * tick leave in one write, and many commands can be under way at once.
 *
 * Limits of beanstalkd:
 *
 * - Times have a resolution of a second, and are rounded up.
 * - It keeps no reasons and no failures, and can't list jobs.
 * - A queue exists only while it holds jobs or a connection uses it.
 * - Jobs survive a restart only if the server runs with `-b`.
 *
 * An interrupted `put` is not undone: the server may have accepted the job.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Broker, checkQueue } from "../../Broker.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import * as DurationInput from "../../internal/durationInput.ts"
import { Services as Shared } from "../shared/index.ts"
import type { ConnectOptions, Driver } from "./Connection.ts"
import * as BeanstalkConsumer from "./consumer.ts"
import * as Inspection from "./inspector.ts"
import * as Native from "./Native.ts"
import * as Putting from "./putting.ts"
import { failure } from "./replies.ts"
import * as SharedConnection from "./sharedConnection.ts"

/**
 * The options of a broker with any driver.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerOptions {
  /**
   * How long a worker's `reserve` waits for a server that is away. Default: forever. Puts and the commands of operators
   * do not wait: they fail at once.
   */
  readonly reconnectFor?: Duration.Input | undefined
}

/**
 * The options of the layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ConnectOptions, BrokerOptions {}

/**
 * Creates a broker on a driver, and its inspector.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  driver: Driver,
  options: BrokerOptions = {}
): Effect.fn.Return<Services, never, Scope.Scope> {
  const { name } = driver
  const reconnectFor = options.reconnectFor === undefined
    ? Duration.infinity
    : DurationInput.fromInputUnsafe(options.reconnectFor)
  const shared = yield* SharedConnection.make(driver)
  const features = {
    resolution: "second",
    canList: false,
    canBury: driver.canReserveJob,
    canMove: driver.canReserveJob,
    keepsReasons: false,
    keepsDone: false,
    keepsAttempts: false
  } as const
  return {
    broker: {
      name,
      features,
      ping: shared.one(
        { _tag: "ListTubeUsed" },
        (answer) => answer?._tag === "Using" ? Result.void : failure(name, "ListTubeUsed", answer)
      ),
      put: Putting.put(shared),
      putAll: Putting.putAll(shared),
      consume: (queues) =>
        Effect.andThen(
          Effect.forEach(queues, (queue) => Effect.fromResult(checkQueue(queue)), { discard: true }),
          BeanstalkConsumer.make({ driver, queues, reconnectFor })
        ),
      idleWorkers: (queue) =>
        Effect.map(shared.statsTube(queue), (stats) => stats["current-waiting"]).pipe(
          Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed(0))
        )
    },
    inspector: Inspection.make(features, shared)
  }
})

/**
 * The broker on your own driver.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDriver = (driver: Driver, options?: BrokerOptions): Layer.Layer<Broker | Inspector> =>
  Shared.layer(make(driver, options))

/**
 * The broker at a host and port. The layer is built even if the server is away;
 * `ping` tells whether it answers.
 *
 * @example
 * ```ts
 * import { BeanstalkBroker } from "backq/beanstalk"
 *
 * const broker = BeanstalkBroker.layer({ host: "queue.example.org", reconnectFor: "5 minutes" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Broker | Inspector> =>
  layerDriver(Native.driver(options), options)
