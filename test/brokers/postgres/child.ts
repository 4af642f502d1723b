/** A process that reserves jobs of a queue, says how many, and works on them for ever. */
import * as Effect from "effect/Effect"
import { Broker } from "../../../src/Broker.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"

const [url = "", queue = "", max = "1"] = process.argv.slice(2)

const work = Effect.scoped(Effect.gen(function*() {
  const broker = yield* Broker
  const consumer = yield* broker.consume([queue])
  const leases = yield* consumer.reserve(Number(max))
  yield* Effect.sync(() => process.stdout.write(`${leases.length}\n`))
  return yield* Effect.never
}))

await Effect.runPromise(Effect.provide(work, BrokerUrl.layer(url)))
