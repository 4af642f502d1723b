/**
 * Reports dead and wrong device tokens to the application as jobs. A worker of the
 * application deletes them from its database.
 *
 * ```ts
 * const forget = Worker.handler(DeadTokenJob.job, ({ kind, timestamp, token }) =>
 *   kind === "Dead" ? devices.delete(token, { unlessRegisteredAfter: timestamp }) : devices.markWrong(token))
 * ```
 *
 * The jobs are published before the push job is settled, so each token is reported at
 * least once. {@link layer} calls a function instead, with the same guarantee: a token
 * whose report failed is pushed to again, alone, since APNs gives the same answer again.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { DeadTargets } from "../job/index.ts"
import { Environment } from "./Endpoint.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A dead or wrong device token, and why.
 *
 * @category models
 * @since 0.1.0
 */
export const DeadToken = Schema.Struct({
  token: Schema.String,
  /** The app's bundle id. */
  topic: Schema.String,
  environment: Environment,
  /**
   * `"Dead"`: the app was removed or has a new token. Delete the token. `"Wrong"`: the
   * token is malformed, or belongs to another app or environment, where it may be valid.
   */
  kind: Schema.Literals(["Dead", "Wrong"]),
  /** Apple's reason: `Unregistered`, `ExpiredToken`, `BadDeviceToken`, `DeviceTokenNotForTopic`. */
  reason: Schema.optionalKey(Schema.String),
  /**
   * When APNs found the token dead, in milliseconds since 1970. A token that the app
   * registered later is alive. Only with `"Dead"`.
   */
  timestamp: Schema.optionalKey(Schema.Finite)
})

/**
 * The decoded {@link DeadToken}.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadToken = typeof DeadToken.Type

/**
 * Reports a dead or wrong device token to the application. The queue is named `apns-tokens`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<DeadToken> = Job.make("dead-token", { payload: DeadToken, queue: "apns-tokens" })

/**
 * The dead and wrong device tokens of one push job.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadTokens = NonEmptyReadonlyArray<DeadToken>

// -----------------------------------------------------------------------------
// Reporting
// -----------------------------------------------------------------------------

const targets = DeadTargets.make({ job, key: "backq/apns/OnDeadTokens", name: "onDeadTokens" })

/**
 * Publishes a {@link job} for each token.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish: (
  dead: Iterable<DeadToken>
) => Effect.Effect<void, Publisher.PublishError, Publisher.Publisher> = targets.publish

/**
 * The application's function for dead tokens. Default: `undefined`, which means {@link publish}.
 *
 * @category services
 * @since 0.1.0
 */
export const OnDeadTokens: Context.Reference<DeadTargets.Hook<DeadToken>> = targets.hook

/**
 * Calls a function instead of publishing jobs. A failed call is repeated up to 4 times, then with the push job.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: <E, R>(
  onDeadTokens: (dead: DeadTokens) => Effect.Effect<void, E, R>
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
 * Reports to the application as {@link OnDeadTokens} says, with up to 4 retries.
 *
 * @category functions
 * @since 0.1.0
 */
export const report: (dead: DeadTokens) => Effect.Effect<void, NotReported, Publisher.Publisher> = targets.report
