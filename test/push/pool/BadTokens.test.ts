import { assert, describe, it } from "@effect/vitest"
import { BadTokens } from "../../../src/push/pool/BadTokens.ts"

const hour = 3_600_000

describe("BadTokens", () => {
  it("keeps a token for an hour from its last answer on", () => {
    const bad = new BadTokens()
    const knows = (token: string, now: number) => bad.has(token, () => now)
    bad.add("a", 0)
    bad.add("b", 1000)
    bad.add("a", 2000)
    assert.deepStrictEqual([knows("a", 0), knows("b", 0), knows("c", 0)], [true, true, false])
    assert.deepStrictEqual([knows("a", hour + 1000), knows("b", hour + 1000)], [true, false])
    assert.isFalse(knows("a", hour + 2000))
  })

  it("keeps a limited number and drops the oldest", () => {
    const bad = new BadTokens()
    for (let i = 0; i <= 10_000; i++) bad.add(String(i), i)
    assert.deepStrictEqual(["0", "1", "10000"].map((token) => bad.has(token, () => 20_000)), [false, true, true])
  })
})
