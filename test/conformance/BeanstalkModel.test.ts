import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Servers from "../support/beanstalkd.ts"
import { beanstalkd } from "../support/features.ts"
import { allow, withServers } from "../support/limits.ts"
import { model } from "./BrokerModel.ts"

allow(withServers)

const onOwnServer = Layer.unwrap(
  Effect.map(Servers.beanstalkd(), ({ port }) => BeanstalkBroker.layer({ port }))
)

describe.skipIf(Servers.isMissing)("model", () => {
  model("beanstalkd as a model", { layer: onOwnServer, time: "real", features: beanstalkd, runs: 40 })
})
