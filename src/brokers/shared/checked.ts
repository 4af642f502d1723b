/**
 * A call for many items, some of which a check refuses: the others go on, and
 * their results come back in the order of all items. Pure.
 */
import * as Result from "effect/Result"

type Checks<E> = ReadonlyArray<Result.Result<unknown, E>>

/** The items that passed their check. */
export const passed = <A, E>(items: ReadonlyArray<A>, checks: Checks<E>): ReadonlyArray<A> =>
  items.filter((_, i) => Result.isSuccess(checks[i]!))

/** A result for each check: its failure, or the next of the results of the items that passed. */
export const merge = <A, E>(
  checks: Checks<E>,
  results: ReadonlyArray<Result.Result<A, E>>
): ReadonlyArray<Result.Result<A, E>> => {
  if (results.length === checks.length) return results
  let next = 0
  return checks.map((check) => Result.isSuccess(check) ? results[next++]! : Result.fail(check.failure))
}
