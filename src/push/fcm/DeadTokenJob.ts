/**
 * Reports dead and wrong tokens and installation ids to the application as jobs. A worker
 * of the application deletes them from its database.
 *
 * ```ts
 * const forget = Worker.handler(DeadTokenJob.job, ({ kind, sentAt, token }) =>
 *   kind === "Dead" ? devices.delete(token, { unlessRegisteredAfter: sentAt }) : devices.markWrong(token))
 * ```
 *
 * The jobs are published before the push job is settled, so each is reported at least
 * once. {@link layer} calls a function instead, with the same guarantee.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Job from "../../Job.ts"
import type * as Publisher from "../../Publisher.ts"
import { DeadTargets } from "../job/index.ts"

/**
 * A dead or wrong target, and why: it has a token or an installation id.
 *
 * @category models
 * @since 0.1.0
 */
export const DeadToken = Schema.Struct({
  token: Schema.optionalKey(Schema.String),
  /** The Firebase installation id, if the push had one. */
  fid: Schema.optionalKey(Schema.String),
  /** The id of the project. */
  project: Schema.String,
  /**
   * `"Dead"`: the app was removed or has a new token. Delete the token. `"Wrong"`: the
   * token is malformed, or belongs to another project, where it may be valid.
   */
  kind: Schema.Literals(["Dead", "Wrong"]),
  /** Google's code: `UNREGISTERED`, `INVALID_ARGUMENT`, `SENDER_ID_MISMATCH`. */
  errorCode: Schema.optionalKey(Schema.String),
  /**
   * When the push was sent, in milliseconds since 1970. Google does not say when a token
   * died. One that the app registered after this time is alive.
   */
  sentAt: Schema.Finite
})

/**
 * The decoded {@link DeadToken}.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadToken = typeof DeadToken.Type

/**
 * Reports a dead or wrong target to the application. The queue is named `fcm-tokens`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<DeadToken> = Job.make("dead-fcm-token", { payload: DeadToken, queue: "fcm-tokens" })

/**
 * The dead and wrong targets of one push job.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadTokens = NonEmptyReadonlyArray<DeadToken>

const targets = DeadTargets.make({ job, key: "backq/fcm/OnDeadTokens", name: "onDeadTokens" })

/**
 * Publishes a {@link job} for each target.
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
