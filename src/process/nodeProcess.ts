/**
 * Runs one process with `node:child_process`.
 *
 * It uses that module and not Effect's `ChildProcessSpawner`, because the spawner names
 * the signal that ended a process only in the text of an error, and because the module
 * reports the end without polling.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import * as DurationInput from "../internal/durationInput.ts"
import * as OutputTail from "./OutputTail.ts"
import { display, ProcessError, Refused, Signalled, TimedOut } from "./ProcessError.ts"
import * as ProcessGroup from "./processGroup.ts"
import type { ProcessPayload } from "./ProcessPayload.ts"
import { argv, defaultOutputLimit } from "./ProcessPayload.ts"
import * as ProcessPolicy from "./ProcessPolicy.ts"
import type { ProcessResult } from "./ProcessResult.ts"
import * as Running from "./running.ts"
import * as SpawnError from "./spawnError.ts"

/** The options of the runner. */
export interface Options {
  /** The time between SIGTERM and SIGKILL. Default: 5 seconds. */
  readonly grace?: Duration.Input | undefined
}

interface End {
  readonly code: number | null
  readonly signal: string | null
}

interface Child {
  readonly handle: NodeChildProcess.ChildProcess
  readonly pid: number
  /** The leader of the process group ended. */
  readonly end: Deferred.Deferred<End>
  /** The leader and its output ended. */
  readonly closed: Deferred.Deferred<void>
  readonly stdout: OutputTail.OutputTail
  readonly stderr: OutputTail.OutputTail
}

// Other processes of the group and the rest of the output have this long to end after the
// leader. Then they are ended.
const lingerTime = Duration.millis(250)

/** Makes a function that runs payloads. */
export const make = (options: Options): (payload: ProcessPayload) => Effect.Effect<ProcessResult, ProcessError> => {
  const grace = DurationInput.fromInputUnsafe(options.grace ?? "5 seconds")
  return (payload) => payload.detach === true ? detach(payload) : supervise(payload, grace)
}

const detach = (payload: ProcessPayload): Effect.Effect<ProcessResult, ProcessError> =>
  Effect.map(spawn(payload, "ignore"), ({ handle, pid }) => {
    handle.unref()
    return { _tag: "Detached", pid }
  })

const supervise = Effect.fnUntraced(function*(
  payload: ProcessPayload,
  grace: Duration.Duration
): Effect.fn.Return<ProcessResult, ProcessError> {
  // A failure would be settled in the moments until the program ends, and could be the job's last attempt.
  if (Running.isOver()) return yield* Effect.never
  const timeout = DurationInput.fromInputUnsafe(payload.timeout ?? Duration.infinity)
  const [duration, [child, end]] = yield* Effect.acquireUseRelease(
    spawn(payload, "pipe"),
    (child) =>
      Effect.timed(Effect.map(
        Effect.timeoutOption(Deferred.await(child.end), timeout),
        (end) => [child, end] as const
      )),
    (child) => finish(child, grace)
  )
  if (Running.isOver()) return yield* Effect.never
  const { pid } = child
  const command = display(payload.command)
  const output = { stdout: child.stdout.output(), stderr: child.stderr.output() }
  if (Option.isNone(end)) {
    return yield* new ProcessError({ reason: new TimedOut({ command, timeout, pid, ...output }) })
  }
  const { code, signal } = end.value
  if (code === null) {
    return yield* new ProcessError({
      reason: new Signalled({ command, signal: signal ?? "an unknown signal", pid, duration, ...output })
    })
  }
  return { _tag: "Exited", pid, exitCode: code, duration, ...output }
})

/** Starts a process under the current policy. */
const spawn = (payload: ProcessPayload, output: "pipe" | "ignore"): Effect.Effect<Child, ProcessError> =>
  Effect.flatMap(ProcessPolicy.ProcessPolicy, (policy) => spawnUnder(policy, payload, output))

const realPath = (path: string): Result.Result<string, NodeJS.ErrnoException> =>
  Result.try({ try: () => NodeFs.realpathSync.native(path), catch: (error) => error as NodeJS.ErrnoException })

/** The directory of a payload, if its links lead to an allowed one. */
const placeOf = (
  policy: ProcessPolicy.ProcessPolicy,
  cwd: string | undefined
): Result.Result<string | undefined, NodeJS.ErrnoException | Refused> =>
  cwd === undefined || policy.directories === "any"
    ? Result.succeed(cwd)
    : Result.flatMap(
      realPath(cwd),
      (real) => ProcessPolicy.checkPlace(policy, cwd, real, (path) => Result.getOrUndefined(realPath(path)))
    )

/** Node.js passes on its own value of this variable, unless the environment names it. */
const nothingOfNode = { NODE_V8_COVERAGE: undefined }

const spawnUnder = (
  policy: ProcessPolicy.ProcessPolicy,
  payload: ProcessPayload,
  output: "pipe" | "ignore"
): Effect.Effect<Child, ProcessError> =>
  Effect.callback((resume) => {
    const environment = process.env
    const [program, ...args] = argv(payload.command)
    const fail = (error: SpawnError.SystemError) =>
      resume(Effect.fail(SpawnError.classify(error, program, payload.cwd, environment.PATH)))

    const file = SpawnError.findProgram(program, environment.PATH)
    if (file === undefined) return fail({ code: "ENOENT" })

    // Nothing waits between this check of the directory and the start in it.
    const place = placeOf(policy, payload.cwd)
    if (Result.isFailure(place)) {
      return place.failure instanceof Refused
        ? resume(Effect.fail(new ProcessError({ reason: place.failure })))
        : fail(place.failure)
    }

    if (output === "pipe") Running.watch()
    const spawned = Result.try({
      try: () =>
        NodeChildProcess.spawn(file, args, {
          argv0: program,
          cwd: place.success,
          env: Object.assign(
            Object.create(null),
            nothingOfNode,
            ProcessPolicy.environmentOf(policy, payload, environment)
          ),
          stdio: [payload.input === undefined ? "ignore" : "pipe", output, output],
          detached: true
        }),
      catch: (error) => error as NodeJS.ErrnoException
    })
    if (Result.isFailure(spawned)) return fail(spawned.failure)
    const handle = spawned.success
    const limit = payload.outputLimit ?? defaultOutputLimit
    const child: Omit<Child, "pid"> = {
      handle,
      end: Deferred.makeUnsafe(),
      closed: Deferred.makeUnsafe(),
      stdout: OutputTail.make(limit),
      stderr: OutputTail.make(limit)
    }
    if (output === "pipe" && handle.pid !== undefined) Running.add(handle.pid)
    handle.on("error", fail)
    handle.once("spawn", () => resume(Effect.succeed({ ...child, pid: handle.pid! })))
    handle.once("exit", (code, signal) => Deferred.doneUnsafe(child.end, Effect.succeed({ code, signal })))
    handle.once("close", () => Deferred.doneUnsafe(child.closed, Effect.void))
    handle.stdout?.on("data", child.stdout.push).on("error", ignore)
    handle.stderr?.on("data", child.stderr.push).on("error", ignore)
    // A process may end or close its input before it has read all of it.
    handle.stdin?.on("error", ignore).end(payload.input)
  })

const ignore = () => {}

/** Ends the rest of the group, and reads the rest of the output. */
const finish = Effect.fnUntraced(function*(child: Child, grace: Duration.Duration) {
  const isOver = () => Deferred.isDoneUnsafe(child.end) && !ProcessGroup.isRunning(child.pid)
  // The rest of the group may be about to end, for instance a `tee` that reads its last lines.
  const over = Deferred.isDoneUnsafe(child.end) ? yield* until(isOver, lingerTime) : isOver()
  if (!over) {
    ProcessGroup.signal(child.pid, "SIGTERM")
    if (!(yield* until(isOver, grace))) {
      ProcessGroup.signal(child.pid, "SIGKILL")
      // A process that waits for a broken disk survives even SIGKILL for a while.
      yield* until(isOver, grace)
    }
  }
  Running.remove(child.pid)
  yield* Effect.timeoutOption(Effect.interruptible(Deferred.await(child.closed)), lingerTime)
  child.handle.stdin?.destroy()
  child.handle.stdout?.destroy()
  child.handle.stderr?.destroy()
  child.handle.unref()
})

const poll = Schedule.min([Schedule.exponential("2 millis"), Schedule.spaced("100 millis")])

const until = (condition: () => boolean, limit: Duration.Duration): Effect.Effect<boolean> =>
  Effect.sync(condition).pipe(
    Effect.repeat({ until: (done) => done, schedule: poll }),
    Effect.interruptible,
    Effect.timeoutOption(limit),
    Effect.map(Option.isSome)
  )
