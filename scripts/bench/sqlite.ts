/**
 * Jobs per second in a file: backq, bare prepared statements in batches on a
 * table with one index (the limit), Effect's PersistedQueue and plainjob, all
 * with the same durability, in one run.
 *
 *     npm run bench -- sqlite [--jobs 20000] [--rounds 3] [--durability full] [--waiting 1000000]
 *
 * Absolute figures say little on a shared machine: read the ratios. Every
 * candidate is warmed up, then measured in rounds, in turn; the table shows the
 * median round. The other queues do a tenth of the jobs. With `--waiting`, backq's file holds that many other jobs all the
 * time.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Result from "effect/Result"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { parseArgs } from "node:util"
import * as Broker from "../../src/Broker.ts"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import { Publisher, Worker } from "../../src/index.ts"
import * as Inspector from "../../src/Inspector.ts"
import { type Candidate, compare } from "./compare.ts"
import { bodyOf, payloadOf, schema, Small } from "./job.ts"
import { type Peer, persistedQueue, plainjob } from "./peers.ts"

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    durability: { type: "string", default: "full" },
    waiting: { type: "string", default: "0" }
  }
})
const jobs = Number(values.jobs)
const rounds = Number(values.rounds)
const waiting = Number(values.waiting)
const durability: SqliteBroker.Durability = values.durability === "normal" ? "normal" : "full"
const window = 500
const batch = 64

const folder = mkdtempSync(join(tmpdir(), "backq-bench-"))

// -- the jobs: all candidates put the same bytes

const payloads = Array.from({ length: window }, (_, i) => payloadOf(i))
const payload = payloads[400]!
const body = new TextEncoder().encode(bodyOf(payload))

// -- the limit: bare statements

const bare = new DatabaseSync(join(folder, "bare.db"))
bare.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durability};
  CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, priority INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE INDEX ready ON job (priority, id) WHERE state = 0`)
const insert = bare.prepare("INSERT INTO job (state, priority, body) VALUES (0, 1024, ?)")
const lease = bare.prepare(`UPDATE job SET state = 1 WHERE id IN
  (SELECT id FROM job WHERE state = 0 ORDER BY priority, id LIMIT ?) RETURNING id, body`)
const remove = bare.prepare("DELETE FROM job WHERE id = ?")
const [begin, commit] = [bare.prepare("BEGIN IMMEDIATE"), bare.prepare("COMMIT")]
const transaction = <A>(work: () => A): A => {
  begin.run()
  const result = work()
  commit.run()
  return result
}

// -- other queues

const peers: Record<string, Peer> = {
  "PersistedQueue": persistedQueue(
    { path: join(folder, "persisted.db"), durability, schema, concurrency: batch },
    payload
  ),
  "plainjob": plainjob({ path: join(folder, "plainjob.db"), durability }, payload)
}

const ofPeers = (pick: (peer: Peer) => Candidate): Record<string, Candidate> =>
  Object.fromEntries(Object.entries(peers).map(([name, peer]) => [name, pick(peer)]))

/** The other queues are slow: they do a part of the jobs. */
const share = (n: number) => (name: string) => name in peers ? Math.ceil(n / 10) : n

// -- candidates: each puts or works `n` jobs

const windows = async (n: number, size: number, step: (size: number) => unknown) => {
  for (let left = n; left > 0; left -= size) await step(Math.min(size, left))
}

const backq = ManagedRuntime.make(
  Publisher.layer.pipe(
    Layer.provideMerge(SqliteBroker.layer({ path: join(folder, "backq.db"), durability })),
    Layer.provideMerge(Logger.layer([]))
  )
)
const request = Result.getOrThrow(Broker.putRequest(body))

const putOne: Record<string, Candidate> = {
  "bare": (n) => windows(n, 1, () => transaction(() => insert.run(body))),
  "backq broker": (n) =>
    backq.runPromise(Effect.gen(function*() {
      const broker = yield* Broker.Broker
      for (let i = 0; i < n; i++) yield* broker.put("bench", request)
    })),
  ...ofPeers((peer) => peer.put)
}

const putMany: Record<string, Candidate> = {
  "bare": (n) =>
    windows(n, window, (size) =>
      transaction(() => {
        for (let i = 0; i < size; i++) insert.run(body)
      })),
  "backq broker": (n) =>
    windows(n, window, (size) =>
      backq.runPromise(Effect.gen(function*() {
        const results = yield* (yield* Broker.Broker).putAll("bench", Array.from({ length: size }, () => request))
        if (!results.every(Result.isSuccess)) return yield* Effect.die("a job was not accepted")
      }))),
  "backq broker, concurrent": (n) =>
    windows(n, window, (size) =>
      backq.runPromise(Effect.gen(function*() {
        const broker = yield* Broker.Broker
        yield* Effect.forEach(Array.from({ length: size }), () => broker.put("bench", request), {
          concurrency: "unbounded",
          discard: true
        })
      }))),
  "backq publisher": (n) =>
    windows(n, window, (size) => backq.runPromise(Publisher.publishAll(Small, payloads.slice(0, size)))),
  ...ofPeers((peer) => peer.putMany)
}

const bareWork: Candidate = (n) =>
  windows(n, batch, (size) => {
    const rows = transaction(() => lease.all(size))
    transaction(() => {
      for (const row of rows) remove.run(row["id"] as number)
    })
  })

const backqBroker: Candidate = (n) =>
  backq.runPromise(Effect.scoped(Effect.gen(function*() {
    const consumer = yield* (yield* Broker.Broker).consume(["bench"])
    for (let left = n; left > 0;) {
      const leases = yield* consumer.reserve(Math.min(batch, left))
      left -= leases.length
      yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease })))
    }
  })))

const backqWorker = (concurrency: number): Candidate => (n) =>
  backq.runPromise(Worker.run({ concurrency, maxJobs: n }, Worker.handler(Small, () => Effect.void))).then(() => {})

const work: Record<string, Candidate> = {
  "bare, batches of 64": bareWork,
  "backq broker, batches of 64": backqBroker,
  "backq worker, concurrency 64": backqWorker(64),
  ...ofPeers((peer) => peer.work)
}

// -- measuring

const shared = {
  rounds,
  after: (n: number) => empty(n),
  ratio: { title: "bare is", of: (rate: number, limit: number) => `${(limit / rate).toFixed(2)} x` }
}

const empty: Candidate = async () => {
  bare.exec("DELETE FROM job")
  const worked = await backq.runPromise(Effect.gen(function*() {
    const { ready } = yield* (yield* Inspector.Inspector).stats
    return ready - waiting
  }))
  if (worked > 0) await backqBroker(worked)
}
const fill = async (n: number, name: string) => {
  const peer = peers[name]
  if (peer !== undefined) return peer.putMany(n)
  await putMany["bare"]!(n)
  await putMany["backq publisher"]!(n)
}

const table = async (suffix: string) => {
  await compare(`put, one at a time${suffix}`, putOne, { ...shared, n: share(Math.ceil(jobs / 20)) })
  await compare(`put, ${window} at once${suffix}`, putMany, { ...shared, n: share(jobs) })
  await compare(`work: reserve, run an empty handler, delete${suffix}`, work, {
    ...shared,
    n: share(jobs),
    before: fill
  })
}

console.log(`SQLite, durability ${durability}, bodies of ${body.length} bytes, ${jobs} jobs, ${rounds} rounds`)
try {
  if (waiting > 0) {
    await putMany["backq publisher"]!(waiting)
    await table(`, ${waiting} others waiting (bare: none)`)
  } else await table("")
} finally {
  await backq.dispose()
  for (const peer of Object.values(peers)) await peer.close()
  bare.close()
  rmSync(folder, { recursive: true, force: true })
}
