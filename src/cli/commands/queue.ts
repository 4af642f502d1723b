/** `backq pause`, `resume`, `move` and `drain`: actions on a queue. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Broker, checkQueue, type JobId } from "../../Broker.ts"
import { jobNotFound } from "../../BrokerError.ts"
import { Inspector } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { confirm, maxUnconfirmedJobs } from "../ask.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { complain, print, printJson, tell } from "../output.ts"
import { jobs as countJobs, shortDuration } from "../render/text.ts"
import { operate } from "../root.ts"
import { each, tellCount, tellWhere } from "./jobs.ts"

const queue = Argument.String("queue").pipe(Argument.withDescription("The queue"))

/** `backq pause`. */
export const pause = Command.make("pause", {
  queue,
  duration: Flags.durationArgument("duration").pipe(
    Argument.filter(Duration.isPositive, () => "a duration greater than 0"),
    Argument.withDescription("How long: 90s, 5m, 2h")
  ),
  json: Flags.json
}, ({ duration, json, queue }) =>
  operate(Effect.gen(function*() {
    const broker = yield* Broker
    const inspector = yield* Inspector
    // on some brokers a pause creates a missing queue, so check first; idle workers may wait on an empty queue
    yield* Effect.catchReason(inspector.statsQueue(queue), "BrokerError", "NotFound", (_, error) =>
      Effect.flatMap(broker.idleWorkers(queue), (workers) =>
        workers > 0 ? Effect.void : Effect.fail(error)))
    yield* inspector.pause(queue, duration)
    const line = `${queue} is paused for ${shortDuration(duration)}; backq resume ${queue} ends it`
    yield* tell(line, json ? printJson({ queue, pausedFor: Duration.toMillis(duration) }) : print(line))
  }))).pipe(
    Command.withDescription(
      "Stop serving the jobs of a queue for some time. Running jobs continue, and programs can still publish"
    ),
    Command.withShortDescription("Pause a queue"),
    Command.withExamples([{ command: "backq pause mail 15m" }])
  )

/** `backq resume`. */
export const resume = Command.make(
  "resume",
  { queue, json: Flags.json },
  ({ json, queue }) =>
    operate(Effect.gen(function*() {
      const inspector = yield* Inspector
      yield* inspector.statsQueue(queue)
      yield* inspector.resume(queue)
      const line = `${queue} is resumed`
      yield* tell(line, json ? printJson({ queue, pausedFor: 0 }) : print(line))
    }))
).pipe(
  Command.withDescription("End a pause"),
  Command.withExamples([{ command: "backq resume mail" }])
)

const moveSome = Effect.fnUntraced(function*(
  from: string,
  to: string,
  { json, max, state, yes }: {
    state: "ready" | "delayed" | "buried"
    max: number | undefined
    yes: boolean
    json: boolean
  }
) {
  const inspector = yield* Inspector
  if (from === to && state === "ready") {
    return yield* new UsageError({
      detail: `TO must be another queue than ${from} for its ready jobs: name another queue`
    })
  }
  const stats = yield* inspector.statsQueue(from)
  const count = Math.min(max ?? Infinity, stats[state])
  if (count > maxUnconfirmedJobs) yield* confirm(`move ${countJobs(count)} of ${from} to ${to}`, yes)
  const moved = count === 0
    ? 0
    : yield* Operator.forEachJob(from, { state, max: count }, (id) => inspector.moveJob(id, to))
  yield* tellCount("moved", moved, json)
  if (count === 0 && !json) yield* tellWhere(stats, state, ["ready", "delayed", "buried"])
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
    const inspector = yield* Inspector
    yield* Effect.fromResult(checkQueue(to))
    if (id.length === 0) return yield* moveSome(from, to, { state, max, yes, json })
    yield* each(id, "moved", json, (id: JobId) =>
      Effect.gen(function*() {
        const { queue } = yield* inspector.statsJob(id)
        if (queue !== from) return yield* jobNotFound(id)
        yield* inspector.moveJob(id, to)
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

const states = ["ready", "delayed", "buried"] as const

/** `backq drain`. */
export const drain = Command.make("drain", {
  queue,
  state: Flag.Literals("state", states).pipe(
    Flag.withDescription("Only jobs in this state; can be repeated. Default: ready, delayed and buried"),
    Flags.repeated
  ),
  yes: Flags.yes,
  json: Flags.json
}, ({ json, queue, state, yes }) =>
  operate(Effect.gen(function*() {
    const inspector = yield* Inspector
    const stats = yield* inspector.statsQueue(queue)
    const wanted = states.filter((one) => (state.length === 0 || state.includes(one)) && stats[one] > 0)
    if (wanted.length > 0) {
      yield* confirm(`delete ${wanted.map((one) => `${stats[one]} ${one}`).join(", ")} of ${queue} for good`, yes)
    }
    let deleted = 0
    for (const one of wanted) {
      deleted += yield* Operator.forEachJob(queue, { state: one, max: stats[one] }, inspector.delete)
    }
    yield* tellCount("deleted", deleted, json)
    if (stats.reserved > 0 && !json) {
      yield* complain(`not deleted: ${countJobs(stats.reserved)} of ${queue}, which workers hold`)
    }
  }))).pipe(
    Command.withDescription(
      "Delete the jobs of a queue for good, except those that workers hold. Says how many, and asks for confirmation"
    ),
    Command.withShortDescription("Empty a queue"),
    Command.withExamples([{ command: "backq drain mail --state buried" }])
  )
