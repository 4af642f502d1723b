/** `backq pause`: stops serving the jobs of a queue. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Broker } from "../../Broker.ts"
import * as Operator from "../../Operator.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, withDone } from "../output.ts"
import { shortDuration } from "../render/text.ts"
import { operate } from "../root.ts"

/** `backq pause`. */
export const pause = Command.make("pause", {
  queue: Flags.queueArgument,
  duration: Flags.durationArgument("duration").pipe(
    Argument.filter(Duration.isPositive, () => "a duration greater than 0"),
    Argument.withDescription("How long: 90s, 5m, 2h")
  ),
  json: Flags.json
}, ({ duration, json, queue }) =>
  operate(Effect.gen(function*() {
    const broker = yield* Broker
    // on some brokers a pause creates a missing queue, so check first; idle workers may wait on an empty queue
    yield* Effect.catchReason(Operator.statsQueue(queue), "BrokerError", "NotFound", (_, error) =>
      Effect.flatMap(broker.idleWorkers(queue), (workers) =>
        workers > 0 ? Effect.void : Effect.fail(error)))
    yield* Operator.pause(queue, duration)
    const line = `${queue} is paused for ${shortDuration(duration)}; backq resume ${queue} ends it`
    yield* withDone(line, json ? printJson({ queue, pausedFor: Duration.toMillis(duration) }) : print(line))
  }))).pipe(
    Command.withDescription(
      "Stop serving the jobs of a queue for some time. Running jobs continue, and programs can still publish"
    ),
    Command.withShortDescription("Pause a queue"),
    Command.withExamples([{ command: "backq pause mail 15m" }])
  )
