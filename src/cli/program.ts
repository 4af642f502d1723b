/** Runs the `backq` command on this process. The first SIGINT or SIGTERM asks it to end, the second ends it. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { main } from "./main.ts"
import { Shutdown } from "./Shutdown.ts"

const asked = Deferred.makeUnsafe<void>()
const forced = Deferred.makeUnsafe<void>()

const interrupted = 130

/** Long enough to pass SIGTERM on to the processes that run. */
const exitSoon = Effect.andThen(Effect.sleep("100 millis"), Effect.sync(() => process.exit(interrupted)))

const onSignal = () => {
  if (Deferred.doneUnsafe(asked, Effect.void)) return
  if (Deferred.doneUnsafe(forced, Effect.void)) Effect.runFork(exitSoon)
}

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  fiber.addObserver((exit) => {
    if (Deferred.isDoneUnsafe(forced)) process.exit(interrupted)
    if (exit._tag === "Success") process.exit(Number(exit.value))
    teardown(exit, process.exit)
  })
})

main(process.argv.slice(2)).pipe(
  Effect.provideService(Shutdown, { asked: Deferred.await(asked), forced: Deferred.await(forced) }),
  runMain
)
