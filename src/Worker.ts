/**
 * The receiving end: takes jobs from queues, runs their handlers and settles
 * them.
 *
 * A pipeline of four stages, each a function from Stream to Stream in a file of
 * its own, over batches: *reserve* leases, *decode* them and find the handler of
 * each, *dispatch* them to the handlers, at most `concurrency` at once, and
 * *settle* what ended. A failure at any stage becomes an `Outcome`, never the
 * end of the worker; only a broker that stays away for longer than its own
 * policy allows ends it.
 *
 * What it guarantees:
 *
 * - a job is deleted only after its handler succeeded, or because the handler
 *   said so (`Job.discard`), or because it was past its deadline;
 * - whatever can't be read or has no handler is buried with the reason;
 * - a lease is renewed while its handler runs, and a handler whose lease is
 *   lost is interrupted;
 * - when the worker is interrupted (SIGTERM under `NodeRuntime.runMain`, or its
 *   layer closes), handlers may finish within the grace time, and everything
 *   else goes back to its queue at once.
 *
 * A job can run more than once: after a crash, or when an acknowledgement was
 * lost. Use `delivery.id` as idempotency key where that matters.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker } from "./Broker.ts"
import type { BrokerError } from "./BrokerError.ts"
import * as Handler from "./Handler.ts"
import type { Counts, Outcome } from "./Outcome.ts"
import {
  type Attempt,
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
 * Why a worker stopped by itself, and what it did.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerExit {
  readonly reason: StopReason
  readonly counts: Counts
}

/**
 * How a worker works; all fields have defaults.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = Settings.Options

export type { Delivery, Handler } from "./Handler.ts"
export { AttemptTimeout } from "./Outcome.ts"

/**
 * Says how a job is run.
 *
 * ```ts
 * Worker.handler(SendWelcome, (payload, delivery) => mailer.send(payload.userId, { key: delivery.id }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = Handler.make

/** The union of what some handlers need. */
type Services<Handlers extends ReadonlyArray<Handler.Handler<any>>> = Handler.Services<Handlers[number]>

// -----------------------------------------------------------------------------
// The pipeline
// -----------------------------------------------------------------------------

/** A worker that is ready to run. Pulling its outcomes is what settles its jobs; closing its scope stops it gracefully. */
interface Ready {
  readonly outcomes: Stream.Stream<Outcome, BrokerError>
  readonly exit: () => WorkerExit
}

const ready = Effect.fnUntraced(function*<R>(
  options: Options,
  handlers: ReadonlyArray<Handler.Handler<R>>
): Effect.fn.Return<Ready, BrokerError, Broker | R | Scope.Scope> {
  const settings = yield* Settings.make(options, handlers)
  const clock = yield* Clock.Clock
  const clocks: Clocks = {
    now: () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
    wallNow: () => clock.currentTimeMillisUnsafe()
  }
  const broker = yield* Broker
  const telemetry = yield* Telemetry.make(yield* Effect.context<R>())
  const consumer = yield* broker.consume(settings.queues)
  const renewal = new Renewal(consumer, settings.touch, clocks.now)
  const runner = makeRunner({ settings, clocks, consumer, renewal, telemetry })
  const attempts = new Attempts(settings, clocks, runner, yield* Queue.unbounded<Attempt, BrokerError | Cause.Done>())
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
 * The outcomes of a worker, for those who want to look at each. Pulling the
 * stream is what settles the jobs: a consumer that stops to pull stops the
 * worker.
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Stream.Stream<Outcome, BrokerError, Broker | Services<Handlers>> =>
  Stream.unwrap(Effect.map(ready<Services<Handlers>>(options, handlers), ({ outcomes }) => outcomes))

/**
 * Runs a worker until it stops: after its idle time, after its number of jobs,
 * or when `options.stop` completes. Fails with `Unavailable` when the broker
 * stayed away for longer than its policy allows. Interruption stops it
 * gracefully.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Effect.Effect<WorkerExit, BrokerError, Broker | Services<Handlers>> =>
  Effect.scoped(Effect.gen(function*() {
    const { exit, outcomes } = yield* ready<Services<Handlers>>(options, handlers)
    yield* Stream.runDrain(outcomes)
    return exit()
  }))

/**
 * Runs a worker for as long as the layer lives. When the layer closes the
 * worker stops gracefully.
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
    const { outcomes } = yield* ready<Services<Handlers>>(options, handlers)
    yield* Stream.runDrain(outcomes).pipe(
      Effect.tapCause((cause) => Telemetry.log("Error", "the worker ended", cause)),
      Effect.forkScoped
    )
  }))
