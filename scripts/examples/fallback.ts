/**
 * What to do when a job can't be published. Each reason has a type, so a
 * fallback takes one line.
 *
 *     npx tsx scripts/examples/fallback.ts                                        no worker is idle
 *     BACKQ_BROKER=beanstalk://127.0.0.1:1 npx tsx scripts/examples/fallback.ts   nothing listens there
 */
import { Effect, Layer, Schema } from "effect"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const Resize = Job.make("resize", { payload: Schema.Struct({ image: Schema.String }) })

const resizeNow = (image: string) => Effect.log(`${image} is resized here, because no worker is idle`)

// Stands for a table in your database. Another program publishes the job from there later.
const saveForLater = (image: string) => Effect.log(`${image} is saved, because the broker can't be reached`)

const resize = (image: string) =>
  Publisher.publish(Resize, { image }, { requireWorkers: true }).pipe(
    Effect.flatMap((id) => Effect.log(`${image} is job ${id}`)),
    Effect.catchReason("PublishError", "NoIdleWorkers", () => resizeNow(image)),
    // fate "Unknown": the job was sent and not answered, so it may be in the queue. Publish it again if it is idempotent.
    Effect.catchReason(
      "PublishError",
      "Unavailable",
      ({ fate }) => Effect.andThen(Effect.log(`fate: ${fate}`), saveForLater(image))
    )
  )

resize("a.png").pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provide(BrokerUrl.layerConfig()))),
  Main.run
)
