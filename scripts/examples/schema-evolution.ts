/**
 * A payload changes while jobs with the old shape wait in the queue.
 *
 *     npx tsx scripts/examples/schema-evolution.ts
 *
 * - A new field that may be absent needs no new version: give it a default.
 * - A change that old workers would misread raises `version`, and `upgrade`
 *   turns older payloads into the present shape.
 * - An old worker leaves a job with a newer version to a newer worker: the job is
 *   retried by its schedule. So deploy the workers first, then the publishers.
 */
import { Effect, Layer, Schema } from "effect"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

/** The job as it was last year. Its jobs still wait. */
const ResizeV1 = Job.make("resize", {
  payload: Schema.Struct({ image: Schema.String, size: Schema.String })
})

/** The job today: `size` ("200x100") became two numbers, and `quality` is new. */
const Resize = Job.make("resize", {
  version: 2,
  payload: Schema.Struct({
    image: Schema.String,
    width: Schema.Int,
    height: Schema.Int,
    quality: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(80)))
  }),
  // Gets only payloads of older versions. The Schema above decodes the result.
  upgrade: (payload) => {
    const { image, size } = payload as { readonly image: string; readonly size: string }
    const [width, height] = size.split("x").map(Number)
    return { image, width, height }
  }
})

const handler = Worker.handler(
  Resize,
  ({ height, image, quality, width }) => Effect.log(`${image}: ${width} by ${height}, quality ${quality}`)
)

const program = Effect.gen(function*() {
  yield* Publisher.publish(ResizeV1, { image: "old.png", size: "200x100" })
  yield* Publisher.publish(Resize, { image: "new.png", width: 300, height: 150, quality: 90 })
  // if upgrade can't convert a payload, the worker buries the job with the reason, and nothing is lost
  yield* Publisher.publish(ResizeV1, { image: "odd.png", size: "large" })
  yield* Worker.run({ concurrency: 1, maxJobs: 3 }, handler)
})

program.pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig()))),
  Main.run
)
