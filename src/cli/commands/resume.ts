/** `backq resume`: ends a pause. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Operator from "../../Operator.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, withDone } from "../output.ts"
import { operate } from "../root.ts"

/** `backq resume`. */
export const resume = Command.make(
  "resume",
  { queue: Flags.queueArgument, json: Flags.json },
  ({ json, queue }) =>
    operate(Effect.gen(function*() {
      yield* Operator.statsQueue(queue)
      yield* Operator.resume(queue)
      const line = `${queue} is resumed`
      yield* withDone(line, json ? printJson({ queue, pausedFor: 0 }) : print(line))
    }))
).pipe(
  Command.withDescription("End a pause"),
  Command.withExamples([{ command: "backq resume mail" }])
)
