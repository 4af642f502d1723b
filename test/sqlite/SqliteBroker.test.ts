import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as SqliteBroker from "../../src/sqlite/SqliteBroker.ts"
import { folder } from "../beanstalk/servers.ts"
import { suite } from "../conformance/BrokerConformance.ts"
import { model } from "../conformance/BrokerModel.ts"

const onOwnFile = Layer.unwrap(
  Effect.map(folder, (path) => SqliteBroker.layer({ path: join(path, "queue.db") }))
)

suite("SqliteBroker", { layer: onOwnFile, time: "real", resolution: "millisecond" })

model("SqliteBroker as a model", { layer: onOwnFile, time: "real", runs: 40 })
