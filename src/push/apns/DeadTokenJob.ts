/**
 * Device tokens that are of no use any more, as jobs for the application: its
 * own worker deletes them from its own database.
 *
 * ```ts
 * const forget = Worker.handler(DeadTokenJob.DeadTokenJob, ({ kind, timestamp, token }) =>
 *   kind === "Dead" ? devices.delete(token, { unlessRegisteredAfter: timestamp }) : devices.markWrong(token))
 * ```
 *
 * They are published before the push job is settled, so each comes at least
 * once, and perhaps more than once. {@link layer} has a function called
 * instead, with the same promise: a token that it fails for is pushed to again,
 * alone, since APNs gives the same answer again.
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
 * A device token that is of no use, and why.
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
   * `"Dead"`: the app was removed, or has another token now: delete it.
   * `"Wrong"`: it is malformed, or belongs to another app or environment. One
   * that was stored with the wrong app or environment is good elsewhere.
   */
  kind: Schema.Literals(["Dead", "Wrong"]),
  /** Apple's word: `Unregistered`, `ExpiredToken`, `BadDeviceToken`, `DeviceTokenNotForTopic`. */
  reason: Schema.optionalKey(Schema.String),
  /**
   * When APNs found it dead: milliseconds since 1970. A token that the app
   * registered later than this is alive. Only with `"Dead"`.
   */
  timestamp: Schema.optionalKey(Schema.Finite)
})

/**
 * A device token that is of no use, and why.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadToken = typeof DeadToken.Type

/**
 * Tells the application of a device token that is of no use. The queue is called `apns-tokens`.
 *
 * @category models
 * @since 0.1.0
 */
export const DeadTokenJob: Job.Job<DeadToken> = Job.make("dead-token", { payload: DeadToken, queue: "apns-tokens" })

/**
 * Some of them, from one push job.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadTokens = NonEmptyReadonlyArray<DeadToken>

// -----------------------------------------------------------------------------
// What is done with them
// -----------------------------------------------------------------------------

const targets = DeadTargets.make({ job: DeadTokenJob, key: "backq/apns/OnDeadTokens", name: "onDeadTokens" })

/**
 * Publishes a job for each.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish: (
  dead: Iterable<DeadToken>
) => Effect.Effect<void, Publisher.PublishError, Publisher.Publisher> = targets.publish

/**
 * What is done with dead tokens. Default, where it is `undefined`: {@link publish}.
 *
 * @category services
 * @since 0.1.0
 */
export const OnDeadTokens: Context.Reference<DeadTargets.Hook<DeadToken>> = targets.hook

/**
 * Has a function called instead of publishing jobs. When it fails it is called again, a few times at once, then later.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: <E, R>(
  onDeadTokens: (dead: DeadTokens) => Effect.Effect<void, E, R>
) => Layer.Layer<never, never, R> = targets.layer

/**
 * The application could not be told.
 *
 * @category models
 * @since 0.1.0
 */
export const NotReported = DeadTargets.NotReported

/**
 * The application could not be told.
 *
 * @category models
 * @since 0.1.0
 */
export type NotReported = DeadTargets.NotReported

/**
 * Tells the application, as {@link OnDeadTokens} says, in a few tries.
 *
 * @category functions
 * @since 0.1.0
 */
export const report: (dead: DeadTokens) => Effect.Effect<void, NotReported, Publisher.Publisher> = targets.report
