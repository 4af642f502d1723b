/** Transfers between brokers of all kinds, killed at random and run again. */
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { join } from "node:path"
import { Broker, JobId, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Inspector, type Services } from "../../src/Inspector.ts"
import * as Transfer from "../../src/Transfer.ts"
import * as Program from "../cli/program.ts"
import * as Beanstalkd from "../support/beanstalkd.ts"
import { folder } from "../support/folder.ts"
import * as Postgres from "../support/postgres.ts"
import { Random } from "../support/Random.ts"

const kinds = {
  sqlite: Effect.map(folder, (path) => `sqlite:${join(path, "jobs.db")}`),
  postgres: Effect.map(Postgres.cluster(), ({ url }) => url),
  beanstalkd: Effect.map(Beanstalkd.beanstalkd(), ({ port }) => `beanstalk://127.0.0.1:${port}`)
}

export type Kind = keyof typeof kinds

const pairs: ReadonlyArray<readonly [Kind, Kind]> = [
  ["sqlite", "postgres"],
  ["postgres", "sqlite"],
  ["beanstalkd", "postgres"],
  ["sqlite", "beanstalkd"],
  ["beanstalkd", "sqlite"],
  ["postgres", "beanstalkd"],
  ["sqlite", "sqlite"],
  ["postgres", "postgres"],
  ["beanstalkd", "beanstalkd"]
]

const queue = "q"

const side = Effect.fnUntraced(function*(kind: Kind) {
  const url = yield* kinds[kind]
  const context = yield* Layer.build(BrokerUrl.layer(url))
  return { url, broker: Context.get(context, Broker), inspector: Context.get(context, Inspector) }
})

const put = Effect.fnUntraced(function*({ broker }: Services, name: string, count: number, delay: number) {
  // The leases of a killed transfer end soon.
  const options = { ttr: "1 second", delay: Duration.seconds(delay) } as const
  const names = Array.from({ length: count }, (_, i) => `${name} ${i}`)
  const ids = yield* broker.putAll(
    queue,
    names.map((name) => Result.getOrThrow(putRequest(Buffer.from(name), options)))
  )
  return { names, ids: ids.map(Result.getOrThrow) }
})

/** The bodies of all jobs. If the broker can't list, it asks for each id. */
const bodiesOf = Effect.fnUntraced(function*({ inspector }: Services, maxJobs: number) {
  const bodies: Array<string> = []
  const add = ({ body }: { readonly body: Uint8Array }) => bodies.push(Buffer.from(body).toString())
  if (!inspector.features.canList) {
    const ids = Array.from({ length: maxJobs }, (_, i) => JobId.make(String(i + 1)))
    const found = yield* Effect.forEach(ids, inspector.peek, { concurrency: 100 })
    found.flatMap(Option.toArray).forEach(add)
    return bodies
  }
  for (const state of ["ready", "delayed", "reserved", "buried"] as const) {
    let after: string | undefined
    do {
      const page: { readonly jobs: ReadonlyArray<{ readonly body: Uint8Array }>; readonly next: string | undefined } =
        yield* inspector.list(queue, { state, after, limit: 1000 })
      page.jobs.forEach(add)
      after = page.next
    } while (after !== undefined)
  }
  return bodies
})

const countOf = ({ inspector }: Services): Effect.Effect<number, BrokerError> =>
  Effect.map(
    inspector.statsQueue(queue),
    ({ buried, delayed, ready, reserved }) => ready + delayed + reserved + buried
  ).pipe(Effect.catchReason("BrokerError", "NotFound", () => Effect.succeed(0)))

/**
 * Transfers some hundreds of jobs, and kills the command `kills` times at a random number of jobs. Returns how many jobs
 * were on both sides in the end.
 */
export const killTransfer = Effect.fnUntraced(function*(source: Kind, target: Kind, random: Random, kills: number) {
  const [from, to] = [yield* side(source), yield* side(target)]
  const ready = yield* put(from, "ready", random.between(200, 800), 0)
  const delayed = yield* put(from, "delayed", random.between(1, 250), 3600)
  const buried = yield* put(from, "buried", random.between(1, 250), 3600)
  yield* Effect.forEach(buried.ids, (id) => from.inspector.buryJob(id, "a test says so"), { concurrency: 100 })
  const names = [...ready.names, ...delayed.names, ...buried.names]
  const args = ["transfer", "--broker", from.url, "--to", to.url, queue]
  let killed = 0
  for (let left = names.length; left > 0; left = yield* countOf(from)) {
    const program = yield* Program.start(args)
    if (killed < kills) {
      const until = random.below(left)
      let isOver = false
      yield* Effect.forkChild(Effect.andThen(program.ended, Effect.sync(() => isOver = true)))
      yield* Effect.repeat(Effect.andThen(Effect.sleep("2 millis"), countOf(from)), {
        until: (count) => count <= until || isOver
      })
      if (!isOver) killed++
      yield* program.signal("SIGKILL")
    }
    yield* program.ended
    const [before, after] = [yield* bodiesOf(from, names.length), yield* bodiesOf(to, names.length * 3)]
    assert.deepStrictEqual(new Set([...before, ...after]), new Set(names))
    assert.isAtMost(before.length + after.length - names.length, killed * Transfer.batchSize)
  }
  const after = yield* bodiesOf(to, names.length * 3)
  return { jobs: names.length, killed, onBoth: after.length - names.length }
}, Effect.scoped)

/** Takes some rounds, each with the next pair of brokers. */
export const transferKills = (seed: string, index: number, rounds: number) =>
  Effect.forEach(Array.from({ length: rounds }, (_, i) => index + i), (round) => {
    const [source, target] = pairs[round % pairs.length]!
    const random = new Random(`${seed}/${round}`)
    return Effect.map(killTransfer(source, target, random, random.between(1, 3)), (counts) => ({
      round,
      from: source,
      to: target,
      ...counts
    }))
  })
