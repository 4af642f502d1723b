import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BeanstalkBroker from "../../src/beanstalk/BeanstalkBroker.ts"
import * as Fivebeans from "../../src/beanstalk/Fivebeans.ts"
import * as BrokerConformance from "../conformance/BrokerConformance.ts"
import * as Servers from "./servers.ts"

const onOwnServer = Layer.unwrap(
  Effect.map(Servers.beanstalkd(), ({ port }) => BeanstalkBroker.layer({ port }))
)

describe.skipIf(Servers.isMissing)("conformance", () => {
  BrokerConformance.suite("beanstalkd, native driver", { layer: onOwnServer, time: "real" })
})

const fivebeansOnOwnServer = Layer.unwrap(
  Effect.map(Servers.beanstalkd(), ({ port }) => Fivebeans.layerBroker({ port }))
)

describe.skipIf(Servers.isMissing)("conformance", () => {
  BrokerConformance.suite("beanstalkd, fivebeans driver", { layer: fivebeansOnOwnServer, time: "real" })
})
