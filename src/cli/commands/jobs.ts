/** `backq kick`, `backq bury` and `backq delete`: what an operator does with single jobs, or some of a queue. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { JobId } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import { Inspector, type ListedState, type QueueStats } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { confirm, few } from "../ask.ts"
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
 * Does something with each of some jobs, tells with which, and fails when some
 * were not there.
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

/** Tells how many jobs something was done with. */
export const tellCount = (done: string, count: number, json: boolean) => {
  const line = `${done}: ${countJobs(count)}`
  return tell(line, json ? printJson({ [done]: count }) : print(line))
}

/** Says where the jobs of a queue are when none is in the state that was asked for. */
export const tellWhere = (
  stats: QueueStats,
  asked: ListedState,
  states: ReadonlyArray<"ready" | "delayed" | "buried">
) => {
  const others = states.filter((state) => state !== asked && stats[state] > 0)
  const where = others.map((state) => `${stats[state]} ${state}`).join(", ")
  return complain(`no job of ${stats.queue} is ${asked}${where === "" ? "" : `, but ${where}: see --state`}`)
}

const kickQueue = Effect.fnUntraced(function*(
  queue: string,
  { json, max, state, yes }: { max: number | undefined; state: "buried" | "delayed"; yes: boolean; json: boolean }
) {
  const inspector = yield* Inspector
  const stats = yield* inspector.statsQueue(queue)
  const count = Math.min(max ?? Infinity, stats[state])
  if (count > few) {
    yield* confirm(`make ${count} ${state} jobs of ${queue} ready`, yes)
  }
  const kicked = count === 0
    ? 0
    // a queue's own kick takes delayed ones only when none is buried
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
    Argument.withDescription("How many jobs at most. Default: all"),
    Argument.optional
  ),
  state: Flag.Literals("state", ["buried", "delayed"]).pipe(
    Flag.withDescription("Which jobs of the queue. Default: buried"),
    Flag.withDefault("buried")
  ),
  id: Flags.ids,
  yes: Flags.yes,
  json: Flags.json
}, ({ id, json, max, queue, state, yes }) =>
  Effect.gen(function*() {
    if (Option.isSome(queue) === id.length > 0) {
      return yield* new UsageError({ detail: "write either a queue or --id: backq kick mail 10, backq kick --id 42" })
    }
    if (Option.isSome(queue)) {
      return yield* operate(kickQueue(queue.value, { max: Option.getOrUndefined(max), state, yes, json }))
    }
    yield* operate(each(id, "kicked", json, (id) => Inspector.use((inspector) => inspector.kickJob(id))))
  })).pipe(
    Command.withDescription(
      `Make buried jobs ready, the longest buried first, or delayed ones; each gets one more attempt. ` +
        `More than ${few} jobs are asked for`
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
      "Why, for whoever looks at it later; kept where the broker can. Default: buried by an operator"
    ),
    Flag.withDefault("buried by an operator")
  ),
  json: Flags.json
}, ({ ids, json, reason }) =>
  operate(Effect.gen(function*() {
    const inspector = yield* Inspector
    yield* each(ids, "buried", json, (id) => inspector.buryJob(id, reason))
  }))).pipe(
    Command.withDescription("Put ready or delayed jobs aside, until somebody kicks them. beanstalkd can from 1.12 on"),
    Command.withShortDescription("Put jobs aside"),
    Command.withExamples([{ command: "backq bury 42 43 --reason \"waits for the new template\"" }])
  )

/** `backq delete`. */
export const del = Command.make(
  "delete",
  { ids, yes: Flags.yes, json: Flags.json },
  ({ ids, json, yes }) =>
    operate(Effect.gen(function*() {
      const inspector = yield* Inspector
      if (ids.length > few) yield* confirm(`delete ${countJobs(ids.length)}`, yes)
      yield* each(ids, "deleted", json, inspector.delete)
    }))
).pipe(
  Command.withDescription(
    `Delete jobs that no worker holds, for good. More than ${few} are asked for; \`drain\` empties a queue`
  ),
  Command.withShortDescription("Delete jobs"),
  Command.withExamples([{ command: "backq delete 42 43" }])
)
