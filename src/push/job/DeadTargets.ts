/**
 * Dead targets, such as device tokens: reports them to the application, by jobs or
 * by a function of its own.
 *
 * The report precedes the settlement of the push job, so the application gets each
 * target at least once. A target whose report failed is pushed to again, alone,
 * because the service will give the same answer again.
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
import type * as Job from "../../Job.ts"
import * as Publisher from "../../Publisher.ts"

/** The application's function for dead targets; `undefined` to publish jobs. */
export type Hook<A> = ((dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, unknown>) | undefined

/** Reports the dead targets of a push service to the application. */
export interface DeadTargets<A> {
  /** The application's function. Default: `undefined`, which means `publish`. */
  readonly hook: Context.Reference<Hook<A>>
  /** Publishes a job for each target. */
  readonly publish: (dead: Iterable<A>) => Effect.Effect<void, Publisher.PublishError, Publisher.Publisher>
  /** Calls a function instead of publishing jobs. A failed call is repeated up to 4 times, then with the push job. */
  readonly layer: <E, R>(
    call: (dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, E, R>
  ) => Layer.Layer<never, never, R>
  /** Reports to the application as `hook` says, with up to 4 retries. */
  readonly report: (dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, NotReported, Publisher.Publisher>
}

/** The report to the application failed. */
export class NotReported extends Schema.TaggedError<NotReported>()("NotReported", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return `the dead targets could not be reported to the application: ${this.detail}`
  }
}

const notReported = (cause: Cause.Cause<unknown>): NotReported => {
  const failure = Cause.squash(cause)
  return new NotReported({ detail: safeLine(oneLine(messageOfThrown(failure))), cause: asCause(failure) })
}

/** Makes the service. `job` reports one target. `key` is the key of the hook's service, `name` its name in errors. */
export const make = <A>(options: {
  readonly job: Job.Job<A>
  readonly key: string
  readonly name: string
}): DeadTargets<A> => {
  const hook = Context.Reference<Hook<A>>(options.key, { defaultValue: () => undefined })

  const publish: DeadTargets<A>["publish"] = (dead) =>
    Effect.flatMap(
      Publisher.publishAll(options.job, dead),
      (results) => Effect.fromResult(Result.all(results))
    ).pipe(Effect.asVoid)

  return {
    hook,
    publish,
    layer: <E, R>(call: (dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, E, R>) =>
      Layer.effect(
        hook,
        Effect.map(
          Effect.context<R>(),
          (context) => (dead: NonEmptyReadonlyArray<A>) =>
            Effect.provideContext(effectOf(options.name, () => call(dead)), context)
        )
      ),
    report: (dead) =>
      Effect.flatMap(
        hook,
        (call): Effect.Effect<void, unknown, Publisher.Publisher> => call === undefined ? publish(dead) : call(dead)
      ).pipe(
        Effect.retry(Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 4 }))),
        Effect.catchCause((cause) => Effect.fail(notReported(cause)))
      )
  }
}
