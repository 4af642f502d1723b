import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as OutputTail from "../../src/process/OutputTail.ts"
import { cpuMillis } from "../support/cpu.ts"
import { allow, withMuchData } from "../support/limits.ts"

allow(withMuchData)

describe("OutputTail", () => {
  it.prop(
    "keeps the last bytes of any chunks",
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

  const hostile = "\u001b]0;t\u0007\u009b2J\u202e\u2066\u2028\u2029\u00ad\ufeff"
  const raw = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

  it("finds the last line of any output, in linear time", () => {
    const lastLine = (text: string) => OutputTail.lastLine(OutputTail.fromText(text))
    assert.strictEqual(lastLine(`one\r${hostile} two \t\n\u200b\n\r\n`), "]0;t  2J       two")
    assert.strictEqual(lastLine("Zażółć 😀\n"), "Zażółć 😀")
    assert.strictEqual(lastLine(`a\n${" ".repeat(10_000)}b${" ".repeat(10_000)}`), "b")
    assert.strictEqual(lastLine(`${"x".repeat(199)}😀`), "x".repeat(199))
    assert.strictEqual(OutputTail.lastLine(OutputTail.fromText(Uint8Array.of(0xff, 0xc3))), "\ufffd\ufffd")
    const size = 16 * 1024 * 1024
    for (const text of ["x", " ", "\n", "\r\n", "\0", "\u200b\n", "a \n"]) {
      const output = OutputTail.fromText(text.repeat(size / text.length / 3))
      let line = ""
      assert.isBelow(cpuMillis(() => line = OutputTail.lastLine(output)), 500, JSON.stringify(text))
      assert.isAtMost(line.length, 200)
    }
  })

  it("returns the end as text for people", () => {
    const lastChars = (text: string, chars: number) => OutputTail.lastChars(OutputTail.fromText(text), chars)
    assert.strictEqual(lastChars("one\ntwo\r\n three \n\n", 1000), "one\ntwo\n three")
    assert.strictEqual(lastChars("one\ntwo\n", 5), "e\ntwo")
    assert.strictEqual(lastChars("a😀b", 2), "b")
    assert.strictEqual(lastChars("50%\r60%\r", 1000), "50%\\r60%")
    assert.strictEqual(lastChars("日本".repeat(1000), 3), "本日本")
    assert.notMatch(lastChars(hostile.repeat(1000), 1000), raw)
    assert.strictEqual(lastChars("", 5), "")
    assert.strictEqual(lastChars(" \n", 5), "")
  })
})
