/** What the commands share that push at once, without a queue: a line for each push, and the exit code. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type PushError, PushesFailed } from "./exitCode.ts"
import { note, type OutputError, print, printJson, withDone } from "./output.ts"

/** A push and its result. */
export interface Pushed<out A> {
  /** The target, as the lines show it. */
  readonly target: string
  readonly result: Result.Result<A, PushError>
}

/** How pushes are printed. */
export interface Options<in A> {
  readonly json: boolean
  /** The name of a target in JSON, as `token`. */
  readonly name: string
  /** The service's id of an accepted push. */
  readonly idOf: (accepted: A) => string
  /** How many pushes there are. */
  readonly total: number
}

const toJson = <A>({ result, target }: Pushed<A>, name: string) =>
  Result.isSuccess(result)
    ? { [name]: target, ...result.success }
    : {
      [name]: target,
      error: result.failure.reason._tag,
      action: result.failure.action,
      message: result.failure.message
    }

/**
 * Prints a line for each push: on stdout if it was accepted, on stderr if it
 * failed. If stdout fails, all lines go to stderr, and the pushes go on.
 */
const reporter = <A>({ idOf, json, name }: Options<A>) => {
  let lost: OutputError | undefined
  const line = ({ result, target }: Pushed<A>): string =>
    Result.isSuccess(result) ? `${idOf(result.success)} ${target}` : `${target}: ${result.failure.message}`
  const report = (pushed: Pushed<A>): Effect.Effect<void> => {
    if (lost !== undefined || !json && Result.isFailure(pushed.result)) return note(line(pushed))
    return Effect.catch(json ? printJson(toJson(pushed, name)) : print(line(pushed)), (error) => {
      lost = error
      return note(line(pushed))
    })
  }
  return { report, lost: () => lost }
}

/** Prints the results of pushes, and fails if one of them failed. */
export const report = <A, E, R>(
  pushes: Stream.Stream<Pushed<A>, E, R>,
  options: Options<A>
): Effect.Effect<void, E | OutputError | PushesFailed, R> =>
  Effect.gen(function*() {
    const { lost, report } = reporter(options)
    const failures = yield* pushes.pipe(
      Stream.tap(report),
      Stream.filterMap(({ result }) => Result.flip(result)),
      Stream.runCollect
    )
    const [first] = failures
    const { total } = options
    if (first !== undefined) return yield* new PushesFailed({ failed: failures.length, total, error: first })
    const error = lost()
    if (error !== undefined) return yield* withDone("the pushes were accepted: see above", Effect.fail(error))
  })
