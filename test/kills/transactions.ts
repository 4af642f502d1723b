/**
 * Processes whose transactions publish and settle jobs die by `kill -9` at
 * random moments. Afterwards a job exists if and only if the row beside it
 * does, and the rows of a handler exist once for each done job.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import { Inspector, Job, Publisher } from "../../src/index.ts"
import { type Name, names } from "../brokers/postgres/clients.ts"
import { cluster } from "../support/postgres.ts"
import { Random } from "../support/Random.ts"
import * as Victim from "./victim.ts"

/** The job that is published beside a row. */
export const Welcome = Job.make("welcome", { payload: Schema.String })

/** The job whose handler writes a row. */
export const Charge = Job.make("charge", {
  payload: Schema.Int,
  ttr: "1 hour",
  retry: Schedule.spaced("5 millis")
})

/** A process dies after at most this number of transactions and at most this much more time. */
const killWithin = 80
const killWithinMillis = 40
/** The number of jobs that wait for the workers. */
const waiting = 100
const drainWithin = "120 seconds"

/** A process whose transactions go well until it is killed. */
const child = Effect.fnUntraced(function*(role: "publish" | "work", name: Name, url: string) {
  const victim = yield* Victim.start("transactionsChild.ts", role, name, url)
  const kill = Effect.suspend(() => {
    assert.strictEqual(victim.complaints(), "")
    return victim.kill
  })
  yield* Effect.addFinalizer(() => kill)
  return {
    /** How many transactions have ended. */
    count: () => victim.output().split(".").length - 1,
    ready: victim.ready,
    kill
  }
})

/** One life of a process. Returns how many transactions ended in it. */
const life = (role: "publish" | "work", name: Name, url: string, random: Random, within = killWithin) => {
  const transactions = random.below(within)
  const millis = random.below(killWithinMillis)
  return Effect.scoped(Effect.gen(function*() {
    const { count, kill, ready } = yield* child(role, name, url)
    yield* ready
    yield* Effect.repeat(Effect.delay(Effect.sync(count), "1 millis"), { until: (ended) => ended >= transactions })
    yield* Effect.sleep(millis)
    yield* kill
    return count()
  }))
}

const ofBody = "convert_from(body, 'UTF8')::json ->> 'payload'"

/** Waits until the server has ended the sessions of dead processes. */
const ended = (psql: (sql: string) => Effect.Effect<string>) =>
  Effect.repeat(
    Effect.delay(psql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"), "50 millis"),
    { until: (count) => count === "1" }
  ).pipe(Effect.timeout(drainWithin))

/**
 * Lets each client commit and roll back a number of transactions that write and publish, while its processes are killed.
 * Returns the number of transactions that ended, of kills, and of jobs, by client.
 */
export const publishes = Effect.fnUntraced(function*(
  seed: string,
  index: number,
  rounds: number,
  which: ReadonlyArray<Name> = names
) {
  const { psql, url } = yield* cluster()
  yield* Effect.scoped(PostgresBroker.make({ url }))
  yield* psql("CREATE TABLE users (id text PRIMARY KEY)")
  const random = new Random(`${seed}/${index}`)
  const counted: Record<string, { transactions: number; kills: number; jobs: number }> = {}
  for (const name of which) {
    let transactions = 0
    let kills = 0
    while (transactions < rounds) {
      const lives = [0, 1].map(() => life("publish", name, url, random))
      for (const count of yield* Effect.all(lives, { concurrency: "unbounded" })) {
        transactions += count
        kills++
      }
    }
    yield* ended(psql)
    const differ = yield* psql(
      `SELECT coalesce(u.id, j.id) FROM users AS u FULL JOIN (SELECT ${ofBody} AS id FROM backq.job) AS j USING (id)
        WHERE u.id IS NULL OR j.id IS NULL`
    )
    assert.strictEqual(differ, "", `${name}: a row without a job, or a job without a row`)
    const jobs = Number(yield* psql("SELECT count(*) FROM backq.job"))
    assert.isAbove(jobs, 0, name)
    assert.strictEqual(yield* psql("SELECT count(*) FROM users"), String(jobs), name)
    yield* psql("TRUNCATE users; TRUNCATE backq.job")
    counted[name] = { transactions, kills, jobs }
  }
  return counted
}, Effect.scoped)

/**
 * Kills workers a number of times, whose handlers write and settle in one transaction. Returns the number of kills, of
 * jobs, and of jobs that were buried because too many of their workers died.
 */
export const settles = Effect.fnUntraced(function*(seed: string, index: number, rounds: number, workers = 4) {
  const { psql, url } = yield* cluster()
  const random = new Random(`${seed}/${index}`)
  yield* psql("CREATE TABLE ledger (charge int NOT NULL)")
  return yield* Effect.gen(function*() {
    const inspector = yield* Inspector.Inspector
    let published = 0
    const fill = Effect.gen(function*() {
      const { delayed, ready, reserved } = yield* inspector.stats
      const missing = Math.max(0, waiting - delayed - ready - reserved)
      yield* Publisher.publishAll(Charge, Array.from({ length: missing }, () => ++published))
    })
    yield* fill
    let kills = 0
    const worker = (name: Name) =>
      Effect.whileLoop({
        while: () => kills < rounds,
        body: () => {
          kills++
          return Effect.andThen(fill, life("work", name, url, random, 10))
        },
        step: () => {}
      })
    const each = Array.from({ length: workers }, (_, i) => worker(names[(index + i) % names.length]!))
    yield* Effect.all(each, { concurrency: "unbounded" })
    // The last ones may finish, with every client.
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Effect.forEach(names.slice(0, workers), (name) => child("work", name, url))
      yield* Effect.repeat(Effect.delay(inspector.stats, "50 millis"), {
        until: ({ delayed, ready, reserved }) => delayed + ready + reserved === 0
      }).pipe(Effect.timeout(drainWithin))
    }))
    const wrong = yield* psql(
      `SELECT c.id, count(l.charge) FROM generate_series(1, ${published}) AS c(id) LEFT JOIN ledger AS l ON l.charge = c.id
        GROUP BY c.id HAVING count(l.charge) <> CASE WHEN EXISTS (
          SELECT 1 FROM backq.job WHERE (${ofBody})::int = c.id) THEN 0 ELSE 1 END`
    )
    assert.strictEqual(wrong, "", "jobs whose write is not there once")
    return { kills, jobs: published, buried: Number(yield* psql("SELECT count(*) FROM backq.job")) }
  }).pipe(Effect.provide(Layer.provideMerge(Publisher.layer, PostgresBroker.layer({ url }))))
}, Effect.scoped)
