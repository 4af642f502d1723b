/**
 * What a worker costs while its queue is empty, and how soon it starts a job
 * that comes then.
 *
 *     node scripts/bench/idle.ts [--seconds 60] [--jobs 100]
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { parseArgs } from "node:util"
import * as BeanstalkBroker from "../../src/beanstalk/BeanstalkBroker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, jobs: { type: "string", default: "100" } }
})
const seconds = Number(values.seconds)
const jobs = Number(values.jobs)

const Small = Job.make("small", { payload: Schema.Struct({ at: Schema.Finite }) })

const server = await Server.start()
const program = Effect.gen(function*() {
  const started = yield* Queue.unbounded<number>()
  const worker = yield* Effect.forkChild(Worker.make(
    { concurrency: 16 },
    Worker.handler(Small, ({ at }) => Queue.offer(started, performance.now() - at))
  ))
  yield* Effect.sleep("1 second")

  const cpu = process.cpuUsage()
  yield* Effect.sleep(seconds * 1000)
  const { system, user } = process.cpuUsage(cpu)
  console.log(`CPU over ${seconds} s of an empty queue: ${((system + user) / 1e6).toFixed(3)} s`)

  const latencies: Array<number> = []
  for (let i = 0; i < jobs; i++) {
    yield* Publisher.publish(Small, { at: performance.now() })
    latencies.push(yield* Queue.take(started))
    yield* Effect.sleep("20 millis")
  }
  latencies.sort((a, b) => a - b)
  const at = (part: number) => latencies[Math.floor(part * (jobs - 1))]!.toFixed(2)
  console.log(`from publish to the start of the handler: median ${at(0.5)} ms, p99 ${at(0.99)} ms`)
  yield* Fiber.interrupt(worker)
})

const layer = Publisher.layer.pipe(
  Layer.provideMerge(BeanstalkBroker.layer({ port: server.port })),
  Layer.provideMerge(Logger.layer([]))
)
await Effect.runPromise(program.pipe(Effect.provide(layer)))
server.stop()
