import * as MemoryBroker from "../../src/memory/MemoryBroker.ts"
import { suite } from "../conformance/BrokerConformance.ts"
import { model } from "../conformance/BrokerModel.ts"

suite("MemoryBroker", { layer: MemoryBroker.layer, time: "virtual" })

model("MemoryBroker as a model", { layer: MemoryBroker.layer, time: "virtual", runs: 200 })
