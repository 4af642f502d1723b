/**
 * Jobs per second on PostgreSQL: backq, bare statements on a schema of its own
 * (the limit), pg-boss, graphile-worker and BullMQ, on one server with `fsync`,
 * in one run.
 *
 *     npm run bench -- postgres [--jobs 20000] [--rounds 3] [--waiting 1000000] [--dead 900000] [--only put,work]
 *         [--peers pg-boss,graphile-worker,BullMQ] [--fsync on]
 *
 * Absolute figures say little on a shared machine: read the ratios. Every
 * candidate is warmed up, then measured in rounds, in turn; the tables show the
 * median round. The CPU is that of this process, and of all processes of the
 * server. `--only` picks parts: `put`, `work`, `latency`, `waiting`, `dead`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { parseArgs } from "node:util"
import { Client } from "pg"
import * as Driver from "../../src/brokers/postgres/driver.ts"
import * as JobStatements from "../../src/brokers/postgres/jobStatements.ts"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import { Publisher, Worker } from "../../src/index.ts"
import * as Cluster from "./cluster.ts"
import { type Candidate, compare } from "./compare.ts"
import { bodyOf, Small } from "./job.ts"
import { bullmq, graphile, type Peer, pgBoss } from "./postgresPeers.ts"
import { record, times } from "./record.ts"

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    waiting: { type: "string", default: "1000000" },
    dead: { type: "string", default: "900000" },
    peers: { type: "string", default: "pg-boss,graphile-worker,BullMQ" },
    fsync: { type: "string", default: "on" },
    only: { type: "string", default: "put,work,latency,waiting,dead" }
  }
})
const jobs = Number(values.jobs)
const rounds = Number(values.rounds)
const parts = new Set(values.only.split(","))
const window = 500
const publishers = 64

const server = await Cluster.start(values.fsync === "off" ? "off" : "on")
const { port } = new URL(server.url)

// -- the jobs: all candidates put the same payload of 200 bytes

const payload = { userId: "01933d3c-6a80-7000-8000-000000000000", text: "a few words ".repeat(11).padEnd(140, ".") }
const payloads = Array.from({ length: window }, () => payload)
const body = new TextEncoder().encode(bodyOf(payload))

// -- the limit: bare statements

await Effect.runPromise(Effect.scoped(PostgresBroker.make({ url: server.url, schema: "bare" })))
server.psql("INSERT INTO bare.queue (name) VALUES ('bench')")
const sql = JobStatements.make("bare")
const bareScope = Scope.makeUnsafe()
const bare = await Effect.runPromise(
  Driver.connect(
    {
      host: "127.0.0.1",
      port: Number(port),
      user: "postgres",
      password: undefined,
      database: "postgres",
      tls: undefined,
      connectTimeout: Duration.seconds(5),
      isPrepared: true,
      settings: { plan_cache_mode: "force_generic_plan", enable_seqscan: "off", enable_bitmapscan: "off", jit: "off" }
    },
    true
  ).pipe(Scope.provide(bareScope))
)
const putBare = (n: number) => {
  const same = (value: number) => Driver.int8s(Array.from({ length: n }, () => value))
  const bodies = Driver.bodies(Array.from({ length: n }, () => body))
  return bare.query(sql.put, ["bench", bodies, same(1024), same(0), same(60_000)])
}
let reserves = 0
const workBare = (batch: number) => (n: number) =>
  Effect.runPromise(Effect.gen(function*() {
    for (let left = n; left > 0;) {
      const lease = ++reserves
      const asked = Math.min(batch, left)
      const taken = yield* bare.query(sql.reserve, [
        Driver.texts(["bench"]),
        asked,
        1,
        lease,
        Driver.int8(0),
        Driver.int8(0)
      ])
      yield* bare.query(sql.done, [Driver.int8s(taken.map(([id]) => Number(id))), 1, Driver.int4s([lease])])
      left -= taken.length
    }
  }))

// -- candidates

const client = new Client({ connectionString: server.url })
await client.connect()
const known: Record<string, (client: Client, url: string, payload: object) => Promise<Peer>> = {
  "pg-boss": pgBoss,
  "graphile-worker": graphile,
  "BullMQ": bullmq
}
const peers: Record<string, Peer> = {}
for (const name of values.peers.split(",").filter((name) => name in known)) {
  peers[name] = await known[name]!(client, server.url, payload)
}

const layerOf = (schema: string) =>
  Publisher.layer.pipe(
    Layer.provideMerge(PostgresBroker.layer({ url: server.url, schema })),
    Layer.provideMerge(Logger.layer([]))
  )
const backq = ManagedRuntime.make(layerOf("backq"))
await backq.runPromise(Effect.void)

const windows = async (n: number, size: number, step: (size: number) => Promise<unknown>) => {
  for (let left = n; left > 0; left -= size) await step(Math.min(size, left))
}
/** `n` times by several loops side by side. */
const sideBySide = async (n: number, step: () => Promise<unknown>) => {
  let left = n
  const loop = async () => {
    while (left-- > 0) await step()
  }
  await Promise.all(Array.from({ length: publishers }, loop))
}
const ofPeers = (candidate: (peer: Peer) => Candidate): Record<string, Candidate> =>
  Object.fromEntries(Object.entries(peers).map(([name, peer]) => [name, candidate(peer)]))

const publishAll = (n: number) =>
  Effect.gen(function*() {
    const results = yield* Publisher.publishAll(Small, n === window ? payloads : payloads.slice(0, n))
    if (!results.every(Result.isSuccess)) return yield* Effect.die("a job was not accepted")
  })

const putOne: Record<string, Candidate> = {
  bare: (n) => Effect.runPromise(Effect.repeat(putBare(1), { times: n - 1 })).then(() => {}),
  backq: (n) => backq.runPromise(Effect.repeat(Publisher.publish(Small, payload), { times: n - 1 })).then(() => {}),
  ...ofPeers(({ put }) => (n) => windows(n, 1, put))
}

const putSideBySide: Record<string, Candidate> = {
  [`bare, ${publishers} in a statement`]: (n) => windows(n, publishers, (size) => Effect.runPromise(putBare(size))),
  backq: (n) => {
    let left = n
    const loop = Effect.whileLoop({
      while: () => left-- > 0,
      body: () => Publisher.publish(Small, payload),
      step: () => {}
    })
    return backq.runPromise(Effect.forEach(Array.from({ length: publishers }), () => loop, {
      concurrency: "unbounded",
      discard: true
    }))
  },
  ...ofPeers(({ put }) => (n) => sideBySide(n, put))
}

const putMany: Record<string, Candidate> = {
  bare: (n) => windows(n, window, (size) => Effect.runPromise(putBare(size))),
  backq: (n) => windows(n, window, (size) => backq.runPromise(publishAll(size))),
  ...ofPeers(({ putAll }) => (n) => windows(n, window, putAll))
}

const backqWorker = (options: { readonly concurrency?: number; readonly prefetch?: number }): Candidate => (n) =>
  backq.runPromise(Worker.run({ ...options, maxJobs: n }, Worker.handler(Small, () => Effect.void))).then(() => {})

const work: Record<string, Candidate> = {
  "bare, batches of 500": workBare(window),
  "backq, concurrency 500": backqWorker({ concurrency: 500 }),
  "backq, concurrency 64": backqWorker({ concurrency: 64 }),
  "backq, concurrency 24": backqWorker({ concurrency: 24 }),
  ...Object.fromEntries(
    Object.entries(peers).flatMap(([name, peer]) =>
      Object.entries(peer.work).map(([settings, candidate]) => [`${name}, ${settings}`, candidate])
    )
  )
}

/** A queue whose jobs a candidate works on. */
interface Side {
  readonly fill: Candidate
  readonly empty: () => Promise<unknown>
}
const ownSide = (schema: "bare" | "backq"): Side => ({
  fill: putMany[schema]!,
  empty: () => client.query(`TRUNCATE ${schema}.job, ${schema}.tally`)
})
const sides: Record<string, Side> = {
  bare: ownSide("bare"),
  backq: ownSide("backq"),
  ...Object.fromEntries(
    Object.entries(peers).map(([name, { empty, putAll }]) => [
      name,
      { fill: (n: number) => windows(n, window, putAll), empty }
    ])
  )
}
const sideOf = (candidate: string): Side => sides[candidate.split(",")[0]!]!

// -- measuring

/** What needs a commit for each job, or is slow otherwise, does a part of the jobs. */
const share = (n: number) => (name: string) =>
  name === "graphile-worker, concurrency 24" || name.startsWith("BullMQ") ? Math.ceil(n / 10) : n
const shared = {
  rounds,
  serverCpu: server.cpu,
  ratio: { title: "of bare", of: (rate: number, limit: number) => `${Math.round((rate / limit) * 100)} %` }
}
const empty = async () => {
  for (const side of Object.values(sides)) await side.empty()
}

const measurePuts = async () => {
  const before = (_: number, name: string) => sideOf(name).empty().then(() => {})
  await compare("put, one at a time", putOne, { ...shared, n: () => Math.ceil(jobs / 20), before })
  await compare(`put, ${publishers} publishers side by side`, putSideBySide, {
    ...shared,
    n: (name) => name in peers ? Math.ceil(jobs / 10) : jobs,
    before
  })
  await compare(`put, ${window} in one call`, putMany, { ...shared, n: () => jobs, before })
  await empty()
}

const measureWork = async () => {
  await compare("work: reserve, run an empty handler, delete", work, {
    ...shared,
    n: share(jobs),
    before: async (n, name) => {
      const side = sideOf(name)
      await side.empty()
      await side.fill(n)
    }
  })
  await empty()
}

/** Prints milliseconds of several kinds beside each other. */
const printLatency = (title: string, taken: Record<string, ReadonlyArray<number>>) => {
  console.log(`\n${title}\n${"".padEnd(44)}${"p50 ms".padStart(9)}${"p99 ms".padStart(9)}`)
  const rows = Object.entries(taken).map(([name, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))]!
    console.log(`${name.padEnd(44)}${at(0.5).toFixed(2).padStart(9)}${at(0.99).toFixed(2).padStart(9)}`)
    return { name, p50: at(0.5), p99: at(0.99) }
  })
  const base = rows[0]!
  record({
    title,
    columns: ["p50", "p99"],
    rows: rows.map(({ name, p50, p99 }) => [name, times(p50, base.p50), times(p99, base.p50)])
  })
}

/** Milliseconds from the call that puts a job to the beginning of its handler, on a queue that is empty before. */
const latency = async (n: number, put: () => Promise<unknown>, next: () => Promise<void>) => {
  const taken: Array<number> = []
  for (let i = 0; i < n; i++) {
    const from = performance.now()
    const begun = next()
    await put()
    await begun
    taken.push(performance.now() - from)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return taken.slice(Math.ceil(n / 10))
}

const measureLatency = async () => {
  const n = Math.min(500, jobs)
  const other = ManagedRuntime.make(layerOf("backq"))
  const begun = Effect.runSync(Queue.unbounded<void>())
  const next = () => Effect.runPromise(Queue.take(begun))
  const worker = backq.runFork(
    Worker.run({ concurrency: 24 }, Worker.handler(Small, () => Effect.asVoid(Queue.offer(begun, undefined))))
  )
  const putBy = (runtime: typeof backq) => () => runtime.runPromise(Publisher.publish(Small, payload))
  const putOnly: Array<number> = []
  for (let i = 0; i < n; i++) {
    const from = performance.now()
    await Effect.runPromise(putBare(1))
    putOnly.push(performance.now() - from)
  }
  const sameProcess = await latency(n, putBy(backq), next)
  const otherProcess = await latency(n, putBy(other), next)
  await backq.runPromise(Fiber.interrupt(worker))
  await other.dispose()
  const ofPeers: Record<string, ReadonlyArray<number>> = {}
  for (const [name, { listen, put }] of Object.entries(peers)) {
    if (listen === undefined) continue
    const listener = await listen()
    ofPeers[name] = await latency(n, put, listener.next)
    await listener.end()
  }
  printLatency("latency: from the put to its handler", {
    "bare: the put alone": putOnly,
    "backq, worker of another broker": otherProcess,
    "backq, worker of the same broker": sameProcess,
    ...ofPeers
  })
  await empty()
}

/** Jobs that wait, put by SQL. */
const insert = (schema: string, n: number) =>
  client.query(
    `INSERT INTO ${schema}.job (queue, state, priority, ttr, body)
     SELECT (SELECT id FROM ${schema}.queue WHERE name = 'bench'), 0, 1024, 60000, $1 FROM generate_series(1, $2)`,
    [Buffer.from(body), n]
  )

const measureWaiting = async () => {
  const waiting = Number(values.waiting)
  await backq.runPromise(publishAll(1))
  await empty()
  await insert("backq", waiting)
  await client.query("VACUUM ANALYZE backq.job")
  const few = ManagedRuntime.make(layerOf("few"))
  const work = (runtime: typeof backq): Candidate => (n) =>
    runtime.runPromise(
      Worker.run({ concurrency: 64, maxJobs: n }, Worker.handler(Small, () => Effect.void))
    ).then(() => {})
  const put = (runtime: typeof backq): Candidate => (n) =>
    windows(n, window, (size) => runtime.runPromise(publishAll(size)))
  const many = `${waiting} jobs wait`
  const options = { ...shared, ratio: { ...shared.ratio, title: "of few" }, n: () => jobs }
  await compare(`work, concurrency 64, with ${waiting} jobs waiting`, {
    "few jobs wait": work(few),
    [many]: work(backq)
  }, {
    ...options,
    before: (n, name) => put(name === many ? backq : few)(n)
  })
  await compare(`put, ${window} in one call, with ${waiting} jobs waiting`, {
    "few jobs wait": put(few),
    [many]: put(backq)
  }, { ...options, after: async () => {} })
  await few.dispose()
  await client.query("DROP SCHEMA few CASCADE")
  await empty()
}

/** How a worker fares while a transaction holds back what a vacuum could remove. */
const measureDead = async () => {
  const dead = Number(values.dead)
  const holder = new Client({ connectionString: server.url })
  await holder.connect()
  const candidates: Record<string, Candidate> = { "backq, concurrency 64": work["backq, concurrency 64"]! }
  for (const [name, { settled, work }] of Object.entries(peers)) {
    if (settled.length > 0) candidates[name] = Object.values(work)[0]!
  }
  const rateOf = async (name: string, n: number) => {
    const rates: Array<number> = []
    for (let i = 0; i < rounds; i++) {
      await sideOf(name).fill(n)
      const from = performance.now()
      await candidates[name]!(n)
      rates.push(n / (performance.now() - from) * 1000)
    }
    return rates.toSorted((a, b) => a - b)[rates.length >> 1]!
  }
  console.log(`\nwork while a transaction is open and ${dead} dead rows wait for its end`)
  console.log(`${"".padEnd(44)}${"before/s".padStart(10)}${"held/s".padStart(10)}${"left".padStart(8)}`)
  const rows: Array<readonly [string, string]> = []
  for (const name of Object.keys(candidates)) {
    await sideOf(name).empty()
    const n = name.startsWith("backq") ? 5 * jobs : jobs
    const before = await rateOf(name, n)
    await holder.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.query("SELECT count(*) FROM pg_class")
    if (name.startsWith("backq")) {
      await insert("backq", dead)
      await client.query("UPDATE backq.job SET state = 2, holder = 0, lease = 0, due = now() + interval '1 minute'")
      await client.query("DELETE FROM backq.job")
    } else {
      await sideOf(name).fill(dead)
      for (const statement of peers[name.split(",")[0]!]!.settled) await client.query(statement)
    }
    const held = await rateOf(name, n)
    await holder.query("COMMIT")
    console.log(
      `${name.padEnd(44)}${String(Math.round(before)).padStart(10)}${String(Math.round(held)).padStart(10)}${
        `${Math.round(held / before * 100)} %`.padStart(8)
      }`
    )
    rows.push([name, `${Math.round(held / before * 100)} %`])
  }
  record({ title: `work with ${dead} dead rows that a transaction holds, to none`, columns: ["rate"], rows })
  await holder.end()
  await empty()
}

const version = (await client.query("SHOW server_version")).rows[0].server_version
console.log(
  `PostgreSQL ${version}, payloads of ${JSON.stringify(payload).length} bytes, ${jobs} jobs, ${rounds} rounds`
)
const measures = {
  put: measurePuts,
  work: measureWork,
  latency: measureLatency,
  waiting: measureWaiting,
  dead: measureDead
}
let status = 0
try {
  for (const [name, measure] of Object.entries(measures)) if (parts.has(name)) await measure()
} catch (error) {
  console.error(error)
  status = 1
} finally {
  await backq.dispose()
  for (const peer of Object.values(peers)) await peer.close()
  await client.end()
  await Effect.runPromise(Scope.close(bareScope, Exit.void))
  await server.stop()
}
process.exit(status)
