/**
 * Publishes a push to some devices. Copy it into your project.
 *
 *     npx tsx scripts/examples/apns-publisher.ts TOKEN...
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/apns"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Publisher } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { ApnsJob, Notification } from "../../src/push/apns/index.ts"

const shipped = Notification.alert({
  title: "Order 42",
  body: "Your order was shipped",
  collapseId: "order-42",
  data: { order: 42 }
})

const program = Effect.gen(function*() {
  const tokens = process.argv.slice(2)
  if (tokens.length === 0) {
    yield* Console.error("usage: npx tsx scripts/examples/apns-publisher.ts TOKEN...")
    process.exitCode = 1
  }
  // one job for up to 500 devices
  for (const result of yield* ApnsJob.publish(shipped, tokens)) {
    yield* Result.isSuccess(result)
      ? Console.log(`published ${result.success}`)
      : Console.error(`not published: ${result.failure.message}`)
  }
})

program.pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provide(BrokerUrl.layerConfig()))),
  Main.run
)
