/**
 * The latency that one publish adds to a request: a service over `node:http`
 * publishes a job before it answers, and a client in another thread measures.
 *
 *     npm run bench -- latency [--requests 5000] [--durability full]
 *
 * On beanstalkd backq is beside fivebeans and a plain socket, in a SQLite file
 * beside plainjob and one bare statement. The client sends one request after
 * the other, to all candidates in turn, so that each sees the same machine. What
 * a candidate adds is its percentile less that of a request that publishes
 * nothing.
 */
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import * as http from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import { Publisher } from "../../src/index.ts"
import { bodyOf, payloadOf, Small } from "./job.ts"
import { plainjob } from "./peers.ts"
import * as Plain from "./plain.ts"
import { record, times } from "./record.ts"
import * as Server from "./server.ts"

/** What the client receives. */
interface Order {
  readonly port: number
  readonly names: ReadonlyArray<string>
  readonly requests: number
}

/** Milliseconds of each request, by candidate. */
type Latencies = Record<string, Array<number>>

// -- the client

const measureAll = async ({ names, port, requests }: Order): Promise<Latencies> => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const ask = async (name: string): Promise<number> => {
    const start = performance.now()
    const request = http.get({ port, host: "127.0.0.1", path: `/${encodeURIComponent(name)}`, agent })
    const [response] = await once(request, "response") as [http.IncomingMessage]
    response.resume()
    await once(response, "end")
    if (response.statusCode !== 200) throw new Error(`${name} was answered with ${response.statusCode}`)
    return performance.now() - start
  }
  const latencies: Latencies = Object.fromEntries(names.map((name) => [name, []]))
  const warmUp = Math.ceil(requests / 10)
  for (let i = -warmUp; i < requests; i++) {
    for (const name of names) {
      const took = await ask(name)
      if (i >= 0) latencies[name]!.push(took)
    }
  }
  agent.destroy()
  return latencies
}

// -- the service

type Publish = () => unknown

/** Serves a path for each candidate, and has the client ask for all of them. */
const compare = async (title: string, candidates: Record<string, Publish>, requests: number): Promise<void> => {
  const all: Record<string, Publish> = { "no publish": () => {}, ...candidates }
  const service = http.createServer(async (request, response) => {
    try {
      await all[decodeURIComponent(request.url!.slice(1))]!()
      response.end("accepted")
    } catch (cause) {
      console.error(cause)
      response.writeHead(500).end()
    }
  }).listen(0, "127.0.0.1")
  await once(service, "listening")
  const { port } = service.address() as AddressInfo
  const order: Order = { port, names: Object.keys(all), requests }
  const client = new Worker(import.meta.filename, { workerData: order })
  const [latencies] = await once(client, "message") as [Latencies]
  service.close()

  const percentile = (name: string, part: number) =>
    latencies[name]!.toSorted((a, b) => a - b)[Math.floor(part * (requests - 1))]!
  const added = (name: string, part: number) => percentile(name, part) - percentile("no publish", part)
  const micros = (millis: number) => (millis * 1000).toFixed(0)
  const names = Object.keys(candidates)
  console.log(`\n${title}`)
  console.log("adds, in us".padEnd(32) + "p50".padStart(9) + "p99".padStart(9))
  for (const name of names) {
    console.log(name.padEnd(32) + micros(added(name, 0.5)).padStart(9) + micros(added(name, 0.99)).padStart(9))
  }
  const [base] = names
  record({
    title: `${title}: latency that it adds to a request`,
    columns: ["p50", "p99"],
    rows: names.map((name) =>
      [name, times(added(name, 0.5), added(base!, 0.5)), times(added(name, 0.99), added(base!, 0.99))] as const
    )
  })
}

// -- candidates: all publish the same job

const payload = payloadOf(400)
const body = bodyOf(payload)
const silent = Layer.provideMerge(Logger.layer([]))

const overBeanstalkd = async (requests: number): Promise<void> => {
  const server = await Server.start()
  const plain = await Plain.connect(server.port)
  await plain.exchange("use bench\r\n", 1)
  const backq = ManagedRuntime.make(
    Publisher.layer.pipe(Layer.provideMerge(BeanstalkBroker.layer({ port: server.port })), silent)
  )
  // it ships no types
  const beans = new (createRequire(import.meta.url)("fivebeans").client)("127.0.0.1", server.port)
  await new Promise<void>((resolve) => beans.on("connect", () => resolve()).connect())
  const bean = (method: string, ...args: ReadonlyArray<unknown>) =>
    new Promise((resolve, reject) =>
      beans[method](...args, (error: unknown, answer: unknown) => error ? reject(error) : resolve(answer))
    )
  await bean("use", "bench")
  const bytes = Buffer.from(body)
  await compare("one publish to beanstalkd", {
    "a plain socket": () => plain.exchange(`put 1024 0 60 ${body.length}\r\n${body}\r\n`, 1),
    "backq": () => backq.runPromise(Publisher.publish(Small, payload)),
    "fivebeans": () => bean("put", 1024, 0, 60, bytes)
  }, requests)
  await backq.dispose()
  plain.close()
  beans.end()
  server.stop()
}

const inSqlite = async (requests: number, durability: "full" | "normal"): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "backq-latency-"))
  const bare = new DatabaseSync(join(folder, "bare.db"))
  bare.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durability};
    CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, priority INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX ready ON job (priority, id) WHERE state = 0`)
  const insert = bare.prepare("INSERT INTO job (state, priority, body) VALUES (0, 1024, ?)")
  const bytes = Buffer.from(body)
  const backq = ManagedRuntime.make(
    Publisher.layer.pipe(
      Layer.provideMerge(SqliteBroker.layer({ path: join(folder, "queue.db"), durability })),
      silent
    )
  )
  const plain = plainjob({ path: join(folder, "plainjob.db"), durability }, payload)
  await compare(`one publish in a SQLite file, durability ${durability}`, {
    "one bare statement": () => insert.run(bytes),
    "backq": () => backq.runPromise(Publisher.publish(Small, payload)),
    "plainjob": () => plain.put(1)
  }, requests)
  await backq.dispose()
  await plain.close()
  bare.close()
  rmSync(folder, { recursive: true, force: true })
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "5000" },
      durability: { type: "string", default: "full" }
    }
  })
  const requests = Number(values.requests)
  await overBeanstalkd(requests)
  await inSqlite(requests, values.durability === "normal" ? "normal" : "full")
  process.exit(0)
} else {
  parentPort!.postMessage(await measureAll(workerData))
}
