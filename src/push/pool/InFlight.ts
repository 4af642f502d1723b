/**
 * From requests that call back to Effects and Streams: one, or any number with
 * a bound on how many are under way.
 *
 * A stream costs no fiber, timer or listener for each element. Answers that
 * come in one tick go downstream as one array.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * Begins a request. It fails at once when there is nothing to begin; else
 * `settle` is called exactly once, later, unless the function that comes back
 * has been called to give the request up.
 */
export type Submit<I, A, E> = (
  input: I,
  settle: (result: Result.Result<A, E>) => void
) => Result.Result<() => void, E>

/** An element and what became of it. */
export interface Settled<out I, out A, out E> {
  readonly input: I
  readonly result: Result.Result<A, E>
}

/** One request. Interruption gives it up. */
export const one = <I, A, E>(submit: Submit<I, A, E>, input: I): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    const started = submit(input, (result) => resume(Effect.fromResult(result)))
    if (Result.isSuccess(started)) return Effect.sync(started.success)
    return resume(Effect.fail(started.failure))
  })

/**
 * All requests of a stream, in the order of their answers. At most `limit`, and
 * at least 1, are taken from it and not yet handed on. When the input fails, what was taken is
 * finished before the failure goes on.
 */
export const all = <I, A, E, EI, R>(
  submit: Submit<I, A, E>,
  inputs: Stream.Stream<I, EI, R>,
  limit: number
): Stream.Stream<Settled<I, A, E>, EI, R> =>
  Stream.transformPull(inputs, (pull, scope) =>
    Effect.gen(function*() {
      const maxInFlight = Math.max(1, limit)
      const room = Latch.makeUnsafe(true)
      const arrived = Latch.makeUnsafe(false)
      const cancels = new Set<() => void>()
      let settled: Array<Settled<I, A, E>> = []
      let taken = 0
      let end: Pull.Pull<never, EI> | undefined

      const arrive = (input: I, result: Result.Result<A, E>) => {
        settled.push({ input, result })
        arrived.openUnsafe()
      }

      const start = (input: I) => {
        const started = submit(input, (result) => {
          cancels.delete(cancel)
          arrive(input, result)
        })
        taken++
        if (Result.isFailure(started)) return arrive(input, Result.fail(started.failure))
        const cancel = started.success
        cancels.add(cancel)
      }

      const feed = Effect.gen(function*() {
        while (true) {
          yield* room.await
          for (const input of yield* pull) {
            while (taken >= maxInFlight) {
              room.closeUnsafe()
              yield* room.await
            }
            start(input)
          }
          if (taken >= limit) {
            room.closeUnsafe()
          }
        }
      })

      const next: Pull.Pull<Arr.NonEmptyReadonlyArray<Settled<I, A, E>>, EI> = Effect.suspend(() => {
        if (Arr.isArrayNonEmpty(settled)) {
          const answers = settled
          settled = []
          taken -= answers.length
          room.openUnsafe()
          return Effect.succeed(answers)
        }
        if (end !== undefined && taken === 0) return end
        arrived.closeUnsafe()
        // The first answer wakes this at once; those that came with it are to go along.
        return Effect.andThen(arrived.await, Effect.andThen(Effect.yieldNow, next))
      })

      yield* Scope.addFinalizer(scope, Effect.sync(() => cancels.forEach((cancel) => cancel())))
      yield* Effect.forkIn(
        Effect.catchCause(feed, (cause) =>
          Effect.sync(() => {
            end = Effect.failCause(cause)
            arrived.openUnsafe()
          })),
        scope
      )
      return next
    }))
