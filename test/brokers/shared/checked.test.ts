import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Checked } from "../../../src/brokers/shared/index.ts"

describe("Checked", () => {
  const checks = [Result.fail("too big"), Result.void, Result.fail("too late"), Result.void]

  it("selects the items that passed", () => {
    assert.deepStrictEqual(Checked.passed(["a", "b", "c", "d"], checks), ["b", "d"])
  })

  it("merges results and failures in the order of the items", () => {
    assert.deepStrictEqual(Checked.merge(checks, [Result.succeed(1), Result.fail("no answer")]), [
      Result.fail("too big"),
      Result.succeed(1),
      Result.fail("too late"),
      Result.fail("no answer")
    ])
  })
})
