/**
 * What the beanstalkd broker costs: jobs per second and CPU per job of putting
 * and of reserving + deleting, beside a bare socket that only moves the same
 * bytes to the same server in the same run.
 *
 *     tsx scripts/bench/beanstalk-broker.ts [jobs]
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import { spawn } from "node:child_process"
import * as Net from "node:net"
import * as BeanstalkBroker from "../../src/beanstalk/BeanstalkBroker.ts"
import { Broker, putRequest } from "../../src/Broker.ts"

const jobs = Number(process.argv[2] ?? 100_000)
const batch = 64
const body = Buffer.alloc(100, "x")

interface Figures {
  readonly name: string
  readonly perSecond: number
  readonly cpu: number
}

const measure = async (name: string, count: number, run: () => Promise<void>): Promise<Figures> => {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run()
  const seconds = (performance.now() - start) / 1000
  const { system, user } = process.cpuUsage(cpu)
  return { name, perSecond: count / seconds, cpu: (user + system) / count }
}

/** A socket that reads through one buffer, and reads rarely while much is to come. */
const bare = (port: number) => {
  let waiting: { marks: number; byte: number; resolve: () => void } | undefined
  const socket = Net.connect({
    port,
    host: "127.0.0.1",
    noDelay: true,
    onread: {
      buffer: Buffer.alloc(65536),
      callback: (length, buffer) => {
        if (waiting === undefined) return true
        for (let i = 0; i < length; i++) if (buffer[i] === waiting.byte) waiting.marks--
        if (waiting.marks <= 0) {
          const { resolve } = waiting
          waiting = undefined
          resolve()
          return true
        }
        if (waiting.marks < 64) return true
        setTimeout(() => socket.resume(), 1)
        return false
      }
    }
  })
  const request = (bytes: Buffer, lines: number) =>
    new Promise<void>((resolve) => {
      waiting = { marks: lines, byte: 10, resolve }
      socket.write(bytes)
    })
  return { request, close: () => socket.destroy() }
}

const bareRun = async (port: number): Promise<ReadonlyArray<Figures>> => {
  const socket = bare(port)
  await socket.request(Buffer.from("use bare\r\nwatch bare\r\nignore default\r\n"), 3)
  const one = `put 1024 0 60 ${body.length}\r\n${body.toString()}\r\n`
  const put = await measure("put, bare socket", jobs, async () => {
    for (let left = jobs; left > 0; left -= 1000) {
      await socket.request(Buffer.from(one.repeat(Math.min(1000, left)), "latin1"), Math.min(1000, left))
    }
  })
  const reserves = Buffer.from("reserve-with-timeout 0\r\n".repeat(batch))
  // The tube was empty before, so the ids are those of the last puts.
  let id = Number(await lastId(port)) - jobs
  const work = await measure("reserve + delete, bare socket", jobs, async () => {
    for (let left = jobs; left > 0; left -= batch) {
      await socket.request(reserves.subarray(0, 24 * Math.min(batch, left)), 2 * Math.min(batch, left))
      let deletes = ""
      for (let i = 0; i < Math.min(batch, left); i++) deletes += `delete ${++id}\r\n`
      await socket.request(Buffer.from(deletes, "latin1"), Math.min(batch, left))
    }
  })
  socket.close()
  return [put, work]
}

const lastId = (port: number) =>
  new Promise<string>((resolve) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write("put 0 100 60 0\r\n\r\n"))
    socket.once("data", (data) => {
      const id = /\d+/.exec(data.toString())![0]
      socket.end(`delete ${id}\r\n`)
      resolve(String(Number(id) - 1))
    })
  })

const ok = (results: ReadonlyArray<Result.Result<unknown, unknown>>) => {
  const bad = results.find((result) => result._tag === "Failure")
  if (bad !== undefined) throw new Error(String(bad))
}

const requestOf = () => {
  const request = putRequest(body)
  if (request._tag === "Failure") throw request.failure
  return request.success
}

const brokerRun = (port: number): Promise<ReadonlyArray<Figures>> =>
  Effect.gen(function*() {
    const broker = yield* Broker
    const services = yield* Effect.context<Broker>()
    const run = <A, E>(effect: Effect.Effect<A, E, Broker>) => Effect.runPromiseWith(services)(effect)
    yield* broker.ping
    const put = yield* Effect.promise(() =>
      measure("putAll, broker", jobs, () =>
        run(Effect.gen(function*() {
          for (let left = jobs; left > 0; left -= 1000) {
            ok(yield* broker.putAll("bench", Array.from({ length: Math.min(1000, left) }, requestOf)))
          }
        })))
    )
    const consumer = yield* broker.consume(["bench"])
    const work = yield* Effect.promise(() =>
      measure("reserve + settle, broker", jobs, () =>
        run(Effect.gen(function*() {
          for (let left = jobs; left > 0;) {
            const leases = yield* consumer.reserve(batch)
            left -= leases.length
            ok(yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete", lease }))))
          }
        })))
    )
    return [put, work]
  }).pipe(Effect.scoped, Effect.provide(BeanstalkBroker.layer({ port })), Effect.runPromise)

const port = await new Promise<number>((resolve) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resolve(port))
  })
})
const server = spawn("beanstalkd", ["-l", "127.0.0.1", "-p", String(port)], { stdio: "inherit" })
await new Promise((resolve) => setTimeout(resolve, 300))
try {
  for (let round = 1; round <= 3; round++) {
    const [barePut, bareWork] = await bareRun(port)
    const [put, work] = await brokerRun(port)
    for (
      const [figures, base] of [[barePut!, barePut!], [put!, barePut!], [bareWork!, bareWork!], [work!, bareWork!]]
    ) {
      const share = ((100 * figures!.perSecond) / base!.perSecond).toFixed(0)
      console.log(
        `${round}  ${figures!.name.padEnd(30)} ${figures!.perSecond.toFixed(0).padStart(8)}/s  ${
          figures!.cpu.toFixed(2).padStart(6)
        } us CPU/job  ${share.padStart(4)} %`
      )
    }
  }
} finally {
  server.kill()
}
