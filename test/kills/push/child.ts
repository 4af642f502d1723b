/**
 * A worker of push jobs that works until it is killed:
 * `node child.ts KIND URL LEDGER OPTIONS`. OPTIONS is a file with what
 * `services.ts` gives its worker.
 *
 * It writes the begin and the end of each delivery into the ledger, and errors to stderr.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { Publisher } from "../../../src/index.ts"
import * as Ledger from "./ledger.ts"
import * as Workers from "./workers.ts"

const [kind = "", url = "", path = "", file = ""] = process.argv.slice(2)

const ledger = Ledger.open(path)
const make = Workers.make[kind as Workers.Kind] as (options: unknown) => ReturnType<typeof Workers.make.apns>
const work = make(JSON.parse(readFileSync(file, "utf8")))

NodeRuntime.runMain(
  Effect.sync(() => process.stdout.write("ready\n")).pipe(
    Effect.andThen(Stream.runForEach(
      work((id, targets) => ledger.start(id, process.pid, targets)),
      ({ _tag, id }) => Effect.sync(() => ledger.end(id ?? "none", process.pid, _tag))
    )),
    Effect.provide([
      Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layer(url))),
      Logger.layer([Logger.consoleLogFmt])
    ]),
    Effect.provideService(References.MinimumLogLevel, "Error"),
    Effect.provideService(References.LogToStderr, true)
  )
)
