/**
 * Push jobs of one kind go from a queue to a push service on a bad day, by a worker that
 * is killed: 2 % of the targets are dead, 1 % of the pushes get a 429 with Retry-After,
 * 1 % an error of the server, and each connection ends by a GOAWAY every second.
 *
 * In the end every job is done or buried, every live target has its push, and the
 * application got every dead one. No accepted push was sent again, except those of
 * deliveries that were under way at a kill.
 *
 * Limit: the simulator records what it answered. So a push whose answer a GOAWAY disowned
 * counts as not accepted.
 */
import { assert } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Broker, putRequest } from "../../../src/Broker.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { Inspector } from "../../../src/Inspector.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as Beanstalkd from "../../support/beanstalkd.ts"
import { folder } from "../../support/folder.ts"
import { Random } from "../../support/Random.ts"
import * as Victim from "../victim.ts"
import * as Ledger from "./ledger.ts"
import * as Services from "./services.ts"
import { type Kind, kinds } from "./workers.ts"

const brokers = {
  beanstalkd: Effect.map(Beanstalkd.beanstalkd(), ({ port }) => `beanstalk://127.0.0.1:${port}`),
  sqlite: Effect.map(folder, (path) => `sqlite:${join(path, "queue.db")}`)
}

/** How a campaign is made. */
export interface Campaign {
  readonly kind: Kind
  readonly broker: keyof typeof brokers
  readonly jobs: number
  /** How often the worker is killed. */
  readonly kills: number
  readonly random: Random
}

/** Jobs that no worker can decode. */
const poison = 10
/** The share of dead targets. */
const deadShare = 0.02
/** One of so many jobs has many targets. */
const manyEvery = 20
const most = 20
/**
 * A campaign that makes no progress for so long is stuck. It is this long because a refused push waits
 * for a delay that doubles with each attempt, those in a pause included.
 */
const stuckMillis = 1_800_000

const planOf = ({ jobs: count, random }: Campaign): Services.Plan => {
  let targets = 0
  const jobs = Arr.makeBy(count, (i) => {
    const size = i % manyEvery === 0 ? random.between(2, most) : 1
    return Arr.makeBy(size, () => targets++)
  })
  const dead = new Set(Array.from({ length: targets }, (_, i) => i).filter(() => random.chance(deadShare)))
  return { jobs, targets, dead, seed: random.below(2 ** 31) }
}

/** Waits until a count has reached its end. Fails when it stays the same for too long. */
const until = <E, R>(what: string, end: number, count: Effect.Effect<number, E, R>) =>
  Effect.suspend(() => {
    let [last, since] = [-1, performance.now()]
    const look = Effect.map(count, (now) => {
      if (now !== last) [last, since] = [now, performance.now()]
      assert.isBelow(performance.now() - since, stuckMillis, `stuck: ${what} stays at ${now}`)
      return now
    })
    return Effect.repeat(look, {
      until: (now) => now >= end,
      schedule: Schedule.spaced("10 millis")
    })
  })

/** Publishes jobs that a worker buries. */
const publishPoison = ({ kind }: Campaign, payload: unknown) =>
  Effect.flatMap(Broker, (broker) =>
    broker.putAll(
      kind,
      Arr.makeBy(poison, (i) =>
        Result.getOrThrow(
          putRequest(Buffer.from(JSON.stringify({ backq: 1, id: `poison-${i}`, job: kind, payload })))
        ))
    ))

const scenario = Effect.fnUntraced(function*(campaign: Campaign, url: string) {
  const { kills, kind, random } = campaign
  const plan = planOf(campaign)
  const service = yield* Services.make[kind](plan)
  const inspector = yield* Inspector
  const path = yield* folder
  const [book, options] = [join(path, "ledger"), join(path, "options.json")]
  const ledger = Ledger.open(book)
  writeFileSync(options, JSON.stringify(service.options))
  yield* service.publish
  yield* publishPoison(campaign, service.poison)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep("1 second"), service.goaway)))

  const work = Effect.acquireRelease(
    Victim.start("push/child.ts", kind, url, book, options),
    (worker) => Effect.sync(() => ledger.kill(worker.pid))
  ).pipe(Effect.tap(({ ready }) => ready))
  const live = plan.targets - plan.dead.size
  const accepted = Effect.map(service.counts, ({ accepted }) => accepted)
  const complaints: Array<string> = []
  for (let kill = 0; kill < kills; kill++) {
    const share = (kill + random.between(40, 95) / 100) / (kills + 1)
    yield* Effect.scoped(Effect.gen(function*() {
      const worker = yield* work
      yield* until("the number of accepted pushes", share * live, accepted)
      complaints.push(worker.complaints())
    }))
  }
  const worker = yield* work
  const unfinished = Effect.map(
    inspector.statsQueue(kind),
    ({ delayed, ready, reserved }) => delayed + ready + reserved
  )
  yield* until("the number of jobs that are over", 0, Effect.map(unfinished, (count) => -count))
  // A worker writes down what it has settled.
  yield* until(
    "the ledger",
    1,
    Effect.sync(() => Number(Ledger.isSettled(Ledger.read(book), poison)))
  )
  complaints.push(worker.complaints())
  yield* worker.kill

  const { violations, ...counts } = Ledger.audit({
    targets: service.names,
    dead: new Set(Array.from(plan.dead, (i) => service.names[i]!)),
    lines: Ledger.read(book),
    pushes: yield* service.pushes,
    reported: yield* service.reported
  })
  const figures = { jobs: campaign.jobs, ...counts, statuses: (yield* service.counts).statuses }
  assert.deepStrictEqual(violations.slice(0, 20), [], `${violations.length} violations ${JSON.stringify(figures)}`)
  assert.deepStrictEqual([counts.accepted, counts.dead], [live, plan.dead.size])
  assert.strictEqual((yield* inspector.statsQueue(kind)).buried, poison)
  const errors = complaints.join("").split("\n").filter((line) => line !== "" && !line.includes("buried: the payload"))
  assert.deepStrictEqual(errors, [])
  return figures
})

/** Runs a campaign on a broker of its own. Returns the counts. */
export const run = Effect.fnUntraced(function*(campaign: Campaign) {
  const url = yield* brokers[campaign.broker]
  return yield* Effect.provide(
    scenario(campaign, url),
    Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layer(url)))
  )
}, Effect.scoped)

const pairs = kinds.flatMap((kind) => (["beanstalkd", "sqlite"] as const).map((broker) => ({ kind, broker })))

/** How many rounds take each kind through each broker once. */
export const roundsOfAll = pairs.length

/** One round at full size, with the next pair of kind and broker. */
export const round = (seed: string, index: number) => {
  const pair = pairs[index % pairs.length]!
  const random = new Random(`${seed}/${index}`)
  return Effect.map(run({ ...pair, jobs: 10_000, kills: 2, random }), (counts) => ({ ...pair, ...counts }))
}
