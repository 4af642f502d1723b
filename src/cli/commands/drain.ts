/** `backq drain`: deletes the jobs of a queue. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Operator from "../../Operator.ts"
import { confirm } from "../ask.ts"
import * as Flags from "../flags/flags.ts"
import { note } from "../output.ts"
import { printCount } from "../render/results.ts"
import { jobs as countJobs } from "../render/text.ts"
import { operate } from "../root.ts"

const states = ["ready", "delayed", "buried"] as const

/** `backq drain`. */
export const drain = Command.make("drain", {
  queue: Flags.queueArgument,
  state: Flag.Literals("state", states).pipe(
    Flag.withDescription("Only jobs in this state; can be repeated. Default: ready, delayed and buried"),
    Flags.repeated
  ),
  yes: Flags.yes,
  json: Flags.json
}, ({ json, queue, state, yes }) =>
  operate(Effect.gen(function*() {
    const stats = yield* Operator.statsQueue(queue)
    const wanted = states.filter((one) => (state.length === 0 || state.includes(one)) && stats[one] > 0)
    if (wanted.length > 0) {
      yield* confirm(`delete ${wanted.map((one) => `${stats[one]} ${one}`).join(", ")} of ${queue} for good`, yes)
    }
    let deleted = 0
    for (const one of wanted) {
      deleted += yield* Operator.forEachJob(queue, { state: one, max: stats[one] }, Operator.delete)
    }
    yield* printCount("deleted", deleted, json)
    if (stats.reserved > 0 && !json) {
      yield* note(`not deleted: ${countJobs(stats.reserved)} of ${queue}, which workers hold`)
    }
  }))).pipe(
    Command.withDescription(
      "Delete the jobs of a queue for good, except those that workers hold. Says how many, and asks for confirmation"
    ),
    Command.withShortDescription("Empty a queue"),
    Command.withExamples([{ command: "backq drain mail --state buried" }])
  )
