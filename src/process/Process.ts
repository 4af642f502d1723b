/**
 * Runs operating-system processes as Effects.
 *
 * {@link run} checks a payload against the current `ProcessPolicy` and passes it to the
 * {@link ProcessRunner}. It guarantees:
 *
 * - A process that ran to its end is a {@link ProcessResult} with any exit code.
 *   Everything else is a `ProcessError` that says why.
 * - When `run` ends, also by timeout or interruption, no part of the process is left. Its
 *   process group, with all children, gets SIGTERM and, after a grace period, SIGKILL.
 * - The process never waits for a reader of its output, and the kept output is bounded.
 *
 * Limits: POSIX only. A process that leaves its group (`setsid`) is not tracked. If
 * SIGKILL ends this program, its processes go on. Node.js gives processes sockets
 * instead of pipes: they can't open `/dev/stdout`, `/dev/stderr`, or `/dev/stdin` with
 * input (use `>&2`, or `cat` without a name). It also reports death by a real-time
 * signal as exit code 0.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as NodeProcess from "./nodeProcess.ts"
import { ProcessError, Refused } from "./ProcessError.ts"
import type { ProcessPayload } from "./ProcessPayload.ts"
import { validate } from "./ProcessPayload.ts"
import * as ProcessPolicy from "./ProcessPolicy.ts"
import { exited, type ProcessResult } from "./ProcessResult.ts"
import * as Running from "./running.ts"

export * from "./ProcessResult.ts"

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

const refuse = (refused: Refused) => new ProcessError({ reason: refused })

/** Checks a payload against a policy. Returns the payload to run. */
const allowed = (policy: ProcessPolicy.ProcessPolicy, payload: ProcessPayload) =>
  Effect.fromResult(Result.mapError(ProcessPolicy.check(policy, payload), refuse))

type Run = (payload: ProcessPayload) => Effect.Effect<ProcessResult, ProcessError>

/** Runs with a policy: the runner applies its rules for the start of a process. */
const withPolicy = (policy: ProcessPolicy.ProcessPolicy, run: Run): Run => (payload) =>
  Effect.provideService(run(payload), ProcessPolicy.ProcessPolicy, policy)

/** Combines the policy that is provided here with the runner's own. */
const combined = (
  here: ProcessPolicy.ProcessPolicy | undefined,
  own: ProcessPolicy.ProcessPolicy | undefined
): ProcessPolicy.ProcessPolicy | undefined =>
  here === undefined ? own : own === undefined ? here : ProcessPolicy.both(here, own)

/** Limits a runner to what a policy allows. */
const limitedTo = (policy: ProcessPolicy.ProcessPolicy | undefined, run: Run) => ({
  policy,
  run: policy === undefined ? run : (payload: ProcessPayload) =>
    Effect.flatMap(
      Effect.all([allowed(policy, payload), ProcessPolicy.provided]),
      ([payload, here]) => withPolicy(combined(here, policy) ?? policy, run)(payload)
    )
})

/**
 * Starts processes and waits for their end.
 *
 * @category services
 * @since 0.1.0
 */
export class ProcessRunner extends Context.Service<ProcessRunner, {
  /** Runs a process if the runner's own policy allows it. */
  readonly run: Run
  /** The policy that was provided to the runner itself. If absent, {@link run} applies the current one. */
  readonly policy?: ProcessPolicy.ProcessPolicy | undefined
}>()("backq/process/ProcessRunner") {
  /** Runs real processes, with options. */
  static readonly layerOptions = (options: NodeProcess.Options): Layer.Layer<ProcessRunner> =>
    // Fresh: a shared runner would have the policy of its first user.
    Layer.fresh(Layer.effect(
      ProcessRunner,
      Effect.map(ProcessPolicy.provided, (policy) => limitedTo(policy, NodeProcess.make(options)))
    ))

  /** Runs real processes; SIGKILL follows SIGTERM after 5 seconds. */
  static readonly layer: Layer.Layer<ProcessRunner> = ProcessRunner.layerOptions({})

  /**
   * Runs no processes. It records the payloads in {@link RecordedProcesses} and answers
   * them by the script. Default: every process exits with 0.
   *
   * **Example**
   *
   * ```ts
   * ProcessRunner.layerTest((payload) => Effect.succeed(exited({ exitCode: payload.command[0] === "false" ? 1 : 0 })))
   * ```
   */
  static readonly layerTest = (
    script: (payload: ProcessPayload, index: number) => Effect.Effect<ProcessResult, ProcessError> = () =>
      Effect.sync(exited)
  ): Layer.Layer<ProcessRunner | RecordedProcesses> =>
    Layer.effectContext(Effect.map(ProcessPolicy.provided, (policy) => {
      const recorded: Array<ProcessPayload> = []
      const record: Run = (payload) => Effect.suspend(() => script(payload, recorded.push(payload) - 1))
      return Context.make(RecordedProcesses, { payloads: Effect.sync(() => recorded.slice()) }).pipe(
        Context.add(ProcessRunner, limitedTo(policy, record))
      )
    }))
}

/**
 * The payloads that {@link ProcessRunner.layerTest} got, in order.
 *
 * @category services
 * @since 0.1.0
 */
export class RecordedProcesses extends Context.Service<RecordedProcesses, {
  readonly payloads: Effect.Effect<ReadonlyArray<ProcessPayload>>
}>()("backq/process/RecordedProcesses") {}

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * Runs a process under the current policy, and waits for its end unless the payload says
 * `detach`.
 *
 * **Example**
 *
 * ```ts
 * const result = yield* Process.run({ command: ["date", "+%s"], timeout: "5 seconds" })
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run: (payload: ProcessPayload) => Effect.Effect<ProcessResult, ProcessError, ProcessRunner> = Effect.fn(
  "Process.run"
)(function*(payload) {
  const valid = yield* Effect.fromResult(validate(payload)).pipe(
    Effect.mapError((detail) => refuse(new Refused({ rule: "payload", detail })))
  )
  const runner = yield* ProcessRunner
  // This checks the caller's policy too. The runner checks its own again, because programs can call it without this.
  const policy = combined(yield* ProcessPolicy.provided, runner.policy) ?? ProcessPolicy.argvOnly
  return yield* withPolicy(policy, runner.run)(yield* allowed(policy, valid))
})

/**
 * Ends all processes of this program before it exits. They get SIGTERM now, and SIGKILL
 * when it exits. The end of a process after this call does not settle its job.
 *
 * @category functions
 * @since 0.1.0
 */
export const endAll: Effect.Effect<void> = Effect.sync(Running.terminateAll)
