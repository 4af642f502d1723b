/**
 * `backq doctor`: finds settings that lose work and queues that need attention,
 * and says what to do about each. It changes nothing.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { realpathSync, statfsSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { Broker } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import * as BrokerUrl from "../../brokers/url.ts"
import { Inspector } from "../../Inspector.ts"
import * as Operator from "../../Operator.ts"
import { Unhealthy } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"
import {
  type FileSeen,
  type Finding,
  ofBeanstalkd,
  ofConcerns,
  ofConnection,
  ofFeatures,
  ofFile,
  ofJobs,
  ofJobSize,
  ofPostgres,
  ofQueue
} from "../render/findings.ts"
import { sample } from "../render/numbers.ts"
import { operate, root } from "../root.ts"

const foldersAbove = (path: string): ReadonlyArray<string> => {
  const folder = dirname(path)
  return folder === path ? [] : [folder, ...foldersAbove(folder)]
}

/** Inspects a file and its disk. */
const seeFile = (path: string, durability: FileSeen["durability"]): FileSeen => {
  const { mode, uid } = statSync(path)
  const folders = foldersAbove(realpathSync(path)).map((folder) => statSync(folder).mode)
  const { bavail, blocks, bsize, type } = statfsSync(dirname(path))
  return {
    path,
    durability,
    mode,
    isOwn: process.getuid === undefined || process.getuid() === uid,
    isReachable: folders.every((mode) => (mode & 0o1) !== 0),
    // in a sticky folder only a file's owner may replace it
    isReplaceable: (folders[0]! & 0o1002) === 0o2,
    logSize: statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
    free: bavail * bsize,
    size: blocks * bsize,
    type
  }
}

const connectionFinding = Effect.gen(function*(): Effect.fn.Return<Finding, BrokerError, Broker | Inspector> {
  const broker = yield* Broker
  const inspector = yield* Inspector
  const before = yield* Clock.monotonicTimeNanos
  yield* broker.ping
  const millis = Math.ceil(Number((yield* Clock.monotonicTimeNanos) - before) / 1e6)
  return ofConnection(millis, (yield* inspector.stats).version)
})

const brokerFindings = Effect.fnUntraced(function*(url: string) {
  const parsed = yield* Effect.fromResult(BrokerUrl.parse(url))
  const { features, stats: readStats } = yield* Inspector
  const stats = yield* readStats
  switch (parsed._tag) {
    case "Memory":
      return ofFeatures(features)
    case "Sqlite":
      return [
        ...ofFile(seeFile(parsed.path, parsed.durability ?? "full")),
        ...ofJobSize(stats, "raise max-job-size in the URL, or leave it out"),
        ...ofFeatures(features, "set history in the URL, for example history=1d")
      ]
    case "Beanstalk":
      return [
        ...ofBeanstalkd(stats, { host: parsed.host, tls: parsed.tls !== undefined }),
        ...ofFeatures(features)
      ]
    case "Postgres":
      return [...ofPostgres(stats, parsed), ...ofConcerns(yield* Operator.concerns), ...ofFeatures(features)]
  }
})

const jobFindings = Effect.fnUntraced(function*(queue: string, limit: number, known: ReadonlyArray<string>) {
  const now = yield* Clock.currentTimeMillis
  const looks = yield* Effect.forEach(
    ["ready", "delayed", "buried"] as const,
    (state) => Operator.look(queue, { state, limit })
  )
  return ofJobs(queue, looks.flatMap(({ jobs }) => jobs), { now, known: known.length === 0 ? undefined : known })
})

/** Bounds how many queues have their jobs in memory at once. */
const someAtOnce = { concurrency: 64 } as const

const marks = { error: "✘", warning: "!", note: "–", ok: "✔" } as const

/** A finding as lines of text. */
const format = ({ level, message, queue, todo }: Finding): ReadonlyArray<string> => [
  `${marks[level]} ${queue === undefined ? "" : `queue ${queue}: `}${message}`,
  ...(todo === undefined ? [] : [`    → ${todo}`])
]

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`

/** `backq doctor`. */
export const doctor = Command.make("doctor", {
  queue: Argument.String("queue").pipe(
    Argument.withDescription("A queue; can be repeated. Default: all"),
    Argument.variadic({ min: 0 })
  ),
  known: Flag.String("known").pipe(
    Flag.withMetavar("JOB"),
    Flag.withDescription(
      "The name of a job that your workers handle; all other names are then errors. Can be repeated"
    ),
    Flags.repeated
  ),
  sample: Flags.integer("sample", 1).pipe(
    Flag.filter((value) => value <= 1000, () => "an integer from 1 to 1000"),
    Flag.withDescription("How many jobs of each queue to check, if the broker lists jobs. Default: 100"),
    Flag.withDefault(100)
  ),
  json: Flags.json
}, ({ json, known, queue, sample: limit }) =>
  operate(Effect.gen(function*() {
    const { broker: url } = yield* root
    const { features, name } = yield* Broker
    const { queues } = yield* sample(queue)
    const findings: ReadonlyArray<Finding> = [
      yield* connectionFinding,
      ...(yield* brokerFindings(url)),
      ...queues.flatMap(ofQueue),
      ...(yield* Effect.forEach(queues, (one) => jobFindings(one.queue, limit, known), someAtOnce)).flat()
    ]
    const errors = findings.filter(({ level }) => level === "error").length
    const warnings = findings.filter(({ level }) => level === "warning").length
    yield* json
      ? printJson({ broker: name, features, errors, warnings, findings })
      : print(name, ...findings.flatMap(format), "", `${count(errors, "error")}, ${count(warnings, "warning")}`)
    if (errors > 0) return yield* new Unhealthy({ errors })
  }))).pipe(
    Command.withDescription(
      "Find settings that lose work and queues that need attention, and say what to do. Exit code 6 means that it " +
        "found an error"
    ),
    Command.withShortDescription("Find what loses work"),
    Command.withExamples([{ command: "backq doctor --known send-welcome --known resize" }])
  )
