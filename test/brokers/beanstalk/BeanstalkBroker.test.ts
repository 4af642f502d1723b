/** The Broker contract on beanstalkd, with both drivers. */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Broker } from "../../../src/Broker.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import { suite } from "../../conformance/BrokerConformance.ts"
import { model } from "../../conformance/BrokerModel.ts"
import type { SuiteOptions } from "../../conformance/Harness.ts"
import * as Servers from "../../support/beanstalkd.ts"

const drivers: ReadonlyArray<
  readonly [string, (port: number) => Layer.Layer<Broker>, NonNullable<SuiteOptions["lacks"]>]
> = [
  ["native", (port) => BeanstalkBroker.layer({ port }), ["list", "lastFailure"]],
  ["fivebeans", (port) => Fivebeans.layerBroker({ port }), ["list", "lastFailure", "takeJob"]]
]

for (const [name, layer, lacks] of drivers) {
  const onOwnServer = Layer.unwrap(Effect.map(Servers.beanstalkd(), ({ port }) => layer(port)))

  describe.skipIf(Servers.isMissing)(name, () => {
    suite("conformance", { layer: onOwnServer, time: "real", lacks })
    model("model", { layer: onOwnServer, time: "real", lacks, runs: 25 })
  })
}
