/**
 * The third stage: runs the handlers of attempts, and emits each attempt when it
 * ends.
 *
 * It admits attempts as they come, also while downstream does not pull; `reserve`
 * bounds how many there are. When no more come, the stage ends after the last
 * one was settled.
 *
 * This stage starts the shutdown, because it knows when no more attempts come and
 * which ones run. When the worker is interrupted nobody pulls `settle`, so
 * `shutdown.ts` settles the rest with that stage's code.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Inspectable from "effect/Inspectable"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LeaseInfo } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Delivery } from "../Handler.ts"
import { effectOf } from "../internal/thrown.ts"
import type { Attempt, Limit, Runner } from "./attempt.ts"
import type { Work } from "./decodeLease.ts"
import type { Parts } from "./parts.ts"
import * as Shutdown from "./shutdown.ts"

/** What the broker knows about a delivery. Asks only once. */
const infoOf = (attempt: Attempt, consumer: Parts["consumer"]): Effect.Effect<LeaseInfo, BrokerError> =>
  Effect.suspend(() =>
    attempt.info !== undefined
      ? Effect.succeed(attempt.info)
      : Effect.flatMap(consumer.inspect([attempt.lease]), ([answer]) =>
        Effect.tap(Effect.fromResult(answer!), (info) => Effect.sync(() => attempt.inform(info))))
  )

// Few handlers run the Effects of a delivery, so these classes make them when they run. An Effect that is made for each
// job would cost several closures.

class Info extends Effectable.Class<LeaseInfo, BrokerError> {
  private readonly delivered: Attempt
  private readonly consumer: Parts["consumer"]

  constructor(delivered: Attempt, consumer: Parts["consumer"]) {
    super()
    this.delivered = delivered
    this.consumer = consumer
  }

  asEffect(): Delivery["info"] {
    return infoOf(this.delivered, this.consumer)
  }
}

class AttemptNumber extends Effectable.Class<number, BrokerError> {
  private readonly info: Info

  constructor(info: Info) {
    super()
    this.info = info
  }

  asEffect(): Delivery["attempt"] {
    return Effect.map(this.info, ({ attempt }) => attempt)
  }
}

class IsLost extends Effectable.Class<boolean> {
  private readonly delivered: Attempt

  constructor(delivered: Attempt) {
    super()
    this.delivered = delivered
  }

  asEffect(): Delivery["isLost"] {
    return Effect.sync(() => this.delivered.interruption?._tag === "LeaseLost")
  }
}

/**
 * What a handler receives in addition to the payload. All of it is in own properties, so that a handler can copy it
 * (`{ ...delivery }`) or wrap it.
 */
class AttemptDelivery implements Delivery {
  readonly id: string
  readonly jobId: Delivery["jobId"]
  readonly queue: string
  readonly lease: Delivery["lease"]
  readonly publishedAt: number | undefined
  readonly expiresAt: number | undefined
  readonly attempt: Delivery["attempt"]
  readonly info: Delivery["info"]
  readonly isLost: Delivery["isLost"]

  constructor(attempt: Attempt, consumer: Parts["consumer"]) {
    const { decoded, lease } = attempt
    const info = new Info(attempt, consumer)
    this.id = decoded.id ?? lease.id
    this.jobId = lease.id
    this.queue = lease.queue
    this.lease = lease
    this.publishedAt = decoded.publishedAt
    this.expiresAt = decoded.expiresAt
    this.attempt = new AttemptNumber(info)
    this.info = info
    this.isLost = new IsLost(attempt)
  }

  /** What a log shows of it: not the body, and nothing of the broker. */
  toJSON(): Pick<Delivery, "id" | "jobId" | "queue" | "publishedAt" | "expiresAt"> {
    const { expiresAt, id, jobId, publishedAt, queue } = this
    return { id, jobId, queue, publishedAt, expiresAt }
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

/** When an attempt must end: at its own limit, or at the job's deadline if that comes first. */
const limitOf = (
  { clocks, settings }: Pick<Parts, "clocks" | "settings">,
  { decoded, startedAt }: Attempt,
  { handler }: Work
): Limit | undefined => {
  const limit = settings.attemptLimits.get(handler)
  const limitAt = limit === undefined ? Infinity : startedAt + limit.millis
  const { expiresAt } = decoded
  if (expiresAt !== undefined) {
    const expiryAt = startedAt + expiresAt - clocks.wallNow()
    if (expiryAt < limitAt) return { at: expiryAt, interruption: { _tag: "Expire", expiresAt } }
  }
  return limit === undefined ? undefined : { at: limitAt, interruption: limit.interruption }
}

/** Makes the runner of a worker's handlers. */
export const makeRunner = (parts: Omit<Parts, "attempts" | "broker" | "ending">): Runner => ({
  startLimit: (attempt, work) => {
    const limit = limitOf(parts, attempt, work)
    if (limit !== undefined) parts.renewal.wakeBy(limit.at)
    return limit
  },
  run: (attempt, { handler, payload }) =>
    parts.telemetry.run(
      attempt,
      effectOf("the handler", () => handler.run(payload, new AttemptDelivery(attempt, parts.consumer)))
    )
})

/** Turns attempts that wait for a handler into those that ended. */
export const dispatch =
  (parts: Parts) => (attempts: Stream.Stream<Attempt, BrokerError>): Stream.Stream<Attempt, BrokerError> =>
    Stream.transformPull(attempts, (next, scope) => {
      const admit = Effect.map(next, (batch) => {
        for (const attempt of batch) parts.renewal.begin(attempt)
        parts.attempts.admit(batch)
      })
      const admitAll = Pull.catchDone(Effect.forever(admit, { disableYield: true }), () => Effect.void)
      return Scope.addFinalizer(scope, Shutdown.finish(parts)).pipe(
        Effect.andThen(Effect.forkIn(Shutdown.runUntilStopped(parts, admitAll), scope)),
        Effect.as(parts.attempts.nextEnded)
      )
    })
