/** The `backq` command within this process: faster than a child process, for tests without a terminal and signals. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { main } from "../../src/cli/main.ts"

/** Runs the command to its end. */
export const run = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const out: Array<string> = []
  const err: Array<string> = []
  const console: Console.Console = {
    ...globalThis.console,
    log: (...words) => out.push(words.join(" ")),
    error: (...words) => err.push(words.join(" "))
  }
  const code = yield* Effect.provideService(main(args), Console.Console, console)
  return { code, stdout: out.join("\n"), stderr: err.join("\n") }
})
