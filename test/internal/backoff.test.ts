import { assert, describe, it } from "@effect/vitest"
import { pauseMillis } from "../../src/internal/backoff.ts"

const limits = { firstMillis: 50, longestMillis: 5000 }

describe("pauseMillis", () => {
  it("doubles with each failure, up to the longest", () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((failures) => pauseMillis(failures, 1, limits))
    assert.deepStrictEqual(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
  })

  it("stays at the longest after any number of failures", () => {
    for (const failures of [100, 1024, 10_000, Number.MAX_SAFE_INTEGER]) {
      assert.strictEqual(pauseMillis(failures, 1, limits), 5000)
    }
  })

  it("multiplies every pause by the jitter, the longest too", () => {
    assert.strictEqual(pauseMillis(1, 0.8, limits), 40)
    assert.strictEqual(pauseMillis(100, 1.2, limits), 6000)
  })
})
