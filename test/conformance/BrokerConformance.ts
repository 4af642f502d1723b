/**
 * The rules of the Broker contract as tests, for every broker to pass.
 *
 * `suite("MyBroker", { layer, time, features })` registers them. With `time: "virtual"`
 * they move the TestClock; with `"real"` they wait one or two seconds where a
 * rule is about time, and run concurrently.
 */
import { layer } from "@effect/vitest"
import { featureTests } from "./Features.ts"
import { type SuiteOptions, type Test, tester } from "./Harness.ts"
import { leases } from "./Leases.ts"
import { managing } from "./Managing.ts"
import { operating } from "./Operating.ts"
import { putting } from "./Putting.ts"
import { reserving } from "./Reserving.ts"

const register = (name: string, options: SuiteOptions, rules: (test: Test) => void): void => {
  const real = options.time === "real"
  layer(options.layer, { concurrent: real, excludeTestServices: real })(
    name,
    (it) => rules(tester(it, options))
  )
}

/** Registers the conformance tests for a broker. */
export const suite = (name: string, options: SuiteOptions): void =>
  register(name, options, (test) => {
    featureTests(test, options)
    putting(test)
    reserving(test)
    leases(test)
    operating(test)
    managing(test, options)
  })

/** Registers only the tests of a broker's features, for a broker with another setup. */
export const featureSuite = (name: string, options: SuiteOptions): void =>
  register(name, options, (test) => featureTests(test, options))
