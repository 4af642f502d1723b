/**
 * Runs the `backq` command in this process until it ends or a signal ends it
 * (see `backq/main`). All output and log lines arrive before the process exits.
 */
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { Main } from "../main/index.ts"
import { fault } from "./exitCode.ts"
import { main } from "./main.ts"
import { Output } from "./output.ts"
import { Shutdown } from "./shutdown.ts"
import * as Stdio from "./stdio.ts"

const asked = Deferred.makeUnsafe<void>()
const program = Main.begin(() => {
  Deferred.doneUnsafe(asked, Effect.void)
})

const runMain = Runtime.makeRunMain(({ fiber }) => {
  fiber.addObserver((exit) => program.exit(Exit.isSuccess(exit) ? Number(exit.value) : fault))
})

main(process.argv.slice(2)).pipe(
  Effect.provideService(Shutdown, { asked: Deferred.await(asked) }),
  Effect.provideService(Output, Stdio.output(Deferred.await(asked))),
  Effect.provideService(Console.Console, Stdio.console()),
  runMain
)
