/**
 * Runs the `backq` command on this process, until it ends or a signal ends it
 * (see `main/signals.ts`). What it has printed and logged arrives before it
 * exits.
 */
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Signals from "../main/signals.ts"
import * as StandardStreams from "../main/standardStreams.ts"
import { fault } from "./exitCode.ts"
import { main } from "./main.ts"
import { Output } from "./output.ts"
import { Shutdown } from "./shutdown.ts"
import * as Stdio from "./stdio.ts"

StandardStreams.guard()

const asked = Deferred.makeUnsafe<void>()
const signals = Signals.listen(() => {
  Deferred.doneUnsafe(asked, Effect.void)
})

const runMain = Runtime.makeRunMain(({ fiber }) => {
  fiber.addObserver((exit) => {
    const code = Exit.isSuccess(exit) ? Number(exit.value) : fault
    Effect.runFork(Effect.andThen(
      StandardStreams.flush,
      Effect.sync(() => process.exit(signals.isForced() ? Signals.interrupted : code))
    ))
  })
})

main(process.argv.slice(2)).pipe(
  Effect.provideService(Shutdown, { asked: Deferred.await(asked) }),
  Effect.provideService(Output, Stdio.output),
  Effect.provideService(Console.Console, Stdio.console()),
  runMain
)
