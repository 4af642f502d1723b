/**
 * The Broker over beanstalkd.
 *
 * Puts and an operator's commands share one connection, which is kept alive in
 * the background; each consumer has connections of its own. Everything that is
 * asked for in one tick leaves in one write, and many commands may be under
 * way.
 *
 * What is particular to beanstalkd: times have a resolution of a second and
 * are rounded up; reasons and failures are not kept; jobs can't be listed; a queue exists
 * while it holds jobs or a connection uses it; jobs survive a restart only
 * where the server runs with `-b`.
 *
 * Limits: an interrupted `put` is not taken back, the job may be accepted.
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
 * How a broker behaves, whatever the driver.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerOptions {
  /**
   * How long the server may be away before a worker's `reserve` fails. Default:
   * for ever. Puts and operator's commands fail at once while it is away.
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
 * Makes a broker over a driver, and its inspector.
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
    keepsDone: false
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
 * The broker over a driver of your own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDriver = (driver: Driver, options?: BrokerOptions): Layer.Layer<Broker | Inspector> =>
  Shared.layer(make(driver, options))

/**
 * The broker at a host and port. The layer is built whether or not the server
 * can be reached; `ping` tells.
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
