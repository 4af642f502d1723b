import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import { postgres } from "../../support/features.ts"
import { allow, withServers } from "../../support/limits.ts"
import { cluster, isMissing } from "../../support/postgres.ts"

allow(withServers)

const onOwnCluster = (options: Omit<PostgresBroker.Options, "url"> = {}) =>
  Layer.unwrap(Effect.map(cluster(), ({ url }) => PostgresBroker.layer({ url, ...options })))

describe.skipIf(isMissing)("PostgreSQL", () => {
  suite("PostgresBroker", { layer: onOwnCluster(), time: "real", features: postgres })

  model("PostgresBroker as a model", { layer: onOwnCluster(), time: "real", features: postgres, runs: 15 })
})
