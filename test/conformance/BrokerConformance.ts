/**
 * The rules of the Broker contract as tests, for every broker to pass.
 *
 * `suite("MyBroker", { layer, time })` registers them. With `time: "virtual"`
 * they move the TestClock; with `"real"` they wait one or two seconds where a
 * rule is about time, and run concurrently.
 */
import { layer } from "@effect/vitest"
import { type SuiteOptions, tester } from "./Harness.ts"
import { leases } from "./Leases.ts"
import { managing } from "./Managing.ts"
import { operating } from "./Operating.ts"
import { putting } from "./Putting.ts"
import { reserving } from "./Reserving.ts"

/** Registers the conformance tests for a broker. */
export const suite = (name: string, options: SuiteOptions): void => {
  const real = options.time === "real"
  layer(options.layer, { concurrent: real, excludeTestServices: real })(name, (it) => {
    const test = tester(it, options)
    putting(test)
    reserving(test)
    leases(test)
    operating(test)
    managing(test, options)
  })
}
