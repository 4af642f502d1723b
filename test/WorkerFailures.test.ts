/** What user code throws, fails with or hands over is the user's: whatever it is, a worker decides and goes on. */
import { describe, it } from "@effect/vitest"
import * as Attempts from "./support/attempts.ts"
import * as Strange from "./support/strange.ts"

describe("a worker decides, goes on, and is idle in time", () => {
  for (const [what, failure] of Strange.failures) {
    it.effect(`when a handler ends with ${what}`, () => Attempts.check([[what, failure]]))
  }

  it.effect("under a tracer that reads failures, too", () => Attempts.check(Strange.failures, { traced: true }))
})
