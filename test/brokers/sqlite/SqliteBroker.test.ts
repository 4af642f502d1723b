import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { featureSuite, suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import { sqlite } from "../../support/features.ts"
import { folder } from "../../support/folder.ts"
import { allow, withManyCases } from "../../support/limits.ts"

allow(withManyCases)

const onOwnFile = (options: Omit<SqliteBroker.Options, "path"> = {}) =>
  Layer.unwrap(Effect.map(folder, (path) => SqliteBroker.layer({ path: join(path, "queue.db"), ...options })))

suite("SqliteBroker", { layer: onOwnFile(), time: "real", features: sqlite })

featureSuite("SqliteBroker with a history", {
  layer: onOwnFile({ history: "1 hour" }),
  time: "real",
  features: { ...sqlite, keepsDone: true }
})

model("SqliteBroker as a model", { layer: onOwnFile(), time: "real", features: sqlite, runs: 40 })
