/** The requests of test doubles: they are recorded and sent nowhere, and a script answers them. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"

/** The script of a double. */
export interface Script<I, A, E> {
  /** Gets each request, in order. Doubles may share it. */
  readonly recorded: Array<I>
  /** Answers a request; `index` is its place in `recorded`. */
  readonly answer: (input: I, index: number) => Effect.Effect<A, E>
  /** The error of a request whose answer died. */
  readonly died: (what: { readonly detail: string; readonly cause: Cause.Cause<never> }) => E
}

/**
 * Makes the function that submits requests. It calls `settle` exactly once, and never
 * before it returns. It returns a function that cancels the request; `settle` is not
 * called after that.
 */
export const scripted = <I, A, E>({ answer, died, recorded }: Script<I, A, E>) =>
  Effect.map(Effect.context<never>(), (context) => {
    const run = Effect.runForkWith(context)
    return (input: I, settle: (result: Result.Result<A, E>) => void): () => void => {
      const index = recorded.push(input) - 1
      const answered = Effect.result(Effect.suspend(() => answer(input, index)))
      // The yield keeps `settle` from being called before this function returns.
      const fiber = run(Effect.andThen(Effect.yieldNow, answered))
      let isCancelled = false
      fiber.addObserver((exit) => {
        if (isCancelled) return
        settle(
          Exit.isSuccess(exit) ? exit.value : Result.fail(died({ detail: "the script died", cause: exit.cause }))
        )
      })
      return () => {
        isCancelled = true
        fiber.interruptUnsafe()
      }
    }
  })
