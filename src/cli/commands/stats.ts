/** `backq stats`: the statistics of a broker. */
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type BrokerStats, Inspector } from "../../Inspector.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"
import { encodeQueue, queueTable, sample } from "../render/numbers.ts"
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
