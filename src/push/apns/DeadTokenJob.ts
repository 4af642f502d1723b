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
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { oneLine, safeLine } from "../../internal/text.ts"
import { asCause, effectOf, messageOfThrown } from "../../internal/thrown.ts"
import * as Job from "../../Job.ts"
import * as Publisher from "../../Publisher.ts"
import { Environment } from "./Endpoint.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A device token that is of no use, and why. */
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

/** A device token that is of no use, and why. */
export type DeadToken = typeof DeadToken.Type

/** Tells the application of a device token that is of no use. The queue is called `apns-tokens`. */
export const DeadTokenJob: Job.Job<DeadToken> = Job.make("dead-token", { payload: DeadToken, queue: "apns-tokens" })

/** Some of them, from one push job. */
export type DeadTokens = NonEmptyReadonlyArray<DeadToken>

// -----------------------------------------------------------------------------
// What is done with them
// -----------------------------------------------------------------------------

/** Publishes a job for each. */
export const publish = (
  dead: Iterable<DeadToken>
): Effect.Effect<void, Publisher.PublishError, Publisher.Publisher> =>
  Effect.flatMap(
    Publisher.publishAll(DeadTokenJob, dead),
    (results) => Effect.fromResult(Result.all(results))
  ).pipe(Effect.asVoid)

/** What is done with dead tokens. Default, where it is `undefined`: {@link publish}. */
export const OnDeadTokens = Context.Reference<((dead: DeadTokens) => Effect.Effect<void, unknown>) | undefined>(
  "backq/apns/OnDeadTokens",
  { defaultValue: () => undefined }
)

/** Has a function called instead of publishing jobs. When it fails it is called again, a few times at once, then later. */
export const layer = <E, R>(
  onDeadTokens: (dead: DeadTokens) => Effect.Effect<void, E, R>
): Layer.Layer<never, never, R> =>
  Layer.effect(
    OnDeadTokens,
    Effect.map(
      Effect.context<R>(),
      (context) => (dead: DeadTokens) =>
        Effect.provideContext(effectOf("onDeadTokens", () => onDeadTokens(dead)), context)
    )
  )

// -----------------------------------------------------------------------------
// Reporting
// -----------------------------------------------------------------------------

/** The application could not be told. */
export class NotReported extends Schema.TaggedError<NotReported>()("NotReported", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return `the application could not be told of dead tokens: ${this.detail}`
  }
}

const notReported = (cause: Cause.Cause<unknown>): NotReported => {
  const failure = Cause.squash(cause)
  return new NotReported({ detail: safeLine(oneLine(messageOfThrown(failure))), cause: asCause(failure) })
}

/** Tells the application, as {@link OnDeadTokens} says, in a few tries. */
export const report = (dead: DeadTokens): Effect.Effect<void, NotReported, Publisher.Publisher> =>
  Effect.flatMap(
    OnDeadTokens,
    (hook): Effect.Effect<void, unknown, Publisher.Publisher> => hook === undefined ? publish(dead) : hook(dead)
  ).pipe(
    Effect.retry(Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 4 }))),
    Effect.catchCause((cause) => Effect.fail(notReported(cause)))
  )
