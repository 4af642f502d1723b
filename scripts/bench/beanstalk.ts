/**
 * Jobs per second over beanstalkd: backq, fivebeans, jackd, and a plain socket
 * that only moves the bytes, on one server, in one run.
 *
 *     npm run bench -- beanstalk [--jobs 50000] [--rounds 3]
 *
 * Absolute figures say little on a shared machine: read the ratios. Every
 * candidate is warmed up, then measured in rounds, in turn; the table shows
 * the median round. The CPU is that of this process, and of the server.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Result from "effect/Result"
import { createRequire } from "node:module"
import { parseArgs } from "node:util"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Publisher from "../../src/Publisher.ts"
import * as Worker from "../../src/Worker.ts"
import { type Candidate, compare, type Options } from "./compare.ts"
import { bodyOf, payloadOf, Small } from "./job.ts"
import * as Plain from "./plain.ts"
import * as Server from "./server.ts"

// neither ships types that fit
const require = createRequire(import.meta.url)
const fivebeans = require("fivebeans")
const jackd = require("jackd")
const Jackd = jackd.default ?? jackd

const { values } = parseArgs({
  options: { jobs: { type: "string", default: "50000" }, rounds: { type: "string", default: "3" } }
})
const jobs = Number(values.jobs)
const rounds = Number(values.rounds)
const window = 1000
const batch = 64

const server = await Server.start()
const { port } = server
const serverCpu = () => Server.cpuOf(server.pid)

// -- the jobs: all candidates publish the same bytes

const payloads = Array.from({ length: window }, (_, i) => payloadOf(i))
const body = bodyOf(payloads[500]!)
const bytes = Buffer.from(body)
const putLine = `put 1024 0 60 ${body.length}\r\n${body}\r\n`

// -- candidates: each puts or works `n` jobs

const plain = await Plain.connect(port)
await plain.exchange("use bench\r\nwatch bench\r\nignore default\r\n", 3)

const backq = ManagedRuntime.make(
  Publisher.layer.pipe(Layer.provideMerge(BeanstalkBroker.layer({ port })), Layer.provideMerge(Logger.layer([])))
)

type Callback = (error: unknown, ...rest: Array<any>) => void
const beans = new fivebeans.client("127.0.0.1", port)
await new Promise<void>((resolve) => beans.on("connect", () => resolve()).connect())
const bean = (method: string, ...args: Array<unknown>): Promise<any> =>
  new Promise((resolve, reject) =>
    beans[method](...args, ((error, ...rest) => error ? reject(error) : resolve(rest[0])) as Callback)
  )
await bean("use", "bench")
await bean("watch", "bench")
await bean("ignore", "default")

const jack = new Jackd()
await jack.connect({ host: "127.0.0.1", port })
await jack.use("bench")
await jack.watch("bench")
await jack.ignore("default")

const times = async (n: number, step: () => Promise<unknown>) => {
  for (let i = 0; i < n; i++) await step()
}
const windows = async (n: number, size: number, step: (size: number) => Promise<unknown>) => {
  for (let left = n; left > 0; left -= size) await step(Math.min(size, left))
}

const putOne: Record<string, Candidate> = {
  plain: (n) => times(n, () => plain.exchange(putLine, 1)),
  backq: (n) =>
    backq.runPromise(Effect.gen(function*() {
      for (let i = 0; i < n; i++) yield* Publisher.publish(Small, payloads[i % window]!)
    })),
  fivebeans: (n) => times(n, () => bean("put", 1024, 0, 60, bytes)),
  jackd: (n) => times(n, () => jack.put(body))
}

const putMany: Record<string, Candidate> = {
  plain: (n) => windows(n, window, (size) => plain.exchange(putLine.repeat(size), size)),
  backq: (n) =>
    backq.runPromise(Effect.gen(function*() {
      for (let left = n; left > 0; left -= window) {
        const results = yield* Publisher.publishAll(Small, payloads.slice(0, Math.min(window, left)))
        if (!results.every(Result.isSuccess)) return yield* Effect.die("a job was not accepted")
      }
    })),
  fivebeans: (n) =>
    windows(n, window, (size) => Promise.all(Array.from({ length: size }, () => bean("put", 1024, 0, 60, bytes)))),
  jackd: (n) => windows(n, window, (size) => Promise.all(Array.from({ length: size }, () => jack.put(body))))
}

const plainBatches: Candidate = async (n) => {
  const ask = (size: number) => "reserve-with-timeout 0\r\n".repeat(size)
  let asked = Math.min(batch, n)
  let left = n - asked
  let lines = await plain.exchange(ask(asked), asked)
  while (true) {
    const reserved = lines.filter((line) => line.startsWith("RESERVED"))
    const deletes = reserved.map((line) => `delete ${line.split(" ")[1]}\r\n`).join("")
    asked = Math.min(batch, left)
    left -= asked
    lines = await plain.exchange(deletes + ask(asked), reserved.length + asked)
    if (asked === 0) return
  }
}

const backqWorker = (concurrency: number, prefetch = 0): Candidate => (n) =>
  backq.runPromise(Worker.run({ concurrency, prefetch, maxJobs: n }, Worker.handler(Small, () => Effect.void))).then(
    () => {}
  )

const work: Record<string, Candidate> = {
  "plain, batches of 64": plainBatches,
  "backq, concurrency 64": backqWorker(64),
  "backq, 64, prefetch 64": backqWorker(64, 64),
  "backq, concurrency 16": backqWorker(16),
  "backq, concurrency 1": backqWorker(1),
  "plain, one at a time": (n) =>
    times(n, async () => {
      const [line] = await plain.exchange("reserve\r\n", 1)
      await plain.exchange(`delete ${line!.split(" ")[1]}\r\n`, 1)
    }),
  "fivebeans, one at a time": (n) => times(n, () => bean("reserve").then((id) => bean("destroy", id))),
  "fivebeans, batches of 64": (n) =>
    windows(n, batch, async (size) => {
      const ids = await Promise.all(Array.from({ length: size }, () => bean("reserve")))
      await Promise.all(ids.map((id) => bean("destroy", id)))
    }),
  "jackd, one at a time": (n) => times(n, () => jack.reserve().then((job: { id: string }) => jack.delete(job.id)))
}

// -- measuring

const isSlow = (name: string) => name.includes("one at a time") || name.endsWith("concurrency 1")

const shared = {
  rounds,
  serverCpu,
  ratio: { title: "of plain", of: (rate: number, limit: number) => `${Math.round((rate / limit) * 100)} %` }
}
const table = (title: string, candidates: Record<string, Candidate>, n: number, around: Partial<Options>) =>
  compare(title, candidates, { ...shared, n: (name) => isSlow(name) ? Math.ceil(n / 5) : n, ...around })

console.log(`beanstalkd in memory, bodies of ${body.length} bytes, ${jobs} jobs, ${rounds} rounds`)
await table("publish, one at a time", putOne, Math.ceil(jobs / 5), { after: plainBatches })
await table(`publish, ${window} at once`, putMany, jobs, { after: plainBatches })
await table("work: reserve, run an empty handler, delete", work, jobs, { before: putMany["plain"]! })

await backq.dispose()
plain.close()
beans.end()
await jack.disconnect()
server.stop()
process.exit(0)
