/**
 * Reserves jobs from queues, runs their handlers and settles them.
 *
 * A worker is a pipeline over batches, and each stage is a function from Stream
 * to Stream in its own file: *reserve* leases, *decode* them and find their
 * handlers, *dispatch* them to at most `concurrency` handlers at once, and
 * *settle* the attempts that ended. A failure at any stage becomes an `Outcome`
 * and does not end the worker. The worker fails only when the broker stays
 * unreachable for longer than the broker's policy allows.
 *
 * It guarantees:
 *
 * - it deletes a job only after its handler succeeded or discarded it
 *   (`Job.discard`), or after its deadline;
 * - it buries an unreadable job, and a job without a handler, with the reason;
 * - it renews a lease while the handler runs, and interrupts a handler whose
 *   lease is lost;
 * - when it is interrupted (SIGTERM under `NodeRuntime.runMain`, or its layer
 *   closes), handlers may finish within the grace time, and jobs that have not
 *   started are requeued at once.
 *
 * A job can run more than once: after a crash, or when an acknowledgement is
 * lost. Use `delivery.id` as an idempotency key where that matters.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import * as Handler from "./Handler.ts"
import { monotonicMillis } from "./internal/clock.ts"
import type { Counts, Outcome } from "./Outcome.ts"
import {
  Attempts,
  type Clocks,
  decode,
  dispatch,
  type Ending,
  makeRunner,
  type Parts,
  Renewal,
  reserve,
  Settings,
  settle,
  type StopReason,
  Telemetry
} from "./worker/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Why a worker stopped, and how its deliveries ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerExit {
  readonly reason: StopReason
  readonly counts: Counts
}

/**
 * The options of a worker; each has a default.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = Settings.Options

export type { Delivery, Handler } from "./Handler.ts"
export { AttemptTimeout } from "./Outcome.ts"

/**
 * Makes a handler: see `Handler.make`.
 *
 * ```ts
 * Worker.handler(SendWelcome, (payload, delivery) => mailer.send(payload.userId, { key: delivery.id }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = Handler.make

/** The services that these handlers require. */
type Services<Handlers extends ReadonlyArray<Handler.Handler<any>>> = Handler.Services<Handlers[number]>

// -----------------------------------------------------------------------------
// The pipeline
// -----------------------------------------------------------------------------

/** A worker that is built. It settles jobs as its outcomes are pulled, and stops gracefully when its scope closes. */
interface Built {
  readonly outcomes: Stream.Stream<Outcome, BrokerError>
  readonly exit: () => WorkerExit
}

const build = Effect.fnUntraced(function*<R>(
  options: Options,
  handlers: ReadonlyArray<Handler.Handler<R>>
): Effect.fn.Return<Built, BrokerError, Broker | R | Scope.Scope> {
  const settings = yield* Settings.make(options, handlers)
  const clock = yield* Clock.Clock
  const clocks: Clocks = {
    now: () => monotonicMillis(clock),
    wallNow: () => clock.currentTimeMillisUnsafe()
  }
  const broker = yield* Broker
  const telemetry = yield* Telemetry.make(yield* Effect.context<R>())
  const consumer = yield* broker.consume(settings.queues)
  const renewal = new Renewal(consumer, settings.touch, clocks.now)
  const runner = makeRunner({ settings, clocks, consumer, renewal, telemetry })
  const attempts = new Attempts(settings, clocks, runner)
  const ending: Ending = { reason: "Stopped", isBrokerAway: false }
  const parts: Parts = { settings, clocks, broker, consumer, attempts, renewal, telemetry, ending }

  yield* Effect.forkScoped(renewal.run(attempts.all))
  yield* Effect.forkScoped(Effect.forever(Effect.map(consumer.leasesLost, (leases) => attempts.lose(leases))))
  yield* Telemetry.log(
    "Info",
    `worker started: ${[...settings.rules.handlers.keys()].join(", ")} on ${
      settings.queues.join(", ")
    } of ${broker.name}`
  )
  return {
    outcomes: reserve(parts).pipe(decode(parts), dispatch(parts), settle(parts)),
    exit: () => ({ reason: ending.reason, counts: attempts.countsSoFar() })
  }
})

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Runs a worker and streams its outcomes. The worker settles jobs as you pull
 * the stream: if you stop pulling, the worker stalls.
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Stream.Stream<Outcome, BrokerError, Broker | Services<Handlers>> =>
  Stream.unwrap(Effect.map(build<Services<Handlers>>(options, handlers), ({ outcomes }) => outcomes))

/**
 * Runs a worker until it stops: after `idleTimeout`, after `maxJobs`, or when
 * `stop` completes. Fails with `Unavailable` when the broker stays unreachable
 * for longer than its policy allows. Interruption stops it gracefully.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Effect.Effect<WorkerExit, BrokerError, Broker | Services<Handlers>> =>
  Effect.scoped(Effect.gen(function*() {
    const { exit, outcomes } = yield* build<Services<Handlers>>(options, handlers)
    yield* Stream.runDrain(outcomes)
    return exit()
  }))

/**
 * Runs a worker for as long as the layer lives, and stops it gracefully when the
 * layer closes. When the worker fails, the layer logs an error and the rest of
 * the program goes on.
 *
 * ```ts
 * Worker.layer({ concurrency: 16 }, Worker.handler(SendWelcome, ...)).pipe(Layer.provide(broker), Layer.launch)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Layer.Layer<never, BrokerError, Broker | Services<Handlers>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const { outcomes } = yield* build<Services<Handlers>>(options, handlers)
    yield* Stream.runDrain(outcomes).pipe(
      Effect.tapCause((cause) => Telemetry.log("Error", "the worker ended", cause)),
      Effect.forkScoped
    )
  }))
