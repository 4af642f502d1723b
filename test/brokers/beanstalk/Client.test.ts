import * as Client from "../../../src/brokers/beanstalk/Client.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as ClientSuite from "./ClientSuite.ts"

allow(withServers)

ClientSuite.suite("native", { layer: (port) => Client.layer({ port }), complete: true })
ClientSuite.suite("fivebeans", { layer: (port) => Fivebeans.layer({ port }), complete: false })
