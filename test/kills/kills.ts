/**
 * Workers and publishers of one broker die by `kill -9` at random moments, and
 * the ledger accounts for every job: it is done, buried or waiting, runs in one
 * process at a time, and never after it was acknowledged.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Inspector } from "../../src/Inspector.ts"
import type { Random } from "../support/Random.ts"
import * as Ledger from "./ledger.ts"
import * as Victim from "./victim.ts"

/** How many handlers run at once in a worker. */
export const serveConcurrency = 8
/** A publisher pauses for at most this long between two rounds of ten jobs. */
export const feedPauseMillis = 100
/** A publisher has at most this many jobs under way. */
const inFlight = 10
/** A victim dies at most this long after its round began. */
const killWithinMillis = 400
/** At the end the number of jobs may stay the same for this long: the jobs of a dead worker are ready after 2 seconds. */
const stuckMillis = 30_000

/** How a campaign is made. */
export interface Campaign {
  /** The broker's URL. */
  readonly url: string
  /** The file of the ledger. */
  readonly ledger: string
  readonly publishers: number
  readonly workers: number
  readonly rounds: number
  readonly random: Random
  /** Checks the broker itself after each round. */
  readonly check?: Effect.Effect<void> | undefined
  /** Which jobs the broker has, when all processes have ended. */
  readonly left: Effect.Effect<ReadonlyMap<string, "buried" | "waiting">>
}

interface Running {
  readonly role: Ledger.Role
  readonly scope: Scope.Closeable
  readonly child: Victim.Victim
}

const start = Effect.fnUntraced(function*(role: Ledger.Role, campaign: Campaign) {
  const scope = yield* Scope.fork(yield* Scope.Scope)
  const started = yield* Scope.provide(Victim.start("child.ts", role, campaign.url, campaign.ledger), scope)
  yield* started.ready
  const running: Running = { role, scope, child: started }
  return running
})

const kill = ({ child, role, scope }: Running, ledger: ReturnType<typeof Ledger.open>, afterMillis: number) =>
  Effect.gen(function*() {
    yield* Effect.sleep(afterMillis)
    assert.strictEqual(child.complaints(), "")
    ledger.writeKill(role, child.pid)
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(child.complaints(), "")
  })

/** Who dies in a round: one of each role most of the time, so that the others find the dead; now and then all. */
const victimsOf = ({ publishers, random, workers }: Campaign): ReadonlySet<number> => {
  const all = publishers + workers
  if (random.chance(0.05)) return new Set(Array.from({ length: all }, (_, i) => i))
  const victims = new Set([random.below(publishers), publishers + random.below(workers)])
  if (random.chance(0.2)) victims.add(random.below(all))
  return victims
}

/** Waits until no job is left to do. Fails when the number of jobs stays the same for too long. */
const finished = Effect.gen(function*() {
  const { stats } = yield* Inspector
  let [fewest, since] = [Infinity, performance.now()]
  const look = Effect.map(stats, ({ delayed, ready, reserved }) => {
    const left = ready + delayed + reserved
    if (left < fewest) [fewest, since] = [left, performance.now()]
    const isStuck = performance.now() - since > stuckMillis
    assert.isFalse(isStuck, `stuck: ${ready} ready, ${delayed} delayed and ${reserved} reserved jobs`)
    return left
  })
  yield* Effect.repeat(Effect.delay(look, "50 millis"), { until: (left) => left === 0 })
})

/** Runs the rounds, lets the workers finish, and compares the ledger with the jobs that are left. Returns the counts. */
export const run = Effect.fnUntraced(function*(campaign: Campaign) {
  const ledger = Ledger.open(campaign.ledger)
  const { check = Effect.void, publishers, random, rounds, workers } = campaign
  const roles = [
    ...Array.from({ length: publishers }, () => "feed" as const),
    ...Array.from({ length: workers }, () => "serve" as const)
  ]
  const all = { concurrency: "unbounded" } as const
  let running: ReadonlyArray<Running> = yield* Effect.forEach(roles, (role) => start(role, campaign), all)
  for (let round = 0; round < rounds; round++) {
    const victims = victimsOf(campaign)
    const moments = roles.map(() => random.below(killWithinMillis))
    running = yield* Effect.forEach(
      running,
      (one, i) =>
        victims.has(i)
          ? Effect.andThen(kill(one, ledger, moments[i]!), start(one.role, campaign))
          : Effect.succeed(one),
      all
    )
    for (const { child } of running) assert.strictEqual(child.complaints(), "")
    yield* check
  }
  const end = (role: Ledger.Role) =>
    Effect.forEach(running, (one) => one.role === role ? kill(one, ledger, 0) : Effect.void, { discard: true })
  yield* end("feed")
  yield* finished
  yield* end("serve")

  const { violations, ...counts } = Ledger.audit(Ledger.read(campaign.ledger), yield* campaign.left)
  assert.strictEqual(violations.slice(0, 20).join("\n"), "", `${violations.length} violations`)
  assert.isAbove(counts.done, rounds)
  assert.isAbove(counts.buried, 0)
  assert.strictEqual(counts.waiting, 0)
  assert.isAtMost(counts.unanswered, counts.kills.serve * serveConcurrency)
  assert.isAtMost(counts.unprinted, counts.kills.feed * inFlight)
  yield* check
  return counts
})
