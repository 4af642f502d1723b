/**
 * The job that runs an operating-system process, and its handler.
 *
 * The job is done when the process exits with a code of success. The `ExitPolicy` decides
 * about every other end. The `ProcessPolicy` decides which commands may run; a job that it
 * refuses is buried with the reason.
 *
 * ```ts
 * yield* Publisher.publish(ProcessJob.job, { command: ["backup", "--full"], timeout: "10 minutes" })
 * Worker.layer({ concurrency: 4 }, ProcessJob.handler()).pipe(Layer.provide(Process.ProcessRunner.layer))
 * ```
 *
 * With `detach` in a payload the job is done as soon as the process has started. The end
 * of the process is unknown.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Handler from "../Handler.ts"
import * as Job from "../Job.ts"
import * as ExitPolicy from "./ExitPolicy.ts"
import * as OutputTail from "./OutputTail.ts"
import * as Process from "./Process.ts"
import type { ProcessError } from "./ProcessError.ts"
import { ProcessPayload } from "./ProcessPayload.ts"

/**
 * Runs a process. The job and its default queue are named `process`.
 *
 * @category models
 * @since 0.1.0
 */
export const job: Job.Job<ProcessPayload> = Job.make("process", { payload: ProcessPayload })

/**
 * The process of a job failed. `output` is the end of its output.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProcessFailed extends Schema.TaggedError<ProcessFailed>()("ProcessFailed", {
  reason: Schema.String,
  output: Schema.optional(Schema.Struct({ stdout: OutputTail.Output, stderr: OutputTail.Output }))
}) {
  override get message() {
    return this.reason
  }
}

const outputOf = (outcome: Result.Result<Process.ProcessResult, ProcessError>) => {
  const ended = Result.isSuccess(outcome) ? outcome.success : outcome.failure.reason
  return "stdout" in ended ? { stdout: ended.stdout, stderr: ended.stderr } : undefined
}

/** The log shows at most this much of the end of an output. */
const maxLoggedChars = 1000

const logOutput = (output: ReturnType<typeof outputOf>) => {
  const stdout = output === undefined ? "" : OutputTail.lastChars(output.stdout, maxLoggedChars)
  const stderr = output === undefined ? "" : OutputTail.lastChars(output.stderr, maxLoggedChars)
  return stdout === "" && stderr === "" ? Effect.void : Effect.logInfo("output of the failed process").pipe(
    Effect.annotateLogs({
      ...(stdout === "" ? undefined : { stdout }),
      ...(stderr === "" ? undefined : { stderr })
    })
  )
}

/**
 * The options of the {@link handler}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The meaning of exit codes. Default: 0 is done, all others are retried by the job's schedule. */
  readonly exitPolicy?: ExitPolicy.ExitPolicy | undefined
  /** The job to handle, for a job with another policy. Default: {@link job}. */
  readonly job?: Job.Job<ProcessPayload> | undefined
}

/**
 * Runs the processes of a queue. Succeeds with the `ProcessResult`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = (options: Options = {}): Handler.Handler<Process.ProcessRunner> => {
  const policy = options.exitPolicy ?? ExitPolicy.make()
  return Handler.make(options.job ?? job, (payload) =>
    Effect.gen(function*() {
      const outcome = yield* Effect.result(Process.run(payload))
      const decision = ExitPolicy.decide(policy, outcome)
      if (decision._tag === "Done") return Result.getOrThrow(outcome)
      const output = outputOf(outcome)
      yield* logOutput(output)
      const failure = new ProcessFailed({ reason: decision.reason, output })
      switch (decision._tag) {
        case "Retry":
          return yield* failure
        case "RetryAfter":
          return yield* Job.retryAfter(decision.delay, decision.reason, failure)
        case "Permanent":
          return yield* Job.bury(decision.reason, failure)
      }
    }))
}
