/** `backq move`: moves jobs to another queue. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { checkQueue, type JobId } from "../../Broker.ts"
import { jobNotFound } from "../../BrokerError.ts"
import type { PeekableState } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { confirm, maxUnconfirmedJobs } from "../ask.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { each, noteOtherStates, printCount } from "../render/results.ts"
import { jobs as countJobs } from "../render/text.ts"
import { operate } from "../root.ts"

const moveSome = Effect.fnUntraced(function*(
  from: string,
  to: string,
  { json, max, state, yes }: {
    state: PeekableState
    max: number | undefined
    yes: boolean
    json: boolean
  }
) {
  if (from === to && state === "ready") {
    return yield* new UsageError({
      detail: `TO must be another queue than ${from} for its ready jobs: name another queue`
    })
  }
  const stats = yield* Operator.statsQueue(from)
  const count = Math.min(max ?? Infinity, stats[state])
  if (count > maxUnconfirmedJobs) yield* confirm(`move ${countJobs(count)} of ${from} to ${to}`, yes)
  const moved = count === 0
    ? 0
    : yield* Operator.forEachJob(from, { state, max: count }, (id) => Operator.moveJob(id, to))
  yield* printCount("moved", moved, json)
  if (count === 0 && !json) yield* noteOtherStates(stats, state, ["ready", "delayed", "buried"])
})

/** `backq move`. */
export const move = Command.make("move", {
  from: Argument.String("from").pipe(Argument.withDescription("The queue to take jobs from")),
  to: Argument.String("to").pipe(Argument.withDescription("The queue to move them to")),
  state: Flag.Literals("state", ["ready", "delayed", "buried"]).pipe(
    Flag.withDescription("The state of the jobs. Default: buried"),
    Flag.withDefault("buried")
  ),
  max: Flags.integer("max", 1).pipe(Flag.withDescription("At most this many jobs. Default: all"), Flags.optional),
  id: Flags.ids,
  yes: Flags.yes,
  json: Flags.json
}, ({ from, id, json, max, state, to, yes }) =>
  operate(Effect.gen(function*() {
    yield* Effect.fromResult(checkQueue(to))
    if (id.length === 0) return yield* moveSome(from, to, { state, max, yes, json })
    yield* each(id, "moved", json, (id: JobId) =>
      Effect.gen(function*() {
        const { queue } = yield* Operator.statsJob(id)
        if (queue !== from) return yield* jobNotFound(id)
        yield* Operator.moveJob(id, to)
      }))
  }))).pipe(
    Command.withDescription(
      "Move jobs to another queue. There they are ready, at their first attempt, with new ids. " +
        `Asks for confirmation above ${maxUnconfirmedJobs} jobs. On beanstalkd this needs 1.12 or ` +
        "newer, and a crash may leave a job on both queues"
    ),
    Command.withShortDescription("Move jobs to another queue"),
    Command.withExamples([
      { command: "backq move mail mail-dead", description: "All buried jobs" },
      { command: "backq move mail-dead mail --state ready --max 100", description: "Some of them back" }
    ])
  )
