/**
 * Every entry that takes the text of others, fed with hostile input from a
 * fixed seed. `npm run soak -- fuzz` feeds more.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Fuzz from "../support/fuzz.ts"
import { allow, withManyCases } from "../support/limits.ts"

allow(withManyCases)

const targets = await Fuzz.targets()

/** How long all targets may take, on a machine that is slow or busy; fewer inputs are fed then. */
const budgetMillis = 30_000

describe("fuzz", () => {
  describe.each(targets)("$name", (target) => {
    it("ends in success or a typed error for any input", async () => {
      assert.isAbove(await Fuzz.feedMany(target, { millis: budgetMillis / targets.length }), 0)
    })

    it("takes time and memory linear in the input", () => Fuzz.checkGrowth(target))
  })
})
