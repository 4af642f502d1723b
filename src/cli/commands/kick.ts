/** `backq kick`: makes buried or delayed jobs ready. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Operator from "../../Operator.ts"
import { confirm, maxUnconfirmedJobs } from "../ask.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { each, noteOtherStates, printCount } from "../render/results.ts"
import { operate } from "../root.ts"

const kickQueue = Effect.fnUntraced(function*(
  queue: string,
  { json, max, state, yes }: { max: number | undefined; state: "buried" | "delayed"; yes: boolean; json: boolean }
) {
  const stats = yield* Operator.statsQueue(queue)
  const count = Math.min(max ?? Infinity, stats[state])
  if (count > maxUnconfirmedJobs) {
    yield* confirm(`make ${count} ${state} jobs of ${queue} ready`, yes)
  }
  const kicked = count === 0
    ? 0
    // the broker's own kick takes delayed jobs only if none is buried
    : state === "buried" || stats.buried === 0
    ? yield* Operator.kick(queue, count)
    : yield* Operator.forEachJob(queue, { state, max: count }, Operator.kickJob)
  yield* printCount("kicked", kicked, json)
  if (count === 0 && !json) yield* noteOtherStates(stats, state, ["delayed", "buried"])
})

/** `backq kick`. */
export const kick = Command.make("kick", {
  queue: Argument.String("queue").pipe(Argument.withDescription("The queue"), Argument.optional),
  max: Flags.integerArgument("max", 1).pipe(
    Argument.withDescription("At most this many jobs. Default: all"),
    Argument.optional
  ),
  state: Flag.Literals("state", ["buried", "delayed"]).pipe(
    Flag.withDescription("The state of the jobs. Default: buried"),
    Flag.withDefault("buried")
  ),
  id: Flags.ids,
  yes: Flags.yes,
  json: Flags.json
}, ({ id, json, max, queue, state, yes }) =>
  Effect.gen(function*() {
    if (Option.isSome(queue) === id.length > 0) {
      return yield* new UsageError({
        detail: "either a queue or --id must be given: write backq kick mail 10, or backq kick --id 42"
      })
    }
    if (Option.isSome(queue)) {
      return yield* operate(kickQueue(queue.value, { max: Option.getOrUndefined(max), state, yes, json }))
    }
    yield* operate(each(id, "kicked", json, Operator.kickJob))
  })).pipe(
    Command.withDescription(
      `Make buried or delayed jobs ready, the longest buried first. Each gets one more attempt. ` +
        `Asks for confirmation above ${maxUnconfirmedJobs} jobs`
    ),
    Command.withShortDescription("Make buried or delayed jobs ready"),
    Command.withExamples([
      { command: "backq kick mail 10", description: "Ten buried jobs" },
      { command: "backq kick --id 42", description: "One job" }
    ])
  )
