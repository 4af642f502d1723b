/** `backq transfer`: transfers jobs to another broker. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Broker } from "../../Broker.ts"
import * as BrokerUrl from "../../brokers/url.ts"
import { Inspector, type QueueStats, type Services } from "../../Inspector.ts"
import * as Transfer from "../../Transfer.ts"
import { JobsRefused, QueuesMissing, UsageError } from "../exitCode.ts"
import * as Flags from "../flags/flags.ts"
import { note, print, printJson, withDone } from "../output.ts"
import { jobs as countJobs } from "../render/text.ts"
import { operate, root } from "../root.ts"

const progressMillis = 2000

/** What was done so far. */
class Done {
  transferred = 0
  onBoth = 0
  readonly refused: Array<Transfer.Refused> = []

  add(batch: Transfer.Batch): void {
    this.transferred += batch.transferred
    this.onBoth += batch.onBoth
    this.refused.push(...batch.refused)
  }

  get line(): string {
    return `transferred: ${countJobs(this.transferred)}`
  }
}

const servicesOf = (context: Context.Context<Broker | Inspector>): Services => ({
  broker: Context.get(context, Broker),
  inspector: Context.get(context, Inspector)
})

/** The file of a URL, by its one real name. */
const fileOf = Effect.fnUntraced(function*(url: string) {
  const parsed = yield* Effect.fromResult(BrokerUrl.parse(url))
  if (parsed._tag !== "Sqlite") return undefined
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.orElseSucceed(fs.realPath(parsed.path), () => undefined)
})

/** The other side. Its file or schema is created if it does not exist. */
const otherSide = Effect.fnUntraced(function*(url: string, from: Services) {
  const same = new UsageError({ detail: `--to must be another broker than ${from.inspector.name}: name another` })
  const parsed = yield* Effect.fromResult(BrokerUrl.parse(url))
  if (parsed._tag === "Memory") {
    return yield* new UsageError({
      detail: "--to must be a broker that outlives this command, not memory:: name a file or a server"
    })
  }
  const file = yield* fileOf(url)
  if (file !== undefined && file === (yield* fileOf((yield* root).broker))) return yield* same
  const to = servicesOf(yield* Layer.build(BrokerUrl.layer(url)))
  return to.inspector.name === from.inspector.name ? yield* same : to
})

/** The queues to transfer, and those that do not exist. */
const find = Effect.fnUntraced(function*(from: Services, names: ReadonlyArray<string>) {
  if (names.length === 0) return { found: yield* Transfer.queuesWithJobs(from), missing: [] }
  const stats = yield* Effect.forEach(
    Array.from(new Set(names)),
    (name) =>
      Effect.map(Effect.asSome(from.inspector.statsQueue(name)), (found) => ({ name, found })).pipe(
        Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed({ name, found: Option.none<QueueStats>() }))
      )
  )
  return {
    found: stats.flatMap(({ found }) => Option.toArray(found)),
    missing: stats.flatMap(({ found, name }) => Option.isNone(found) ? [name] : [])
  }
})

const losses: Record<Transfer.Loss, string> = {
  attempts: "how often jobs were attempted",
  reasons: "why they failed",
  milliseconds: "fractions of a second"
}

/** One queue: its progress, and what is left of it. */
const transferQueue = Effect.fnUntraced(function*(from: Services, to: Services, stats: QueueStats, done: Done) {
  const { buried, delayed, pausedFor: _, queue, ready } = stats
  const count = ready + delayed + buried
  let seen = 0
  let notedAt = yield* Clock.currentTimeMillis
  yield* Transfer.transfer(queue, {
    from,
    to,
    onBatch: Effect.fnUntraced(function*(batch) {
      done.add(batch)
      seen += batch.transferred
      const now = yield* Clock.currentTimeMillis
      if (now - notedAt < progressMillis) return
      notedAt = now
      yield* note(`${queue}: ${seen} of ${countJobs(count)}`)
    })
  })
  const left = yield* Effect.asSome(from.inspector.statsQueue(queue)).pipe(
    Effect.catchReason("BrokerError", "NotFound", () => Effect.succeedNone)
  )
  return Option.getOrUndefined(left)
})

const noteLeft = ({ buried, delayed, queue, ready, reserved }: QueueStats) => {
  const states = Object.entries({ ready, delayed, buried, "held by workers": reserved }).filter(([, n]) => n > 0)
  return states.length === 0
    ? Effect.void
    : note(`still in ${queue}: ${states.map(([state, n]) => `${n} ${state}`).join(", ")}; run it again for these`)
}

const both = (count: number) =>
  `${countJobs(count)} may be on both sides, under the same envelope ${count === 1 ? "id" : "ids"}`

/** Says what was done before a failure or a signal. */
const noteUnfinished = (done: Done) =>
  note(`${done.line} until now${done.onBoth === 0 ? "" : `; ${both(done.onBoth)}`}. Run it again for the rest`)

/** `backq transfer`. */
export const transfer = Command.make("transfer", {
  queue: Argument.String("queue").pipe(
    Argument.withDescription("A queue; can be repeated. Default: all"),
    Argument.variadic({ min: 0 })
  ),
  to: Flag.String("to").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("The broker that gets the jobs. Its file or schema is created if it does not exist")
  ),
  json: Flags.json
}, ({ json, queue: names, to: url }) =>
  operate(Effect.scoped(Effect.gen(function*() {
    const from = servicesOf(yield* Effect.context<Broker | Inspector>())
    const to = yield* otherSide(url, from)
    const { found, missing } = yield* find(from, names)
    const lost = Transfer.losses(from.inspector.features, to.inspector.features)
    if (lost.length > 0) {
      yield* note(`${to.inspector.name} does not keep ${lost.map((loss) => losses[loss]).join(", ")}`)
    }
    const done = new Done()
    const left: Array<QueueStats> = []
    yield* Effect.forEach(found, (stats) =>
      Effect.map(transferQueue(from, to, stats, done), (rest) => {
        if (rest !== undefined) left.push(rest)
      }), { discard: true }).pipe(
        Effect.tapError(() => noteUnfinished(done)),
        Effect.onInterrupt(() => noteUnfinished(done))
      )
    const refused = done.refused.map(({ error, id }) => ({ id, reason: error.message }))
    yield* withDone(
      done.line,
      json ? printJson({ transferred: done.transferred, onBoth: done.onBoth, refused, missing }) : print(done.line)
    )
    if (!json) {
      if (done.onBoth > 0) yield* note(both(done.onBoth))
      for (const stats of left) yield* noteLeft(stats)
    }
    const [first] = done.refused
    if (first !== undefined) return yield* new JobsRefused({ count: done.refused.length, ...first })
    if (missing.length > 0) return yield* new QueuesMissing({ queues: missing })
  })))).pipe(
    Command.withDescription(
      "Transfer the ready, delayed and buried jobs of queues to another broker, with their attempts and reasons as far " +
        "as it keeps them. Deletes each job after the other broker accepted it. After a crash at most " +
        `${Transfer.batchSize} jobs are on both sides, under the same envelope ids: run it again for the rest. Leaves ` +
        "jobs that workers hold"
    ),
    Command.withShortDescription("Transfer jobs to another broker"),
    Command.withExamples([
      { command: "backq transfer --to postgres://app@db.internal/app", description: "All queues" },
      { command: "backq transfer --broker beanstalk://queue.internal:11300 --to sqlite:./jobs.db mail" }
    ])
  )
