import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import { folder } from "../../support/beanstalkd.ts"

const onOwnFile = Layer.unwrap(
  Effect.map(folder, (path) => SqliteBroker.layer({ path: join(path, "queue.db") }))
)

suite("SqliteBroker", { layer: onOwnFile, time: "real", resolution: "millisecond" })

model("SqliteBroker as a model", { layer: onOwnFile, time: "real", runs: 40 })
