/**
 * Keeps a credential up to date: reads its files again, and replaces it if they have
 * changed and the new content is valid. An invalid or unreadable change is logged, and
 * the old credential stays in use.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"

/** Why a credential can't be used. */
interface Failure {
  readonly message: string
  readonly reason: { readonly message: string }
}

/** How to read a credential. */
export interface Options<Loaded, C, E, R> {
  /** What it is, for log lines: "APNs credential". */
  readonly name: string
  /** How often to read the files. Default: 1 minute. */
  readonly every?: Duration.Input | undefined
  /** Reads the files. */
  readonly load: Effect.Effect<Loaded, E, R>
  readonly isSame: (a: Loaded, b: Loaded) => boolean
  readonly parse: (loaded: Loaded) => Effect.Effect<C, E>
  /** Runs at first, and each time after the files were read. Default: nothing. */
  readonly inspect?: ((credential: C) => Effect.Effect<void>) | undefined
}

/** Reads a credential, and reads it again until the scope closes. */
export const watch = Effect.fnUntraced(function*<Loaded, C extends { readonly source: string }, E extends Failure, R>(
  { every = "1 minute", inspect = () => Effect.void, isSame, load, name, parse }: Options<Loaded, C, E, R>
): Effect.fn.Return<SubscriptionRef.SubscriptionRef<C>, E, R | Scope.Scope> {
  let loaded = yield* load
  const credential = yield* SubscriptionRef.make(yield* parse(loaded))

  let complaint: string | undefined
  const complain = ({ message, reason }: E) =>
    Effect.suspend(() => {
      if (message === complaint) return Effect.void
      complaint = message
      return Effect.logWarning(`the ${name} has changed, but the old one stays in use: ${reason.message}`)
    })

  const reload = Effect.gen(function*() {
    const again = yield* load
    if (isSame(again, loaded)) return
    const fresh = yield* parse(again)
    loaded = again
    complaint = undefined
    yield* SubscriptionRef.set(credential, fresh)
    yield* Effect.logInfo(`the ${name} (${fresh.source}) has changed, and the new one is in use`)
  }).pipe(Effect.catch(complain))

  const check = Effect.flatMap(SubscriptionRef.get(credential), inspect)
  yield* check
  yield* Effect.forkScoped(Effect.forever(Effect.sleep(every).pipe(Effect.andThen(reload), Effect.andThen(check))))
  return credential
})

/** Calls `use` with each credential that replaces another, until the scope closes. */
export const onReplaced = <C>(
  watched: SubscriptionRef.SubscriptionRef<C>,
  use: (fresh: C) => void
): Effect.Effect<void, never, Scope.Scope> =>
  SubscriptionRef.changes(watched).pipe(
    Stream.drop(1),
    Stream.runForEach((fresh) => Effect.sync(() => use(fresh))),
    Effect.forkScoped,
    Effect.asVoid
  )
