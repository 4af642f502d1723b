/**
 * `backq publish process`: publishes one process job, and prints its id, and
 * nothing else, on stdout.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Result from "effect/Result"
import type * as Stdio from "effect/Stdio"
import { ProcessJob, ProcessPayload } from "../../process/index.ts"
import * as Publisher from "../../Publisher.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { publishFlags, readInput, warnOfMemory } from "../flags/publishing.ts"
import { print, withDone } from "../output.ts"
import { interruptible, withBroker } from "../root.ts"

const config = {
  ...publishFlags("process"),
  timeout: Flags.positiveDuration("timeout").pipe(
    Flag.withDescription("How long the process may run. Default: no limit"),
    Flags.optional
  ),
  cwd: Flag.String("cwd").pipe(
    Flag.withDescription("The directory to run in. Default: the worker's"),
    Flags.optional
  ),
  env: Flags.assignment("env").pipe(
    Flag.withDescription("Set an environment variable; can be repeated"),
    Flags.repeated
  ),
  unsetEnv: Flag.String("unset-env").pipe(
    Flag.withMetavar("K"),
    Flag.withDescription("Unset an environment variable of the worker; can be repeated"),
    Flags.repeated
  ),
  extendEnv: Flag.Boolean("extend-env").pipe(
    Flag.withDescription(
      "Also give the process the variables that the worker passes on (--no-extend-env: do not). Default: yes"
    ),
    Flag.withDefault(true)
  ),
  input: Flag.String("input").pipe(
    Flag.withMetavar("TEXT"),
    Flag.withDescription("What the process reads from its standard input"),
    Flags.optional
  ),
  inputFile: Flag.String("input-file").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("A file with that input, or - for this program's standard input"),
    Flags.optional
  ),
  outputLimit: Flags.integer("output-limit", 0).pipe(
    Flag.filter(
      (value) => value <= ProcessPayload.maxOutputLimit,
      () => `at most ${ProcessPayload.maxOutputLimit} bytes`
    ),
    Flag.withMetavar("BYTES"),
    Flag.withDescription(
      "How much to keep of the end of stdout, and of stderr; values above 262144 need the worker's --max-output. Default: 16384"
    ),
    Flags.optional
  ),
  detach: Flag.Boolean("detach").pipe(
    Flag.withDescription("Start the process and do not wait for its end"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  shell: Flag.String("shell").pipe(
    Flag.withMetavar("LINE"),
    Flag.withDescription("A line for /bin/sh instead of a program; the worker must allow it (--shell)"),
    Flags.optional
  ),
  command: Argument.String("command").pipe(
    Argument.withDescription("The program and its arguments, after --"),
    Argument.variadic({ min: 0 })
  )
}

type Input = Command.Command.Config.Infer<typeof config>

const commandOf = (flags: Input): Effect.Effect<ProcessPayload.ProcessPayload["command"], UsageError> => {
  const [program, ...args]: ReadonlyArray<string> = flags.command
  if (program !== undefined && flags.shell !== undefined) {
    return Effect.fail(
      new UsageError({ detail: "a program after -- and --shell 'LINE' must not be given together: leave one out" })
    )
  }
  if (program !== undefined) return Effect.succeed([program, ...args])
  if (flags.shell !== undefined) return Effect.succeed(flags.shell)
  return Effect.fail(
    new UsageError({
      detail: "a command must be given: write the program and its arguments after --, or --shell 'LINE'"
    })
  )
}

/** Text if the bytes are UTF-8, so that people can read the job; otherwise the bytes. */
const asText = (bytes: Uint8Array): string | Uint8Array =>
  Result.getOrElse(
    Result.try(() => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)),
    () => bytes
  )

const inputOf = Effect.fnUntraced(function*({ input, inputFile }: Input) {
  if (inputFile === undefined) return input
  if (input !== undefined) {
    return yield* new UsageError({ detail: "--input and --input-file must not be given together: leave one out" })
  }
  return asText(yield* readInput("input-file", inputFile))
})

const payloadOf = Effect.fnUntraced(function*(flags: Input): Effect.fn.Return<
  ProcessPayload.ProcessPayload,
  UsageError,
  Stdio.Stdio | FileSystem.FileSystem
> {
  const command = yield* commandOf(flags)
  const input = yield* inputOf(flags)
  const env = Object.fromEntries([...flags.env, ...flags.unsetEnv.map((name) => [name, null] as const)])
  return {
    command,
    ...(flags.cwd === undefined ? undefined : { cwd: flags.cwd }),
    ...(Object.keys(env).length === 0 ? undefined : { env }),
    ...(flags.extendEnv ? undefined : { extendEnv: false }),
    ...(input === undefined ? undefined : { input }),
    ...(flags.timeout === undefined ? undefined : { timeout: flags.timeout }),
    ...(flags.outputLimit === undefined ? undefined : { outputLimit: flags.outputLimit }),
    ...(flags.detach ? { detach: true } : undefined)
  }
})

/** `backq publish process`. */
export const process = Command.make("process", config, (flags) =>
  Effect.gen(function*() {
    const payload = yield* payloadOf(flags)
    yield* warnOfMemory
    const id = yield* withBroker(
      Publisher.publish(ProcessJob.job, payload, flags).pipe(Effect.provide(Publisher.layer))
    )
    yield* withDone(`job ${id} was accepted`, print(id))
  }).pipe(interruptible)).pipe(
    Command.withDescription(
      "Publish a job that runs a process. Prints the job's id. " +
        "Exit codes: 0 accepted, 1 usage, 2 broker unreachable, 3 no idle workers, 4 refused"
    ),
    Command.withShortDescription("Publish a job that runs a process"),
    Command.withExamples([
      { command: "backq publish process -- convert in.png out.jpg", description: "Run a program" },
      {
        command: "backq publish process --delay 10m --timeout 30s -- backup --full",
        description: "In ten minutes, for at most 30 seconds"
      }
    ])
  )
