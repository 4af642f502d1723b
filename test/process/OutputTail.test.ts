import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as OutputTail from "../../src/process/OutputTail.ts"

describe("OutputTail", () => {
  it.prop(
    "keeps the last bytes of whatever pieces",
    {
      limit: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
      chunks: Schema.Array(Schema.Uint8Array)
    },
    ({ chunks, limit }) => {
      const tail = OutputTail.make(limit)
      for (const chunk of chunks) tail.push(chunk)
      const all = Buffer.concat(chunks)
      const { bytes, total, truncated } = tail.output()
      assert.deepEqual(Array.from(bytes), Array.from(all.subarray(Math.max(0, all.length - limit))))
      assert.strictEqual(total, all.length)
      assert.strictEqual(truncated, all.length > limit)
    }
  )

  it("keeps the last bytes of a long stream of small and large pieces", () => {
    for (const limit of [1, 1000, 1024, 16_384]) {
      for (const size of [1, 7, 1000, 40_000]) {
        const tail = OutputTail.make(limit)
        const all = new Uint8Array(200_000)
        for (let i = 0; i < all.length; i++) all[i] = (i * 31) % 251
        for (let i = 0; i < all.length; i += size) tail.push(all.subarray(i, i + size))
        const { bytes, total } = tail.output()
        assert.isTrue(Buffer.from(bytes).equals(all.subarray(all.length - limit)), `limit ${limit}, size ${size}`)
        assert.strictEqual(total, all.length)
      }
    }
  })

  it("finds the last line, without control characters", () => {
    const lastLine = (text: string) => OutputTail.lastLine(OutputTail.fromText(text))
    assert.strictEqual(lastLine(""), "")
    assert.strictEqual(lastLine("\n \n"), "")
    assert.strictEqual(lastLine("a\nb\r\n\n"), "b")
    assert.strictEqual(lastLine("\x1b[31mred\x07\x1b[0m"), "[31mred  [0m")
    assert.strictEqual(lastLine("x".repeat(300)).length, 200)
  })
})
