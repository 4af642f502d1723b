/** The whole suite and the model of a broker, behind pgbouncer in transaction mode: `npm run soak -- postgres-pooled`. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import { postgres } from "../../support/features.ts"
import { allow, withManyCases } from "../../support/limits.ts"
import { pgbouncer } from "../../support/pgbouncer.ts"
import { cluster } from "../../support/postgres.ts"

allow(withManyCases)

const pooled = Layer.unwrap(Effect.gen(function*() {
  const { port } = yield* cluster()
  const { url } = yield* pgbouncer(port)
  return PostgresBroker.layer({ url })
}))

describe("behind pgbouncer", () => {
  suite("PostgresBroker", { layer: pooled, time: "real", features: postgres })

  model("PostgresBroker as a model", { layer: pooled, time: "real", features: postgres, runs: 15 })
})
