import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schedule, Schema } from "effect"
import { MemoryBroker } from "../../src/brokers/memory/index.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"

const SendWelcome = Job.make("send-welcome", {
  payload: Schema.Struct({ userId: Schema.String }),
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
})

const worker = Worker.layer(
  { concurrency: 16 },
  Worker.handler(SendWelcome, ({ userId }) => Effect.log(`welcome, user ${userId}`))
)

const program = Effect.gen(function*() {
  yield* Publisher.publish(SendWelcome, { userId: "42" })
  yield* Publisher.publish(SendWelcome, { userId: "43" }, { delay: "2 seconds" })
  yield* Effect.sleep("3 seconds")
})

program.pipe(
  Effect.provide(Layer.merge(worker, Publisher.layer).pipe(Layer.provide(MemoryBroker.layer))),
  NodeRuntime.runMain
)
