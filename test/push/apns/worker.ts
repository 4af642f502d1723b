/**
 * A worker for push jobs, for tests that kill it: `node worker.ts LEDGER`, with
 * broker and credential in the environment. It writes down which deliveries
 * begin and their outcomes.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as Worker from "../../../src/Worker.ts"
import * as Ledger from "./ledger.ts"

const ledger = Ledger.open(process.argv[2]!)
const push = ApnsJob.handler()

/** The handler, which says when it begins. */
const handler = Worker.handler(push.job, (payload, delivery) => {
  ledger.write("start", delivery.id, process.pid)
  return push.run(payload, delivery)
})

NodeRuntime.runMain(
  Worker.stream({ concurrency: 64, prefetch: 64 }, handler).pipe(
    Stream.runForEach(({ _tag, id }) => Effect.sync(() => ledger.write(_tag, id ?? "none", process.pid))),
    Effect.provide([
      Apns.layerConfig(),
      Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig())),
      Logger.layer([Logger.consoleLogFmt])
    ]),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
)
