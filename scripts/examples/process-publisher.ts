/**
 * Publishes process jobs. Copy it into your project.
 *
 *     BACKQ_BROKER=beanstalk://127.0.0.1:11300 npx tsx scripts/examples/process-publisher.ts
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/process"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Publisher } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { ProcessJob } from "../../src/process/index.ts"

const program = Effect.gen(function*() {
  const now = yield* Publisher.publish(ProcessJob.job, { command: ["date", "-u"], timeout: "10 seconds" })
  yield* Console.log(`published ${now}`)

  const later = yield* Publisher.publish(
    ProcessJob.job,
    { command: ["echo", "later"], env: { LANG: "C" } },
    { delay: "4 seconds", deadline: "1 hour" }
  )
  yield* Console.log(`published ${later}, to run in 4 seconds`)
}).pipe(
  // each failure has a type: put a fallback here, such as an outbox
  Effect.catchReason(
    "PublishError",
    "Unavailable",
    (error) => Effect.andThen(Console.error(`not published: ${error.message}`), Effect.sync(() => process.exitCode = 2))
  )
)

program.pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provide(BrokerUrl.layerConfig()))),
  Main.run
)
