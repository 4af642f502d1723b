import { assert, describe, it } from "@effect/vitest"
import * as Uuid from "../../src/internal/uuid.ts"

/** RFC 9562, section 5.7. */
const v7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe("uuid", () => {
  it("version 7 begins with its time, for any sequence of times", () => {
    for (const time of [0, 1764000000000, 1764000000000, 1764000000000.7, 1764000000001, 0, 2 ** 48 - 1]) {
      const [, high, low] = v7.exec(Uuid.v7(time)) ?? []
      assert.strictEqual(parseInt(`${high}${low}`, 16), Math.floor(time))
    }
  })

  it("never repeats, even when its pool of random bytes is used up", () => {
    const all = Array.from({ length: 5000 }, () => Uuid.v7(1764000000000))
    assert.strictEqual(new Set(all).size, all.length)
  })

  it("is random in every other digit: each takes all of its values", () => {
    const values = Array.from({ length: 36 }, () => new Set<string>())
    for (let i = 0; i < 5000; i++) Array.from(Uuid.v7(1764000000000), (digit, at) => values[at]!.add(digit))
    const random = values.slice(15).map(({ size }) => size)
    assert.deepStrictEqual(random, [16, 16, 16, 1, 4, 16, 16, 16, 1, ...Array.from({ length: 12 }, () => 16)])
  })
})
