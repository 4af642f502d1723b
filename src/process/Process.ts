/**
 * Runs operating-system processes as Effects.
 *
 * {@link run} checks a payload against the `ProcessPolicy` in force and hands
 * it to the {@link ProcessRunner}. It guarantees:
 *
 * - a process that ran to its end is a {@link ProcessResult}, whatever its exit
 *   code; everything else is a `ProcessError` that says why;
 * - when `run` ends, by timeout or interruption too, nothing of the process is
 *   left: it has a process group of its own, which gets SIGTERM and, after a
 *   grace, SIGKILL. So do children that it left behind;
 * - the process never waits for us to take its output, and what is kept of it
 *   is bounded.
 *
 * Limits: POSIX only. Processes that leave the group (`setsid`) are not
 * followed. When this program itself is ended by SIGKILL its processes go on.
 * Node.js gives processes sockets instead of pipes: opening `/dev/stdout`,
 * `/dev/stderr`, or `/dev/stdin` with input, fails in them (write `>&2`, or
 * `cat` without a name). It also reports death by a real-time signal as exit
 * code 0.
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

/** What of a payload a policy lets run. */
const allowed = (policy: ProcessPolicy.ProcessPolicy, payload: ProcessPayload) =>
  Effect.fromResult(Result.mapError(ProcessPolicy.check(policy, payload), refuse))

type Run = (payload: ProcessPayload) => Effect.Effect<ProcessResult, ProcessError>

/** Runs with a policy in force: what it says of the start of a process is for the runner. */
const inForce = (policy: ProcessPolicy.ProcessPolicy, run: Run): Run => (payload) =>
  Effect.provideService(run(payload), ProcessPolicy.ProcessPolicy, policy)

/** What holds where one policy is provided here, and one to the runner. */
const together = (
  here: ProcessPolicy.ProcessPolicy | undefined,
  own: ProcessPolicy.ProcessPolicy | undefined
): ProcessPolicy.ProcessPolicy | undefined =>
  here === undefined ? own : own === undefined ? here : ProcessPolicy.both(here, own)

/** Lets a runner run what a policy allows. */
const under = (policy: ProcessPolicy.ProcessPolicy | undefined, run: Run) => ({
  policy,
  run: policy === undefined ? run : (payload: ProcessPayload) =>
    Effect.flatMap(
      Effect.all([allowed(policy, payload), ProcessPolicy.provided]),
      ([payload, here]) => inForce(together(here, policy) ?? policy, run)(payload)
    )
})

/**
 * Starts processes and waits for their end.
 *
 * @category services
 * @since 0.1.0
 */
export class ProcessRunner extends Context.Service<ProcessRunner, {
  /** Runs a process, if the runner's own policy allows it. */
  readonly run: Run
  /** The policy that was provided to the runner itself. Absent: none was, and {@link run} applies the one in force. */
  readonly policy?: ProcessPolicy.ProcessPolicy | undefined
}>()("backq/process/ProcessRunner") {
  /** Runs real processes, with a grace of one's own between SIGTERM and SIGKILL. */
  static readonly layerOptions = (options: NodeProcess.Options): Layer.Layer<ProcessRunner> =>
    // fresh, since a runner that is shared would have the policy of whoever came first
    Layer.fresh(Layer.effect(
      ProcessRunner,
      Effect.map(ProcessPolicy.provided, (policy) => under(policy, NodeProcess.make(options)))
    ))

  /** Runs real processes; SIGKILL follows SIGTERM after 5 seconds. */
  static readonly layer: Layer.Layer<ProcessRunner> = ProcessRunner.layerOptions({})

  /**
   * Runs nothing. The payloads are recorded in {@link RecordedProcesses}, and
   * the script answers them; without one every process exits with 0.
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
        Context.add(ProcessRunner, under(policy, record))
      )
    }))
}

/**
 * What {@link ProcessRunner.layerTest} was asked to run, in order.
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
 * Runs a process under the policy in force, and waits for its end unless the
 * payload says `detach`.
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
  const policy = together(yield* ProcessPolicy.provided, runner.policy) ?? ProcessPolicy.argvOnly
  return yield* inForce(policy, runner.run)(yield* allowed(policy, valid))
})

/**
 * Ends all processes that this program runs, because the program is about to
 * exit: they get SIGTERM now, and SIGKILL when it exits. A process that ends
 * after this says nothing about its job.
 *
 * @category functions
 * @since 0.1.0
 */
export const endAll: Effect.Effect<void> = Effect.sync(Running.end)
