/**
 * Targets that are of no use any more, such as device tokens: the application
 * is told of them, by jobs or by a function of its own.
 *
 * It is told before the push job is settled, so of each at least once, and
 * perhaps more than once. One that it could not be told of is pushed to again,
 * alone, since the service gives the same answer again.
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

/** A function of the application that is told of dead targets; `undefined` where jobs tell it. */
export type Hook<A> = ((dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, unknown>) | undefined

/** A service's way of telling the application of dead targets. */
export interface DeadTargets<A> {
  /** What is done with them. Default, where it is `undefined`: `publish`. */
  readonly hook: Context.Reference<Hook<A>>
  /** Publishes a job for each. */
  readonly publish: (dead: Iterable<A>) => Effect.Effect<void, Publisher.PublishError, Publisher.Publisher>
  /** Has a function called instead of publishing jobs. When it fails it is called again, a few times at once, then later. */
  readonly layer: <E, R>(
    call: (dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, E, R>
  ) => Layer.Layer<never, never, R>
  /** Tells the application, as `hook` says, in a few tries. */
  readonly report: (dead: NonEmptyReadonlyArray<A>) => Effect.Effect<void, NotReported, Publisher.Publisher>
}

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

/** Makes it of the job that tells of one target. `key` and `name` are of the function: of its service, and in errors. */
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
