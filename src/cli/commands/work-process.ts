/**
 * `backq work process`: a worker for process jobs. It ends after its idle time,
 * after its number of jobs, or by a signal.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { safeName } from "../../internal/text.ts"
import { ExitPolicy, Process, ProcessJob, ProcessPayload, ProcessPolicy } from "../../process/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { nonEmpty, retryFlags, runWorker, withRetries, workFlags } from "../flags/working.ts"

const config = {
  ...workFlags({ queue: "process", what: "processes", concurrency: 16 }),
  killGrace: Flags.duration("kill-grace").pipe(
    Flag.withDescription("How long after SIGTERM a process gets SIGKILL. Default: 5s"),
    Flags.optional
  ),
  shell: Flag.Boolean("shell").pipe(
    Flag.withDescription(
      "Allow shell lines, which can run every program; not together with --allow. Default: only programs with arguments"
    ),
    Flag.withDefault(false)
  ),
  allow: Flag.String("allow").pipe(
    Flag.withMetavar("PROGRAM"),
    Flag.withDescription("Allow only this program; can be repeated. Default: any"),
    Flags.repeated
  ),
  allowDir: Flag.String("allow-dir").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription(
      "Allow jobs to run only in and below this directory; can be repeated. Jobs without a directory run in the first. Default: any"
    ),
    Flags.repeated
  ),
  allowEnv: Flag.String("allow-env").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(
      "Allow jobs to set only this variable; can be repeated. Default: any; none if --allow is given"
    ),
    Flags.repeated
  ),
  inheritEnv: Flag.String("inherit-env").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(
      "Pass on only this variable of the worker, besides PATH, HOME, USER, LOGNAME, SHELL, TMPDIR, LANG, LANGUAGE, LC_* and TZ; can be repeated. NAME* means all names with that prefix. Default: all but BACKQ_*; only the listed ones if --allow or --allow-env is given"
    ),
    Flags.repeated
  ),
  maxTimeout: Flags.positiveDuration("max-timeout").pipe(
    Flag.withDescription("The longest timeout of a job, and the timeout of jobs without one. Default: none"),
    Flags.optional
  ),
  detach: Flag.Boolean("allow-detach").pipe(
    Flag.withNegation("no-detach"),
    Flag.withDescription(
      "Allow jobs to detach their processes (--no-detach: do not). Default: yes; no if --max-timeout is given"
    ),
    Flags.optional
  ),
  maxOutput: Flags.integer("max-output", 0).pipe(
    Flag.filter(
      (value) => value <= ProcessPayload.maxOutputLimit,
      () => `at most ${ProcessPayload.maxOutputLimit} bytes`
    ),
    Flag.withMetavar("BYTES"),
    Flag.withDescription(
      `How much of the end of stdout, and of stderr, a job may keep in memory. Default: ${ProcessPolicy.defaultMaxOutputLimit}`
    ),
    Flags.optional
  ),
  doneCodes: Flags.codes("done-codes").pipe(
    Flag.withDescription("Exit codes that mean success. Default: 0"),
    Flags.optional
  ),
  permanentCodes: Flags.codes("permanent-codes").pipe(
    Flag.withDescription("Exit codes that bury the job at once"),
    Flags.optional
  ),
  retryCodes: Flags.codeDelays("retry-codes").pipe(
    Flag.withDescription("Exit codes that retry the job after the given delay, without a limit"),
    Flags.optional
  ),
  ...retryFlags("--retry-codes")
}

type Input = Command.Command.Config.Infer<typeof config>

/** Says which exit code has two meanings. Otherwise one of them would be dropped silently. */
const ambiguous = ({ doneCodes = [0], permanentCodes = [], retryCodes = [] }: Input): string | undefined => {
  const meanings = new Map<number, string>()
  const codes: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
    ["--done-codes (default: 0)", Array.from(new Set(doneCodes))],
    ["--permanent-codes", Array.from(new Set(permanentCodes))],
    ["--retry-codes", retryCodes.map(([code]) => code)]
  ]
  for (const [flag, values] of codes) {
    for (const code of values) {
      const other = meanings.get(code)
      if (other === flag) return `exit code ${code} must be unique in ${flag}: write it once`
      if (other !== undefined) {
        return `exit code ${code} must have one meaning, but is in ${other} and in ${flag}: remove it from one of them`
      }
      meanings.set(code, flag)
    }
  }
  return undefined
}

const exitPolicyOf = (flags: Input): Effect.Effect<ExitPolicy.ExitPolicy, UsageError> => {
  const detail = ambiguous(flags)
  const { doneCodes, permanentCodes, retryCodes } = flags
  return detail !== undefined ? Effect.fail(new UsageError({ detail })) : Effect.succeed(ExitPolicy.make({
    done: doneCodes,
    permanent: permanentCodes,
    retryAfter: retryCodes === undefined ? undefined : Object.fromEntries(retryCodes)
  }))
}

/** With a missing directory the worker would bury every job, as if the job were at fault. */
const checkDirectory = (directory: string) =>
  FileSystem.FileSystem.use((fs) => fs.stat(directory)).pipe(
    Effect.map(({ type }) => type === "Directory"),
    Effect.orElseSucceed(() => false),
    Effect.flatMap((isThere) =>
      isThere ? Effect.void : Effect.fail(
        new UsageError({
          detail: `--allow-dir must be an existing directory, not ${safeName(directory)}: create it, or leave it out`
        })
      )
    )
  )

const policyOf = (flags: Input): Effect.Effect<ProcessPolicy.ProcessPolicy, UsageError> =>
  ProcessPolicy.makeResult({
    shellLines: flags.shell,
    programs: nonEmpty(flags.allow),
    directories: nonEmpty(flags.allowDir),
    environment: nonEmpty(flags.allowEnv),
    inherit: nonEmpty(flags.inheritEnv),
    maxTimeout: flags.maxTimeout,
    detach: flags.detach,
    maxOutputLimit: flags.maxOutput
  }).pipe(
    Result.mapError(({ detail }) => new UsageError({ detail })),
    Effect.fromResult
  )

/** `backq work process`. */
export const process = Command.make("process", config, (flags) =>
  Effect.gen(function*() {
    const policy = yield* policyOf(flags)
    const exitPolicy = yield* exitPolicyOf(flags)
    yield* Effect.forEach(flags.allowDir, checkDirectory, { discard: true })
    const job = withRetries(ProcessJob.job, ProcessPayload.ProcessPayload, flags)
    const handler = ProcessJob.handler({ exitPolicy, job })
    const layer = Layer.merge(
      Process.ProcessRunner.layerOptions({ grace: flags.killGrace }),
      ProcessPolicy.layer(policy)
    )
    return yield* runWorker(flags, handler, layer)
  })).pipe(
    Command.withDescription(
      "Run process jobs. Anyone who can publish to the queue can run commands as this user: see --allow. " +
        "Exit codes: 0 idle, done or stopped, 1 usage, 2 broker unreachable or not usable"
    ),
    Command.withShortDescription("Run process jobs"),
    Command.withExamples([
      {
        command: "backq work process --concurrency 4 --allow convert --allow-dir /srv/images",
        description: "Only one program, in one directory"
      },
      { command: "backq work process --idle-timeout 1m", description: "Until there was no job for a minute" }
    ])
  )
