/**
 * Reports dead and wrong subscriptions to the application as jobs. A worker of the
 * application deletes them from its database.
 *
 * ```ts
 * const forget = Worker.handler(DeadSubscriptionJob.job, ({ endpoint, kind, sentAt }) =>
 *   kind === "Dead" ? subscriptions.delete(endpoint, { unlessNewerThan: sentAt }) : subscriptions.markWrong(endpoint))
 * ```
 *
 * The jobs are published before the push job is settled, so each subscription is reported
 * at least once. {@link layer} calls a function instead, with the same guarantee.
 *
 * The payload holds the endpoint, which is a secret: whoever reads the queue can push.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { DeadTargets } from "../job/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A dead or wrong subscription, and why.
 *
 * @category models
 * @since 0.1.0
 */
export const DeadSubscription = Schema.Struct({
  endpoint: Schema.String,
  /** The id of its VAPID key, if it names one. */
  key: Schema.optionalKey(Schema.String),
  /**
   * `"Dead"`: the subscription ended. Delete it, unless it is newer than `sentAt`.
   * `"Wrong"`: it is malformed, leads to a host that is not allowed, or belongs to another
   * VAPID key. Never delete one for its key: it is alive.
   */
  kind: Schema.Literals(["Dead", "Wrong"]),
  /** The reason of the error: `DeadSubscription`, `WrongKey`, `InvalidSubscription`, `EndpointRefused`. */
  cause: Schema.String,
  /** The status of the answer, if there was one. */
  status: Schema.optionalKey(Schema.Int),
  /** The push service's reason, if it gave one. */
  reason: Schema.optionalKey(Schema.String),
  /** When the message was sent, in milliseconds since 1970. A page that subscribed later is alive. */
  sentAt: Schema.Finite
})

/**
 * The decoded {@link DeadSubscription}.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadSubscription = typeof DeadSubscription.Type

/**
 * Reports a dead or wrong subscription to the application. The queue is named `webpush-subscriptions`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<DeadSubscription> = Job.make("dead-subscription", {
  payload: DeadSubscription,
  queue: "webpush-subscriptions"
})

/**
 * The dead and wrong subscriptions of one push job.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadSubscriptions = NonEmptyReadonlyArray<DeadSubscription>

// -----------------------------------------------------------------------------
// Reporting
// -----------------------------------------------------------------------------

const targets = DeadTargets.make({ job, key: "backq/webpush/OnDeadSubscriptions", name: "onDeadSubscriptions" })

/**
 * Publishes a {@link job} for each subscription.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish: (
  dead: Iterable<DeadSubscription>
) => Effect.Effect<void, Publisher.PublishError, Publisher.Publisher> = targets.publish

/**
 * The application's function for dead subscriptions. Default: `undefined`, which means {@link publish}.
 *
 * @category services
 * @since 0.1.0
 */
export const OnDeadSubscriptions: Context.Reference<DeadTargets.Hook<DeadSubscription>> = targets.hook

/**
 * Calls a function instead of publishing jobs. A failed call is repeated up to 4 times, then with the push job.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: <E, R>(
  onDeadSubscriptions: (dead: DeadSubscriptions) => Effect.Effect<void, E, R>
) => Layer.Layer<never, never, R> = targets.layer

/**
 * The report to the application failed.
 *
 * @category models
 * @since 0.1.0
 */
export const NotReported = DeadTargets.NotReported

/**
 * An instance of {@link NotReported}.
 *
 * @category models
 * @since 0.1.0
 */
export type NotReported = DeadTargets.NotReported

/**
 * Reports to the application as {@link OnDeadSubscriptions} says, with up to 4 retries.
 *
 * @category functions
 * @since 0.1.0
 */
export const report: (dead: DeadSubscriptions) => Effect.Effect<void, NotReported, Publisher.Publisher> = targets.report
