import * as MemoryBroker from "../../src/memory/MemoryBroker.ts"
import { suite } from "../conformance/BrokerConformance.ts"

suite("MemoryBroker", { layer: MemoryBroker.layer, time: "virtual" })
