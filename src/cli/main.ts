/**
 * The `backq` command: work, publish, look, mend.
 *
 * Results go to stdout, everything else to stderr. An expected failure is one
 * line that says what to do, and an exit code (see `exitCode.ts`).
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { createRequire } from "node:module"
import { oneLine } from "../internal/text.ts"
import { apnsSimulator } from "./apnsSimulator.ts"
import { bench } from "./bench.ts"
import * as Completions from "./completions.ts"
import { doctor } from "./doctor.ts"
import { exitCode } from "./exitCode.ts"
import { bury, del, kick } from "./jobs.ts"
import { peek } from "./peek.ts"
import { publish } from "./publish.ts"
import { push } from "./push.ts"
import { drain, move, pause, resume } from "./queue.ts"
import { queues, stats } from "./queues.ts"
import { root } from "./root.ts"
import { tail } from "./tail.ts"
import { watch } from "./watch.ts"
import { work } from "./work.ts"

const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }

const command = Command.withSubcommands(root, [
  work,
  publish,
  push,
  { group: "Look", commands: [queues, stats, watch, peek, tail] },
  { group: "Mend", commands: [kick, bury, move, del, drain, pause, resume] },
  { group: "Check", commands: [doctor, bench, apnsSimulator] }
])

const complain = (message: string) => Console.error(`backq: ${oneLine(message).trim()}`)

/** Keeps stdout for what was asked for: a wrong invocation gets one line on stderr, not the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    switch (event._tag) {
      case "Version":
        return Console.log(event.version)
      case "InvalidInvocation": {
        const [error] = event.errors
        const path = event.commandPath.join(" ")
        const message = oneLine(error!.message).trim()
        const valueless = /^Missing value for flag (--\S+)\./.exec(message)?.[1]
        // most likely an option of the program that is to run
        const hint = error!._tag === "UnrecognizedOption" && path === "backq publish process"
          ? "If it is for the program, write -- before the program"
          : valueless === undefined
          ? `See ${path} --help`
          : `A value that begins with - is written ${valueless}=VALUE. See ${path} --help`
        return complain(`${message}. ${hint}`)
      }
      case "Help":
        return event.reason === "Requested"
          ? CliOutput.defaultPresenter.present(event)
          : Effect.flatMap(CliOutput.Formatter, (formatter) => Console.error(formatter.formatHelpDoc(event.helpDoc)))
    }
  }
}

/** Runs the program with some arguments and returns its exit code. */
export const main = (args: ReadonlyArray<string>): Effect.Effect<number> =>
  Command.runWith(command, { version })(args).pipe(
    Effect.as(0),
    Effect.catch((error) => {
      switch (error._tag) {
        case "UsageError":
        case "NoFile":
        case "NotShown":
        case "SomeMissing":
        case "NoWorker":
        case "Unhealthy":
        case "PushesFailed":
        case "Interrupted":
        case "FolderUnusable":
        case "BrokerError":
        case "PublishError":
        case "BrokerUrlError":
          return Effect.as(complain(error.message), exitCode(error))
        default:
          return Effect.succeed(1)
      }
    }),
    Effect.provideService(CliOutput.Presenter, presenter),
    Effect.provideService(CliConfig.CliConfig, Completions.config),
    Effect.provide(NodeServices.layer)
  )
