/** `backq kick`, `backq bury` and `backq delete`: actions on single jobs, or on jobs of a queue. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { JobId } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import { Inspector, type ListedState, type QueueStats } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { confirm, maxUnconfirmedJobs } from "../ask.ts"
import { SomeMissing, UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { complain, print, printJson, tell } from "../output.ts"
import { jobs as countJobs } from "../render/text.ts"
import { operate } from "../root.ts"

const ids = Argument.String("id").pipe(
  Argument.withDescription("The id of a job; can be repeated"),
  Argument.map((id) => JobId.make(id)),
  Argument.variadic({ min: 1 })
)

/**
 * Applies an action to each job and prints the ids. Fails if some jobs were
 * missing.
 */
export const each = Effect.fnUntraced(function*(
  ids: ReadonlyArray<JobId>,
  done: string,
  json: boolean,
  act: (id: JobId) => Effect.Effect<unknown, BrokerError, Inspector>
) {
  const missing: Array<JobId> = []
  for (const id of ids) {
    yield* act(id).pipe(
      Effect.catchReason("BrokerError", "NotFound", () => Effect.sync(() => missing.push(id)))
    )
  }
  const present = ids.filter((id) => !missing.includes(id))
  const line = `${done}: ${present.join(", ")}`
  if (json) yield* tell(line, printJson({ [done]: present, missing }))
  else if (present.length > 0) yield* tell(line, print(line))
  if (missing.length > 0) return yield* new SomeMissing({ ids: missing })
})

/** Prints the number of jobs that an action changed. */
export const tellCount = (done: string, count: number, json: boolean) => {
  const line = `${done}: ${countJobs(count)}`
  return tell(line, json ? printJson({ [done]: count }) : print(line))
}

/** Says which states the jobs of a queue are in, if none is in the requested state. */
export const tellWhere = (
  stats: QueueStats,
  asked: ListedState,
  states: ReadonlyArray<"ready" | "delayed" | "buried">
) => {
  const others = states.filter((state) => state !== asked && stats[state] > 0)
  const where = others.map((state) => `${stats[state]} ${state}`).join(", ")
  return complain(
    `no job of ${stats.queue} is ${asked}${where === "" ? "" : `, but the queue has ${where}: use --state`}`
  )
}

const kickQueue = Effect.fnUntraced(function*(
  queue: string,
  { json, max, state, yes }: { max: number | undefined; state: "buried" | "delayed"; yes: boolean; json: boolean }
) {
  const inspector = yield* Inspector
  const stats = yield* inspector.statsQueue(queue)
  const count = Math.min(max ?? Infinity, stats[state])
  if (count > maxUnconfirmedJobs) {
    yield* confirm(`make ${count} ${state} jobs of ${queue} ready`, yes)
  }
  const kicked = count === 0
    ? 0
    // the broker's own kick takes delayed jobs only if none is buried
    : state === "buried" || stats.buried === 0
    ? yield* inspector.kick(queue, count)
    : yield* Operator.forEachJob(queue, { state, max: count }, inspector.kickJob)
  yield* tellCount("kicked", kicked, json)
  if (count === 0 && !json) yield* tellWhere(stats, state, ["delayed", "buried"])
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
    yield* operate(each(id, "kicked", json, (id) => Inspector.use((inspector) => inspector.kickJob(id))))
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

/** `backq bury`. */
export const bury = Command.make("bury", {
  ids,
  reason: Flag.String("reason").pipe(
    Flag.withDescription(
      "The reason to store with the jobs; some brokers do not keep it. Default: buried by an operator"
    ),
    Flag.withDefault("buried by an operator")
  ),
  json: Flags.json
}, ({ ids, json, reason }) =>
  operate(Effect.gen(function*() {
    const inspector = yield* Inspector
    yield* each(ids, "buried", json, (id) => inspector.buryJob(id, reason))
  }))).pipe(
    Command.withDescription(
      "Bury ready or delayed jobs, until an operator kicks them. On beanstalkd this needs 1.12 or newer"
    ),
    Command.withShortDescription("Bury jobs"),
    Command.withExamples([{ command: "backq bury 42 43 --reason \"waits for the new template\"" }])
  )

/** `backq delete`. */
export const del = Command.make(
  "delete",
  { ids, yes: Flags.yes, json: Flags.json },
  ({ ids, json, yes }) =>
    operate(Effect.gen(function*() {
      const inspector = yield* Inspector
      if (ids.length > maxUnconfirmedJobs) yield* confirm(`delete ${countJobs(ids.length)}`, yes)
      yield* each(ids, "deleted", json, inspector.delete)
    }))
).pipe(
  Command.withDescription(
    `Delete jobs for good, except those that a worker holds. Asks for confirmation above ${maxUnconfirmedJobs} jobs. ` +
      `\`drain\` empties a queue`
  ),
  Command.withShortDescription("Delete jobs"),
  Command.withExamples([{ command: "backq delete 42 43" }])
)
