import { assert, describe, it } from "@effect/vitest"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { blankLine, clip, oneLine, safeJson, safeLine, safeLines, safeName } from "../../src/internal/text.ts"
import { cpuMillis } from "../support/cpu.ts"
import { allow, withMuchData } from "../support/limits.ts"

allow(withMuchData)

/** Less than this is noise: code that is not linear takes far longer for 200,000 characters. */
const leastMillis = 1

/** How much longer four times as much takes; quadratic code takes 16 times as long. */
const growth = (run: (length: number) => void): number => {
  const time = (length: number) => Math.min(...Array.from({ length: 3 }, () => cpuMillis(() => run(length))))
  run(100_000)
  return time(800_000) / Math.max(time(200_000), leastMillis)
}

describe("text of others", () => {
  it("a text of several lines becomes one line", () => {
    assert.strictEqual(
      oneLine("Expected string\n  at [\"a\"]\r\n\n  at [\"b\"]\n"),
      "Expected string at [\"a\"] at [\"b\"]"
    )
    assert.strictEqual(oneLine("x".repeat(10), 4), "xxxx … and 6 more characters")
  })

  it("takes time linear in its length, for any text", () => {
    for (const char of [" ", "\t", "\n", "\r", " \n", "\u001b[", "\ud800", "a "]) {
      const long = char.repeat(800_000 / char.length)
      assert.isBelow(growth((length) => void oneLine(long.slice(0, length))), 10, JSON.stringify(char))
      assert.isBelow(growth((length) => void safeLines(long.slice(0, length))), 10, JSON.stringify(char))
    }
  })

  it("characters that control a terminal are escaped", () => {
    assert.strictEqual(safeLine("a\u001b]0;title\u0007b"), "a\\x1b]0;title\\x07b")
    assert.strictEqual(safeLine("one\r\ntwo\tthree"), "one\\r\\ntwo\\tthree")
    assert.strictEqual(
      safeLine("\u009b31m \u202egpj.exe \u2066\u200b\u00ad"),
      "\\x9b31m \\u{202e}gpj.exe \\u{2066}\\u{200b}\\xad"
    )
    assert.strictEqual(safeLine("\u2028\u2029\ufeff\ud800"), "\\u{2028}\\u{2029}\\u{feff}\\u{d800}")
    assert.strictEqual(safeLine("Zażółć gęślą 😀 日本"), "Zażółć gęślą 😀 日本")
    assert.strictEqual(safeLines("a\u0007\nb"), "a\\x07\nb")
  })

  it("or left out", () => {
    assert.strictEqual(blankLine("\u001b[31mred\u009b0m\u202e\r\n\u2028x\ud800"), " [31mred 0m    x ")
    assert.strictEqual(blankLine("Zażółć 😀"), "Zażółć 😀")
  })

  it("JSON reads as the same value, and never controls a terminal", () => {
    const value = { "\u202ekey": "\u001b[2J\u009b31m\u2028\ufeff\u{e0001}\ud800\n\\u0041 Zażółć 😀", n: [1, null] }
    const json = safeJson(value)
    assert.notMatch(json, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
    assert.include(json, "Zażółć 😀")
    assert.deepStrictEqual(JSON.parse(json), value)
  })

  it("a clipped text does not keep the rest in memory", () => {
    setFlagsFromString("--expose-gc")
    const heapUsed = (): number => {
      runInNewContext("gc")()
      return process.memoryUsage().heapUsed
    }
    const before = heapUsed()
    const kept = Array.from({ length: 500 }, (_, i) => clip(JSON.parse(`"${"x".repeat(100_000)}${i}"`), 100))
    assert.isBelow(heapUsed() - before, 10_000_000)
    assert.lengthOf(kept, 500)
  })

  it("is bounded, and no character is cut in two", () => {
    assert.strictEqual(clip("ab😀c", 3), "ab … and 3 more characters")
    assert.strictEqual(clip("ab😀c", 4), "ab😀 … and 1 more characters")
    assert.isBelow(safeName("\u0007".repeat(60_000)).length, 1000)
  })
})
