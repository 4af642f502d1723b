/**
 * `backq stats` and `backq queues`: what a broker holds, in numbers, for people
 * or as JSON (durations in milliseconds).
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Broker, type BrokerStats, type QueueStats } from "../Broker.ts"
import { interruptible, withBroker } from "./root.ts"
import { table } from "./table.ts"

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print JSON"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

/** All queues, by name. One that vanishes while it is asked about is left out. */
const queueStats = Effect.gen(function*() {
  const broker = yield* Broker
  const names = Array.from(yield* broker.queues).sort()
  const stats = yield* Effect.forEach(
    names,
    (name) => Effect.catchReason(broker.statsQueue(name), "BrokerError", "NotFound", () => Effect.undefined),
    { concurrency: 16 }
  )
  return stats.filter((one) => one !== undefined)
})

type Counts = Pick<QueueStats, "ready" | "delayed" | "reserved" | "buried">

const stateOf = ({ buried, delayed, ready, reserved }: Counts): string =>
  ready + delayed + reserved > 0 ? "busy" : buried > 0 ? "buried" : "empty"

const seconds = (duration: Duration.Duration): string =>
  Duration.isZero(duration) ? "-" : Duration.format(Duration.seconds(Math.ceil(Duration.toSeconds(duration))))

const queueTable = (queues: ReadonlyArray<QueueStats>): string =>
  table(
    ["queue", "ready", "delayed", "reserved", "buried", "waiting", "total", "paused", "state"],
    queues.map((one) => [
      one.queue,
      one.ready,
      one.delayed,
      one.reserved,
      one.buried,
      one.waiting,
      one.total,
      seconds(one.pausedFor),
      stateOf(one)
    ])
  )

const summary = ({ buried, delayed, ready, reserved }: Counts): string =>
  ready + delayed + reserved + buried === 0
    ? "at rest and empty: no job is ready, delayed, reserved or buried"
    : `${ready} ready, ${delayed} delayed, ${reserved} reserved, ${buried} buried`

const brokerLines = (name: string, stats: BrokerStats): string =>
  table(["broker", name], [
    ["version", stats.version],
    ["uptime", seconds(stats.uptime)],
    ["largest job", `${stats.maxJobSize} bytes`],
    ["durable", stats.durable ? "yes" : "no: a restart loses the jobs"],
    ["draining", stats.draining ? "yes: no new jobs are taken" : "no"],
    ["waiting workers", stats.waiting],
    ["jobs", summary(stats)]
  ], "left")

const encodeQueue = ({ pausedFor, ...stats }: QueueStats) => ({ ...stats, pausedFor: Duration.toMillis(pausedFor) })

/** `backq stats`. */
export const stats = Command.make("stats", { json }, ({ json }) =>
  Effect.gen(function*() {
    const broker = yield* Broker
    const stats = yield* broker.stats
    const queues = yield* queueStats
    yield* Console.log(
      json
        ? JSON.stringify({
          broker: broker.name,
          ...stats,
          uptime: Duration.toMillis(stats.uptime),
          queues: queues.map(encodeQueue)
        })
        : `${brokerLines(broker.name, stats)}\n\n${queueTable(queues)}`
    )
  }).pipe(withBroker, interruptible)).pipe(Command.withDescription("Show the broker and its queues in numbers"))

/** `backq queues`. */
export const queues = Command.make("queues", { json }, ({ json }) =>
  Effect.gen(function*() {
    const queues = yield* queueStats
    yield* Console.log(json ? JSON.stringify(queues.map(encodeQueue)) : queueTable(queues))
  }).pipe(withBroker, interruptible)).pipe(Command.withDescription("Show the queues in numbers"))
