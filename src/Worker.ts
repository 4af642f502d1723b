/**
 * The receiving end: takes jobs from queues, runs their handlers and settles
 * them.
 *
 * Four stages, each readable alone: *reserve* a batch of leases
 * (`Broker.consume`), *decode and dispatch* each to the handler of its job
 * (`internal/dispatch`), *run* the handlers, at most `concurrency` at once
 * (`internal/inFlight`), and *settle* what ended, in batches
 * (`internal/settle`). A failure at any stage becomes an `Outcome`, never the
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
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker, type Lease, type LeaseInfo } from "./Broker.ts"
import { type BrokerError, leaseLost } from "./BrokerError.ts"
import type { ForeignDecoder } from "./Envelope.ts"
import * as Handler from "./Handler.ts"
import { effectOf } from "./internal/thrown.ts"
import { type Counts, formatCounts, noCounts, type Outcome } from "./Outcome.ts"
import { dispatch, type Work } from "./worker/dispatch.ts"
import * as InFlight from "./worker/inFlight.ts"
import * as Caretaker from "./worker/renewal.ts"
import * as Settings from "./worker/settings.ts"
import { settle } from "./worker/settling.ts"
import * as Telemetry from "./worker/telemetry.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** How a worker works. */
export interface Options {
  /** The queues it serves. Default: those of its handlers' jobs. */
  readonly queue?: string | NonEmptyReadonlyArray<string> | undefined
  /** How many handlers run at once. Default: 16. */
  readonly concurrency?: number | undefined
  /** How many jobs it holds ready beyond those that run, to save a round trip between two jobs. Default: 0. */
  readonly prefetch?: number | undefined
  /** Renew the leases of jobs that run or wait here. Default: true. */
  readonly touch?: boolean | undefined
  /** How long one attempt may take. Default: what the job says; the job's own limit wins. */
  readonly timeout?: Duration.Input | undefined
  /**
   * After how many deliveries that ended without a word (the worker died, or
   * hung until the time to run was over) a job is buried. Default: 5.
   */
  readonly poisonLimit?: number | undefined
  /** How long running handlers may go on when the worker is stopped. Default: 30 seconds. */
  readonly grace?: Duration.Input | undefined
  /** Stop when there was no job for this long. Default: never. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Stop after this many jobs were settled. Default: never. */
  readonly maxJobs?: number | undefined
  /** Stop gracefully when this completes. Default: never. */
  readonly stop?: Effect.Effect<unknown> | undefined
  /** Reads bodies that are not envelopes. Default: they are buried. */
  readonly foreign?: ForeignDecoder | undefined
}

/** Why a worker stopped by itself, and what it did. */
export interface WorkerExit {
  readonly reason: "IdleTimeout" | "MaxJobs" | "Stopped"
  readonly counts: Counts
}

export type { Delivery, Handler } from "./Handler.ts"
export { AttemptTimeout } from "./Outcome.ts"

/**
 * Says how a job is run.
 *
 * ```ts
 * Worker.handler(SendWelcome, (payload, delivery) => mailer.send(payload.userId, { key: delivery.id }))
 * ```
 */
export const handler = Handler.make

/** The union of what some handlers need. */
type Services<Handlers extends ReadonlyArray<Handler.Handler<any>>> = Handler.Services<Handlers[number]>

// -----------------------------------------------------------------------------
// The pipeline
// -----------------------------------------------------------------------------

/** After its grace time an interrupted handler gets this long to clean up. */
const cleanupTime = Duration.seconds(10)

/** After which time a settlement that the broker did not carry out is tried again. */
const settleAgainAfter = Duration.millis(250)

/** Deliveries that wait for their settlement are bounded by this, or by twice the concurrency if that is more. */
const minUnsettled = 256

interface Running {
  /** The next outcomes; ends when the worker stopped by itself. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Outcome>, BrokerError | Cause.Done>
  readonly exit: () => WorkerExit
}

/** Starts a worker in the current scope; closing the scope stops it gracefully. */
const start = Effect.fnUntraced(function*<R>(
  options: Options,
  handlers: ReadonlyArray<Handler.Handler<R>>
): Effect.fn.Return<Running, BrokerError, Broker | R | Scope.Scope> {
  const settings = yield* Settings.make(options, handlers)
  const { concurrency, idleTimeout, maxJobs, queues, rules } = settings
  const maxUnsettled = Math.max(2 * concurrency, minUnsettled)

  const clock = yield* Clock.Clock
  // a correction of the wall clock must end no lease: only deadlines go by it
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
  const wallNow = () => clock.currentTimeMillisUnsafe()
  const broker = yield* Broker
  const telemetry = yield* Telemetry.make(yield* Effect.context<R>())
  const consumer = yield* broker.consume(queues)

  let reason: WorkerExit["reason"] = "Stopped"
  const counts: { [Tag in Outcome["_tag"]]: number } = { ...noCounts }
  let settled = 0
  let lastActive = now()
  // open when there may be room for more leases, or when the last one was settled
  const room = Latch.makeUnsafe(false)
  const ended = yield* Queue.unbounded<InFlight.Entry, BrokerError | Cause.Done>()

  // -- run

  const limitOf = (entry: InFlight.Entry, { handler }: Work): InFlight.Entry["limit"] => {
    const limit = settings.attemptLimits.get(handler)
    const limitAt = limit === undefined ? Infinity : entry.startedAt + limit.millis
    const { expiresAt = Infinity } = entry.dispatched
    const expiryAt = entry.startedAt + expiresAt - wallNow()
    if (expiryAt < limitAt) return { at: expiryAt, interruption: { _tag: "Expire", expiresAt } }
    return limit === undefined ? undefined : { at: limitAt, interruption: limit.interruption }
  }

  const infoOf = (entry: InFlight.Entry) =>
    Effect.suspend((): Effect.Effect<LeaseInfo, BrokerError> =>
      entry.info !== undefined
        ? Effect.succeed(entry.info)
        : Effect.flatMap(consumer.inspect([entry.lease]), ([answer]) =>
          Effect.map(Effect.fromResult(answer!), (info: LeaseInfo) => entry.info = info))
    )

  const inFlight = InFlight.make({
    concurrency,
    now,
    isExpired: (expiresAt) => expiresAt <= wallNow(),
    run: (entry, work) => {
      entry.limit = limitOf(entry, work)
      if (entry.limit !== undefined) caretaker.watch(entry.limit.at)
      const { dispatched, lease } = entry
      const info = infoOf(entry)
      const delivery: Handler.Delivery = {
        id: dispatched.id ?? lease.id,
        jobId: lease.id,
        queue: lease.queue,
        publishedAt: dispatched.publishedAt,
        expiresAt: dispatched.expiresAt,
        attempt: Effect.map(info, ({ attempt }) => attempt),
        info,
        isLost: Effect.sync(() => entry.interruption?._tag === "Lost")
      }
      return telemetry.run(entry, effectOf("the handler", () => work.handler.run(work.payload, delivery)))
    },
    onEnd: (entry) => {
      Queue.offerUnsafe(ended, entry)
      lastActive = entry.endedAt
      room.openUnsafe()
    }
  })
  const caretaker = Caretaker.make({ consumer, inFlight, touch: settings.touch, now })

  // -- reserve, decode, dispatch

  const capacity = () =>
    inFlight.unsettled() >= maxUnsettled ? 0 : Math.min(
      concurrency + settings.prefetch - inFlight.running() - inFlight.waiting(),
      maxJobs - settled - inFlight.entries.size
    )

  const admit = (leases: ReadonlyArray<Lease>) => {
    const leasedAt = lastActive = now()
    const wall = wallNow()
    for (const lease of leases) {
      const touchAt = caretaker.firstTouchAt(leasedAt, lease.info)
      inFlight.admit({
        lease,
        dispatched: dispatch(lease, rules, wall),
        leasedAt,
        info: lease.info,
        touchAt,
        startedAt: leasedAt,
        endedAt: leasedAt,
        limit: undefined,
        fiber: undefined,
        interruption: undefined,
        verdict: undefined,
        settling: false,
        refused: undefined
      })
      caretaker.watch(touchAt)
    }
  }

  const isIdle = () => idleTimeout !== undefined && inFlight.entries.size === 0 && now() - lastActive >= idleTimeout

  const reserve = (max: number) =>
    idleTimeout === undefined
      ? Effect.asSome(consumer.reserve(max))
      : Effect.timeoutOption(
        consumer.reserve(max),
        inFlight.entries.size === 0 ? Math.max(lastActive + idleTimeout - now(), 0) : idleTimeout
      )

  const intake = Effect.gen(function*(): Effect.fn.Return<WorkerExit["reason"], BrokerError> {
    while (settled < maxJobs) {
      room.closeUnsafe()
      const max = capacity()
      if (max > 0) {
        const leases = yield* reserve(max)
        if (Option.isSome(leases)) admit(leases.value)
        else if (isIdle()) {
          // nobody can say that there is no job while the broker is away
          if (yield* Effect.isSuccess(broker.ping)) return "IdleTimeout"
          lastActive = now()
        }
      } else {
        yield* room.await
      }
      // what has just ended is settled first: then both leave in one write, and the connection is free to wait
      yield* Effect.yieldNow
    }
    return "MaxJobs"
  })

  // -- settle

  let again: ReadonlySet<InFlight.Entry> = new Set()
  /** Has the broker been away for too long? Then nothing is tried again, and whoever supervises the worker is told. */
  let isAway = false
  const mayWaitUntil = (time: number) => !isAway && now() < time

  const nextEnded = Effect.suspend(() =>
    again.size === 0
      ? Queue.takeAll(ended)
      : Effect.map(Effect.delay(Queue.clear(ended), settleAgainAfter), (entries) => [...again, ...entries])
  )

  const settleEnded = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(nextEnded), (entries) => {
      for (const entry of entries) entry.settling = true
      return Effect.map(settle(consumer, entries, mayWaitUntil), (all) => {
        again = all.again
        for (const entry of entries) if (!again.has(entry)) inFlight.remove(entry)
        for (const { _tag } of all.outcomes) {
          counts[_tag]++
          if (_tag !== "GivenBack" && _tag !== "Lost") settled++
        }
        room.openUnsafe()
        return all.outcomes
      })
    }).pipe(Effect.tap(telemetry.report))
  )

  const pull: Running["pull"] = Effect.filterOrElse(settleEnded, isArrayNonEmpty, () => pull)

  const allSettled = Effect.gen(function*() {
    while (inFlight.entries.size > 0) {
      room.closeUnsafe()
      yield* room.await
    }
  })

  // -- stop

  /** Gives back what has not begun, and after the grace time what has not ended. */
  const wind = Effect.gen(function*() {
    inFlight.close({ _tag: "GiveBack" })
    yield* Effect.sleep(settings.grace)
    if (inFlight.running() > 0) {
      yield* Telemetry.log(
        "Warn",
        `jobs that did not finish within the grace time and are given back: ${inFlight.running()}`
      )
    }
    for (const entry of inFlight.entries) inFlight.interrupt(entry, { _tag: "GiveBack" })
    yield* Effect.sleep(cleanupTime)
  })

  yield* Effect.forkScoped(caretaker.run)
  yield* Effect.forkScoped(Effect.forever(Effect.map(consumer.lost, (leases) => {
    const lost = new Set<Lease>(leases)
    for (const entry of inFlight.entries) {
      if (!lost.has(entry.lease)) continue
      inFlight.interrupt(entry, { _tag: "Lost", handled: false, error: leaseLost(entry.lease) })
    }
  })))

  yield* Effect.addFinalizer(() =>
    Effect.raceFirst(
      Effect.gen(function*() {
        while (inFlight.entries.size > 0) yield* settleEnded
      }),
      wind
    ).pipe(
      Effect.ignore,
      Effect.andThen(Effect.suspend(() => Telemetry.log("Info", `worker stopped: ${formatCounts(counts)}`)))
    )
  )

  yield* Telemetry.log(
    "Info",
    `worker started: ${[...rules.handlers.keys()].join(", ")} on ${queues.join(", ")} of ${broker.name}`
  )

  const stopped = options.stop === undefined ? Effect.never : Effect.as(options.stop, "Stopped" as const)
  yield* Effect.raceFirst(intake, stopped).pipe(
    Effect.tap((why) => Effect.sync(() => reason = why)),
    Effect.tap((why) => why === "Stopped" ? Effect.raceFirst(allSettled, wind) : allSettled),
    Effect.matchCauseEffect({
      onSuccess: () => Queue.end(ended),
      // the leases went with the broker: their handlers are being interrupted
      onFailure: (cause) => {
        isAway = true
        return Effect.andThen(allSettled, Queue.failCause(ended, cause))
      }
    }),
    Effect.forkScoped
  )

  return { pull, exit: () => ({ reason, counts: { ...counts } }) }
})

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * The outcomes of a worker, for those who want to look at each. Pulling the
 * stream is what settles the jobs: a consumer that stops to pull stops the
 * worker.
 */
export const stream = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Stream.Stream<Outcome, BrokerError, Broker | Services<Handlers>> =>
  Stream.scoped(Stream.fromPull(Effect.map(
    start<Services<Handlers>>(options, handlers),
    (running) => running.pull
  )))

/** Settles what ends, until the worker stops. */
const drain = (running: Running): Effect.Effect<void, BrokerError> =>
  Stream.runDrain(Stream.fromPull(Effect.succeed(running.pull)))

/**
 * Runs a worker until it stops: after its idle time, after its number of jobs,
 * or when `options.stop` completes. Fails with `Unavailable` when the broker
 * stayed away for longer than its policy allows. Interruption stops it
 * gracefully.
 */
export const make = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Effect.Effect<WorkerExit, BrokerError, Broker | Services<Handlers>> =>
  Effect.scoped(Effect.gen(function*() {
    const running = yield* start<Services<Handlers>>(options, handlers)
    yield* drain(running)
    return running.exit()
  }))

/**
 * Runs a worker for as long as the layer lives. When the layer closes the
 * worker stops gracefully.
 *
 * ```ts
 * Worker.layer({ concurrency: 16 }, Worker.handler(SendWelcome, ...)).pipe(Layer.provide(broker), Layer.launch)
 * ```
 */
export const layer = <const Handlers extends ReadonlyArray<Handler.Handler<any>>>(
  options: Options,
  ...handlers: Handlers
): Layer.Layer<never, BrokerError, Broker | Services<Handlers>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const running = yield* start<Services<Handlers>>(options, handlers)
    yield* drain(running).pipe(
      Effect.tapCause((cause) => Telemetry.log("Error", "the worker ended", cause)),
      Effect.forkScoped
    )
  }))
