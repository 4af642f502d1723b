/** A program with a process that ignores SIGTERM and prints its number. Its first argument selects how it runs. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Main } from "../../src/main/index.ts"
import { Process, ProcessPolicy } from "../../src/process/index.ts"

const [how, file] = process.argv.slice(2)

const policy = ProcessPolicy.make({ shellLines: true })

const main = Process.run({ command: `trap "" TERM HUP INT QUIT; sleep 300 & echo $$ $! > ${file}; wait` }).pipe(
  Effect.provide(Layer.merge(
    Process.ProcessRunner.layerOptions({ grace: "1 minute" }),
    ProcessPolicy.layer(policy)
  ))
)

/** Ends the program from within, on request. */
const onUser = (end: () => void) => process.once("SIGUSR2", end)

switch (how) {
  case "Main.run":
    Main.run(main)
    break
  case "NodeRuntime.runMain":
    NodeRuntime.runMain(main)
    break
  case "runFork":
    Effect.runFork(main)
    break
  case "process.exit":
    onUser(() => process.exit(3))
    Effect.runFork(main)
    break
  case "an error that nobody catches":
    onUser(() => {
      throw new Error("nobody catches this")
    })
    Effect.runFork(main)
}
