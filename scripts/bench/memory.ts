/**
 * Memory over many small jobs: publisher and worker in one process, over
 * beanstalkd.
 *
 *     npm run bench -- memory [--jobs 1000000]
 *
 * Prints the heap after a collection, and the resident set, every tenth of the
 * way. Both have to be flat.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { parseArgs } from "node:util"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { record, times } from "./record.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({ options: { jobs: { type: "string", default: "1000000" } } })
const jobs = Number(values.jobs)
const step = Math.ceil(jobs / 10)
const window = 1000

const Small = Job.make("small", { payload: Schema.Struct({ n: Schema.Int }) })

const mebibytes = (bytes: number) => (bytes / 1048576).toFixed(1).padStart(8)
const samples: Array<NodeJS.MemoryUsage> = []
const report = (done: number) => {
  globalThis.gc?.()
  const sample = process.memoryUsage()
  samples.push(sample)
  const { heapUsed, rss } = sample
  console.log(`${String(done).padStart(9)} jobs   heap${mebibytes(heapUsed)} MiB   resident${mebibytes(rss)} MiB`)
}

const publish = Effect.gen(function*() {
  for (let n = 0; n < jobs; n += window) {
    yield* Publisher.publishAll(Small, Array.from({ length: Math.min(window, jobs - n) }, (_, i) => ({ n: n + i })))
  }
})

let done = 0
const work = Worker.stream({ concurrency: 64, maxJobs: jobs }, Worker.handler(Small, () => Effect.void)).pipe(
  Stream.runForEachArray((outcomes) =>
    Effect.sync(() => {
      const before = done
      done += outcomes.length
      if (Math.floor(done / step) > Math.floor(before / step)) report(done)
    })
  )
)

const server = await Server.start()
const layer = Publisher.layer.pipe(
  Layer.provideMerge(BeanstalkBroker.layer({ port: server.port })),
  Layer.provideMerge(Logger.layer([]))
)
await Effect.runPromise(Effect.all([publish, work], { concurrency: 2, discard: true }).pipe(Effect.provide(layer)))
server.stop()

const [first, last] = [samples[0]!, samples.at(-1)!]
record({
  title: `memory after ${jobs} jobs, to that after the first tenth`,
  columns: ["last tenth to first"],
  rows: [
    ["heap after a collection", times(last.heapUsed, first.heapUsed)],
    ["resident set", times(last.rss, first.rss)]
  ]
})
