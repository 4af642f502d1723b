/**
 * Turns requests with a callback into Effects and Streams: one request, or any
 * number with a limit on how many are in flight.
 *
 * A stream costs no fiber, timer or listener per element. Answers of one tick go
 * downstream as one array.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
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

/** Settles in a microtask, since `settle` must not be called before `submit` returns. Returns the function that cancels. */
export const settleLater = (settle: () => void): () => void => {
  let isCancelled = false
  queueMicrotask(() => isCancelled || settle())
  return () => isCancelled = true
}

/** The requests of one stream that were taken from the input and not yet emitted. */
class Taken<I, A, E, EI> {
  private readonly submit: Submit<I, A, E>
  private readonly limit: number
  private readonly room = Latch.makeUnsafe(true)
  private readonly arrived = Latch.makeUnsafe(false)
  private readonly cancels = new Set<() => void>()
  private settled: Array<Settled<I, A, E>> = []
  private size = 0
  private failure: Pull.Pull<never, EI> | undefined

  constructor(submit: Submit<I, A, E>, limit: number) {
    this.submit = submit
    this.limit = Math.max(1, limit)
  }

  /** Takes the elements of the input and sends them, as long as there is room. */
  feed<R>(pull: Pull.Pull<Arr.NonEmptyReadonlyArray<I>, EI, void, R>) {
    return Effect.gen({ self: this }, function*() {
      while (true) {
        yield* this.room.await
        for (const input of yield* pull) {
          while (this.closeIfFull()) yield* this.room.await
          this.start(input)
        }
        this.closeIfFull()
      }
    })
  }

  /** Ends the stream after the results of all taken elements. */
  end(cause: Cause.Cause<EI | Cause.Done>): void {
    this.failure = Effect.failCause(cause)
    this.arrived.openUnsafe()
  }

  /** Waits for results, and takes all that are there. */
  readonly next: Pull.Pull<Arr.NonEmptyReadonlyArray<Settled<I, A, E>>, EI> = Effect.suspend(() => {
    const { settled } = this
    if (Arr.isArrayNonEmpty(settled)) {
      this.settled = []
      this.size -= settled.length
      this.room.openUnsafe()
      return Effect.succeed(settled)
    }
    if (this.failure !== undefined && this.size === 0) return this.failure
    this.arrived.closeUnsafe()
    // The first answer wakes this at once. The yield lets the other answers of the tick join it.
    return Effect.andThen(this.arrived.await, Effect.andThen(Effect.yieldNow, this.next))
  })

  cancelAll(): void {
    for (const cancel of this.cancels) cancel()
  }

  /** Returns whether there is no more room. Then there is room again when results are emitted. */
  private closeIfFull(): boolean {
    if (this.size < this.limit) return false
    this.room.closeUnsafe()
    return true
  }

  private start(input: I): void {
    const started = this.submit(input, (result) => {
      this.cancels.delete(cancel)
      this.arrive(input, result)
    })
    this.size++
    if (Result.isFailure(started)) return this.arrive(input, Result.fail(started.failure))
    const cancel = started.success
    this.cancels.add(cancel)
  }

  private arrive(input: I, result: Result.Result<A, E>): void {
    this.settled.push({ input, result })
    this.arrived.openUnsafe()
  }
}

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
      const taken = new Taken<I, A, E, EI>(submit, limit)
      yield* Scope.addFinalizer(scope, Effect.sync(() => taken.cancelAll()))
      yield* Effect.forkIn(
        Effect.catchCause(taken.feed(pull), (cause) => Effect.sync(() => taken.end(cause))),
        scope
      )
      return taken.next
    }))
