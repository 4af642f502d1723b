/**
 * Turns requests with a callback into Effects and Streams: one request, or any
 * number with a limit on how many are in flight.
 *
 * A stream costs no fiber, timer or listener per element. Answers of one tick go
 * downstream as one array.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * Starts a request. It fails at once if the request can't start. Otherwise it calls
 * `settle` exactly once, after it has returned. It returns a function that cancels
 * the request; `settle` is not called after that.
 */
export type Submit<I, A, E> = (
  input: I,
  settle: (result: Result.Result<A, E>) => void
) => Result.Result<() => void, E>

/** An element and its result. */
export interface Settled<out I, out A, out E> {
  readonly input: I
  readonly result: Result.Result<A, E>
}

/** Sends one request. Interruption cancels it. */
export const one = <I, A, E>(submit: Submit<I, A, E>, input: I): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    const started = submit(input, (result) => resume(Effect.fromResult(result)))
    if (Result.isSuccess(started)) return Effect.sync(started.success)
    return resume(Effect.fail(started.failure))
  })

/**
 * Sends all requests of a stream and emits the results in the order of the answers.
 * At most `limit` (at least 1) elements are taken from the input and not yet
 * emitted. If the input fails, the taken requests finish before the stream fails.
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
        // The first answer wakes this at once. The yield lets the other answers of the tick join it.
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
