/**
 * The cost of a worker while its queue is empty, and how soon it starts a job
 * that comes then.
 *
 *     npm run bench -- idle [--broker beanstalkd | sqlite | postgres] [--seconds 60] [--jobs 100]
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type * as Broker from "../../src/Broker.ts"
import type * as BrokerError from "../../src/BrokerError.ts"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import * as Cluster from "./cluster.ts"
import { record, times } from "./record.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: {
    broker: { type: "string", default: "beanstalkd" },
    seconds: { type: "string", default: "60" },
    jobs: { type: "string", default: "100" }
  }
})
const seconds = Number(values.seconds)
const jobs = Number(values.jobs)

const Small = Job.make("small", { payload: Schema.Struct({ at: Schema.Finite }) })

/** The worker's broker, a second one that publishes, and a function that runs after they close. */
interface Prepared {
  readonly broker: Layer.Layer<Broker.Broker, BrokerError.BrokerError>
  readonly publisher: Layer.Layer<Broker.Broker, BrokerError.BrokerError>
  /** The CPU time of the server so far, in microseconds. */
  readonly serverCpu: () => number
  readonly end: () => unknown
}

const prepare = async (): Promise<Prepared> => {
  if (values.broker === "postgres") {
    const { cpu, stop, url } = await Cluster.start()
    // A second broker acts as another process: it has its own connections and announces its jobs by NOTIFY.
    const broker = () => PostgresBroker.layer({ url })
    return { broker: broker(), publisher: broker(), serverCpu: cpu, end: stop }
  }
  if (values.broker === "sqlite") {
    const folder = mkdtempSync(join(tmpdir(), "backq-idle-"))
    const broker = SqliteBroker.layer({ path: join(folder, "queue.db") })
    return {
      broker,
      publisher: broker,
      serverCpu: () => 0,
      end: () => rmSync(folder, { recursive: true, force: true })
    }
  }
  const server = await Server.start()
  const broker = BeanstalkBroker.layer({ port: server.port })
  return { broker, publisher: broker, serverCpu: () => Server.cpuOf(server.pid), end: server.stop }
}

const { broker, end, publisher, serverCpu } = await prepare()

const program = Effect.gen(function*() {
  const started = yield* Queue.unbounded<number>()
  const worker = yield* Effect.forkChild(
    Effect.provide(
      Worker.run(
        { concurrency: 16 },
        Worker.handler(Small, ({ at }) => Queue.offer(started, performance.now() - at))
      ),
      broker
    )
  )
  yield* Effect.sleep("1 second")

  const cpu = process.cpuUsage()
  const cpuOfServer = serverCpu()
  yield* Effect.sleep(seconds * 1000)
  const { system, user } = process.cpuUsage(cpu)
  const ofServer = (serverCpu() - cpuOfServer) / 1e6
  const used = (system + user) / 1e6
  console.log(
    `CPU over ${seconds} s of an empty queue: ${used.toFixed(3)} s, ${
      (100 * used / seconds).toFixed(2)
    } % of a core; ` +
      `of the server ${ofServer.toFixed(3)} s`
  )

  const latencies: Array<number> = []
  for (let i = 0; i < jobs; i++) {
    yield* Publisher.publish(Small, { at: performance.now() })
    latencies.push(yield* Queue.take(started))
    yield* Effect.sleep("20 millis")
  }
  latencies.sort((a, b) => a - b)
  const at = (part: number) => latencies[Math.floor(part * (jobs - 1))]!.toFixed(2)
  console.log(`from publish to the start of the handler: median ${at(0.5)} ms, p99 ${at(0.99)} ms`)
  record({
    title: `a worker on an empty queue (${values.broker})`,
    columns: ["share"],
    rows: [
      [`CPU over ${seconds} s, of one core`, `${(100 * used / seconds).toFixed(2)} %`],
      ["the same of the server", `${(100 * ofServer / seconds).toFixed(2)} %`],
      [`latency from publish to handler, p99 to median of ${jobs}`, times(Number(at(0.99)), Number(at(0.5)))]
    ]
  })
  yield* Fiber.interrupt(worker)
})

const layer = Publisher.layer.pipe(Layer.provide(publisher), Layer.merge(Logger.layer([])))
await Effect.runPromise(program.pipe(Effect.provide(layer)))
await end()
