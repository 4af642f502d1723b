/**
 * What the end of a process means for its job: it is done, it is to be tried
 * again, or it never will succeed. A pure function decides.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as DurationInput from "../internal/durationInput.ts"
import { lastLine } from "./OutputTail.ts"
import type { Output } from "./OutputTail.ts"
import type { ProcessError } from "./ProcessError.ts"
import type { ProcessResult } from "./ProcessResult.ts"

/**
 * What exit codes mean. A code that is in several lists has the meaning of the first in this order.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExitPolicy {
  /** The codes of success. */
  readonly done: ReadonlySet<number>
  /** The codes that no other attempt can change. */
  readonly permanent: ReadonlySet<number>
  /** The codes that ask for another attempt, and after how long. */
  readonly retryAfter: ReadonlyMap<number, Duration.Duration>
}

/**
 * How to {@link make} a policy.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default: 0 alone. */
  readonly done?: ReadonlyArray<number> | undefined
  /** Default: none. */
  readonly permanent?: ReadonlyArray<number> | undefined
  /** Default: none. */
  readonly retryAfter?: { readonly [code: number]: Duration.Input } | undefined
}

/**
 * What is to become of a job whose process ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision =
  /** It is done. */
  | { readonly _tag: "Done" }
  /** It is to be tried again as its retry schedule says. */
  | { readonly _tag: "Retry"; readonly reason: string }
  /** It is to be tried again after this delay. */
  | { readonly _tag: "RetryAfter"; readonly delay: Duration.Duration; readonly reason: string }
  /** It is not to be tried again. */
  | { readonly _tag: "Permanent"; readonly reason: string }

/**
 * Makes a policy. Codes without a meaning are left to the job's retry schedule.
 *
 * **Example** (the codes of sysexits.h)
 *
 * ```ts
 * const policy = ExitPolicy.make({ permanent: [64, 65], retryAfter: { 75: "1 minute" } })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): ExitPolicy => ({
  done: new Set(options.done ?? [0]),
  permanent: new Set(options.permanent),
  retryAfter: new Map(
    Object.entries(options.retryAfter ?? {}).map(
      ([code, delay]) => [Number(code), DurationInput.fromInputUnsafe(delay)]
    )
  )
})

const withLastLine = (reason: string, stderr: Output): string => {
  const line = lastLine(stderr)
  return line === "" ? reason : `${reason}: ${line}`
}

/**
 * Decides about a job.
 *
 * A process that was let go (`detach`) is done. One that timed out or was ended
 * by a signal, or that the machine had no room for, is tried again. One that
 * could not be started, or that the policy refused, is not.
 *
 * @category functions
 * @since 0.1.0
 */
export const decide = (policy: ExitPolicy, outcome: Result.Result<ProcessResult, ProcessError>): Decision =>
  Result.match(outcome, {
    onSuccess: (result) => result._tag === "Detached" ? { _tag: "Done" } : decideCode(policy, result),
    onFailure: ({ reason }) => {
      switch (reason._tag) {
        case "Signalled":
        case "TimedOut":
          return { _tag: "Retry", reason: withLastLine(reason.message, reason.stderr) }
        case "SpawnFailed":
          return { _tag: reason.kind === "Temporary" ? "Retry" : "Permanent", reason: reason.message }
        case "Refused":
          return { _tag: "Permanent", reason: reason.message }
      }
    }
  })

const decideCode = (
  policy: ExitPolicy,
  { exitCode, stderr }: { readonly exitCode: number; readonly stderr: Output }
): Decision => {
  if (policy.done.has(exitCode)) return { _tag: "Done" }
  const reason = withLastLine(`exit code ${exitCode}`, stderr)
  if (policy.permanent.has(exitCode)) return { _tag: "Permanent", reason }
  const delay = policy.retryAfter.get(exitCode)
  return delay === undefined ? { _tag: "Retry", reason } : { _tag: "RetryAfter", delay, reason }
}
