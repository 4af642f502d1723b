/** The Broker contract on beanstalkd, with both drivers. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Broker, Features } from "../../../src/Broker.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import type { Inspector } from "../../../src/Inspector.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { beanstalkd } from "../../support/features.ts"
import { allow, withServers } from "../../support/limits.ts"

allow(withServers)

const drivers: ReadonlyArray<readonly [string, (port: number) => Layer.Layer<Broker | Inspector>, Features]> = [
  ["native", (port) => BeanstalkBroker.layer({ port }), beanstalkd],
  ["fivebeans", (port) => Fivebeans.layerBroker({ port }), { ...beanstalkd, canBury: false, canMove: false }]
]

for (const [name, layer, features] of drivers) {
  const onOwnServer = Layer.unwrap(Effect.map(Servers.beanstalkd(), ({ port }) => layer(port)))

  describe.skipIf(Servers.isMissing).concurrent(name, () => {
    suite("conformance", { layer: onOwnServer, time: "real", features })
    model("model", { layer: onOwnServer, time: "real", features, runs: 25 })
  })
}
