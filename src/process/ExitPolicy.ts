/**
 * Decides what the end of a process means for its job: it is done, it is retried, or it
 * can't succeed. Pure.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as DurationInput from "../internal/durationInput.ts"
import { lastLine } from "./OutputTail.ts"
import type { Output } from "./OutputTail.ts"
import type { ProcessError } from "./ProcessError.ts"
import type { ProcessResult } from "./ProcessResult.ts"

/**
 * The meaning of exit codes. If a code is in several lists, the first in this order counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExitPolicy {
  /** The codes of success. */
  readonly done: ReadonlySet<number>
  /** The codes of permanent failures. */
  readonly permanent: ReadonlySet<number>
  /** The codes that ask for a retry, and its delay. */
  readonly retryAfter: ReadonlyMap<number, Duration.Duration>
}

/**
 * The options of {@link make}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default: only 0. */
  readonly done?: ReadonlyArray<number> | undefined
  /** Default: none. */
  readonly permanent?: ReadonlyArray<number> | undefined
  /** Default: none. */
  readonly retryAfter?: { readonly [code: number]: Duration.Input } | undefined
}

/**
 * The decision about a job whose process ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision =
  /** The job is done. */
  | { readonly _tag: "Done" }
  /** The job is retried by its retry schedule. */
  | { readonly _tag: "Retry"; readonly reason: string }
  /** The job is retried after this delay. */
  | { readonly _tag: "RetryAfter"; readonly delay: Duration.Duration; readonly reason: string }
  /** The job is not retried. */
  | { readonly _tag: "Permanent"; readonly reason: string }

/**
 * Makes a policy. A job with any other code is retried by its retry schedule.
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
 * The job of a detached process is done. A job is retried if its process timed out, if a
 * signal ended it, or if the machine had no room for it. A job is not retried if its
 * process could not start for another reason, or if the policy refused it.
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
