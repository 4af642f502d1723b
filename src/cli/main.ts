/**
 * The `backq` command: runs workers, publishes jobs, inspects and repairs queues.
 *
 * Results go to stdout, everything else to stderr. A failure, even a bug of
 * ours, is one line that says what to do, and an exit code (see `exitCode.ts`).
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import { createRequire } from "node:module"
import { oneLine } from "../internal/text.ts"
import { describe } from "../internal/thrown.ts"
import { apnsSimulator } from "./commands/apns-simulator.ts"
import { bench } from "./commands/bench.ts"
import { bury } from "./commands/bury.ts"
import { del } from "./commands/delete.ts"
import { doctor } from "./commands/doctor.ts"
import { drain } from "./commands/drain.ts"
import { fcmSimulator } from "./commands/fcm-simulator.ts"
import { kick } from "./commands/kick.ts"
import { migrate } from "./commands/migrate.ts"
import { move } from "./commands/move.ts"
import { pause } from "./commands/pause.ts"
import { peek } from "./commands/peek.ts"
import { publish } from "./commands/publish.ts"
import { push } from "./commands/push.ts"
import { queues } from "./commands/queues.ts"
import { resume } from "./commands/resume.ts"
import { stats } from "./commands/stats.ts"
import { tail } from "./commands/tail.ts"
import { transfer } from "./commands/transfer.ts"
import { vapidKeys } from "./commands/vapid-keys.ts"
import { watch } from "./commands/watch.ts"
import { webPushSimulator } from "./commands/webpush-simulator.ts"
import { work } from "./commands/work.ts"
import * as Completions from "./completions.ts"
import { exitCode, type Failure, fault, Interrupted } from "./exitCode.ts"
import { display, note, Output, OutputError, print } from "./output.ts"
import { interruptible, root } from "./root.ts"

const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }

const command = Command.withSubcommands(root, [
  work,
  publish,
  push,
  { group: "Inspect", commands: [queues, stats, watch, peek, tail] },
  { group: "Repair", commands: [kick, bury, move, transfer, del, drain, pause, resume] },
  { group: "Check", commands: [doctor, migrate, bench, vapidKeys, apnsSimulator, fcmSimulator, webPushSimulator] }
])

const formatter = Effect.gen(function*() {
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  return CliOutput.defaultFormatter({ colors: canColor })
})

/** Keeps stdout for results: an invalid invocation prints one line on stderr, not the whole help. */
const present = (event: CliOutput.Presenter.Event): Effect.Effect<void, OutputError> => {
  switch (event._tag) {
    case "Version":
      return print(event.version)
    case "InvalidInvocation": {
      const [error] = event.errors
      const path = event.commandPath.join(" ")
      const message = oneLine(error!.message)
      const valueless = /^Missing value for flag (--\S+)\./.exec(message)?.[1]
      // most likely an option for the program that the job runs
      const hint = error!._tag === "UnrecognizedOption" && path === "backq publish process"
        ? "If it is for the program, write -- before the program"
        : valueless === undefined
        ? `See ${path} --help`
        : `Write a value that begins with - as ${valueless}=VALUE. See ${path} --help`
      return note(`${message}. ${hint}`)
    }
    case "Help":
      return Effect.flatMap(formatter, ({ formatHelpDoc }) => {
        const help = `${formatHelpDoc(event.helpDoc)}\n`
        return event.reason === "Requested" ? display(help) : Output.use(({ err }) => err(help))
      })
  }
}

/** A presenter has no typed failures: they become defects, which {@link main} recognizes. */
const presenter: CliOutput.Presenter = { present: (event) => Effect.orDie(interruptible(present(event))) }

const end = (failure: Failure): Effect.Effect<number> =>
  Effect.as(isQuiet(failure) ? Effect.void : note(failure.message), exitCode(failure))

/** If the reader has left, only a completed action is worth a line. */
const isQuiet = (failure: Failure): boolean =>
  failure._tag === "OutputError" && failure.isClosed && failure.done === undefined

const endByFault = (defect: unknown): Effect.Effect<number> =>
  defect instanceof OutputError || defect instanceof Interrupted
    ? end(defect)
    : Effect.as(note(`a bug in backq, please report it: ${describe(defect).text}`), fault)

/** Runs the program with some arguments and returns its exit code. */
export const main = (args: ReadonlyArray<string>): Effect.Effect<number> =>
  Command.runWith(command, { version })(args).pipe(
    Effect.as(0),
    // the parser has already printed its failures
    Effect.catch((error) => CliError.isCliError(error) ? Effect.succeed(1) : end(error)),
    Effect.catchDefect(endByFault),
    Effect.provideService(CliOutput.Presenter, presenter),
    Effect.provideService(CliConfig.CliConfig, Completions.config),
    Effect.provide(NodeServices.layer)
  )
