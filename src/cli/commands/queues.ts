/** `backq queues` and `backq stats`: the statistics of a broker and its queues. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type BrokerStats, Inspector } from "../../Inspector.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"
import { encodeQueue, queueTable, sample, sampleFor } from "../render/numbers.ts"
import { table } from "../render/table.ts"
import { shortDuration } from "../render/text.ts"
import { isServer, operate } from "../root.ts"

const summary = ({ buried, delayed, ready, reserved }: BrokerStats): string =>
  ready + delayed + reserved + buried === 0
    ? "none: no job is ready, delayed, reserved or buried"
    : `${ready} ready, ${delayed} delayed, ${reserved} reserved, ${buried} buried`

const brokerLines = (name: string, stats: BrokerStats, uptime: Duration.Duration | undefined) =>
  table(["broker", name], [
    ["version", stats.version],
    ...(uptime === undefined ? [] : [["uptime", shortDuration(uptime)]]),
    ["largest job", `${stats.maxJobSize} bytes`],
    ["durable", stats.durable ? "yes" : "no: a restart loses the jobs"],
    ["draining", stats.draining ? "yes: it accepts no new jobs" : "no"],
    ["idle workers", stats.idleWorkers],
    ["jobs", summary(stats)]
  ], "left")

/** `backq stats`. */
export const stats = Command.make("stats", { json: Flags.json }, ({ json }) =>
  operate(Effect.gen(function*() {
    const inspector = yield* Inspector
    const stats = yield* inspector.stats
    const uptime = (yield* isServer) ? stats.uptime : undefined
    const { queues } = yield* sample()
    yield* json
      ? printJson({
        broker: inspector.name,
        ...stats,
        uptime: uptime === undefined ? null : Duration.toMillis(uptime),
        queues: queues.map(encodeQueue)
      })
      : print(...brokerLines(inspector.name, stats, uptime), "", ...queueTable(queues))
  }))).pipe(
    Command.withDescription("Show the statistics of the broker and its queues"),
    Command.withExamples([{ command: "backq stats --broker beanstalk://127.0.0.1:11300" }])
  )

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
