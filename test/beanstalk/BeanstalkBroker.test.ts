/** The Broker contract on beanstalkd, with both drivers. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BeanstalkBroker from "../../src/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../src/beanstalk/Fivebeans.ts"
import type { Broker } from "../../src/Broker.ts"
import { suite } from "../conformance/BrokerConformance.ts"
import { model } from "../conformance/BrokerModel.ts"
import * as Servers from "./servers.ts"

const drivers: ReadonlyArray<readonly [string, (port: number) => Layer.Layer<Broker>]> = [
  ["native", (port) => BeanstalkBroker.layer({ port })],
  ["fivebeans", (port) => Fivebeans.layerBroker({ port })]
]

for (const [name, layer] of drivers) {
  const onOwnServer = Layer.unwrap(Effect.map(Servers.beanstalkd(), ({ port }) => layer(port)))

  describe.skipIf(Servers.isMissing)(name, () => {
    suite("conformance", { layer: onOwnServer, time: "real" })
    model("model", { layer: onOwnServer, time: "real", runs: 25 })
  })
}
