/** `backq queues`: the statistics of queues. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"
import { encodeQueue, queueTable, sampleFor } from "../render/numbers.ts"
import { operate } from "../root.ts"

/** `backq queues`. */
export const queues = Command.make("queues", {
  queue: Argument.String("queue").pipe(
    Argument.withDescription("A queue; can be repeated. Default: all"),
    Argument.variadic({ min: 0 })
  ),
  sample: Flags.duration("sample").pipe(
    Flag.withDescription("How long to measure the rates; 0 omits them. Default: 1s"),
    Flag.withDefault(Duration.seconds(1))
  ),
  json: Flags.json
}, ({ json, queue, sample }) =>
  operate(Effect.gen(function*() {
    const { queues } = yield* sampleFor(sample, queue)
    yield* json ? printJson(queues.map(encodeQueue)) : print(...queueTable(queues))
  }))).pipe(
    Command.withDescription(
      "Show the statistics of queues: jobs in each state, idle workers, the age of the next job, jobs in and out per " +
        "second, all jobs ever put, and the remaining time of a pause"
    ),
    Command.withShortDescription("Show the statistics of queues"),
    Command.withExamples([
      { command: "backq queues", description: "All queues" },
      { command: "backq queues mail --sample 0 --json", description: "One queue, without rates, as JSON" }
    ])
  )
