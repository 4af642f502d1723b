/**
 * What happens to running jobs when a worker must stop.
 *
 *     npx tsx scripts/examples/graceful-shutdown.ts
 *
 * Press Ctrl-C, or send SIGTERM, while jobs run. The worker takes no more jobs,
 * and running handlers get `grace` to finish. It interrupts those that need
 * longer and requeues their jobs, which spends no attempt. A second signal ends
 * the program at once. Then its jobs are ready again at the end of their ttr.
 */
import { Effect, Layer, Schema } from "effect"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const Report = Job.make("report", { payload: Schema.Struct({ seconds: Schema.Finite }) })

const handler = Worker.handler(Report, ({ seconds }) =>
  Effect.gen(function*() {
    yield* Effect.log(`a report of ${seconds} s begins`)
    yield* Effect.sleep(seconds * 1000)
    yield* Effect.log(`a report of ${seconds} s is written`)
  }).pipe(
    // Here the handler closes what it has opened. This runs before the worker requeues the job.
    Effect.onInterrupt(() => Effect.log(`a report of ${seconds} s is interrupted`))
  ))

const program = Effect.gen(function*() {
  yield* Publisher.publishAll(Report, [{ seconds: 2 }, { seconds: 3600 }, { seconds: 1 }])
  return yield* Worker.run({ concurrency: 2, grace: "4 seconds" }, handler)
})

program.pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig()))),
  Main.run
)
