/**
 * A service that publishes a job of its own and works on it, to be copied.
 *
 *     BACKQ_BROKER=beanstalk://127.0.0.1:11300 npx tsx scripts/examples/service.ts
 *
 * Without a server: BACKQ_BROKER=memory:
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const SendWelcome = Job.make("send-welcome", {
  payload: Schema.Struct({ userId: Schema.String }),
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
})

const worker = Worker.layer(
  { concurrency: 16 },
  Worker.handler(SendWelcome, ({ userId }, delivery) => Effect.log(`welcome, user ${userId} (${delivery.id})`))
)

/** Stands for what makes your service publish: a request, a timer, an event. */
const signUps = Layer.effectDiscard(
  Effect.gen(function*() {
    const userId = `${yield* Effect.clockWith((clock) => clock.currentTimeMillis)}`
    yield* Publisher.publish(SendWelcome, { userId })
  }).pipe(Effect.ignore({ log: true }), Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)
)

Layer.mergeAll(worker, signUps.pipe(Layer.provide(Publisher.layer))).pipe(
  Layer.provide(BrokerUrl.layerConfig()),
  Layer.launch,
  Main.run
)
