import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Options from "../../src/internal/options.ts"

const untyped = (value: unknown): any => value

describe("integer", () => {
  it.each([[1, 1, 10], [10, 1, 10], [0, 0, 0], [7, 1, undefined], [Number.MAX_SAFE_INTEGER, 1, undefined]])(
    "%d from %d to %d is allowed",
    (value, min, max) => assert.isUndefined(Options.integer(value, min, max))
  )

  it.each<[unknown, string]>([
    [0, "0"],
    [11, "11"],
    [1.5, "1.5"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
    ["5", "\"5\""],
    [undefined, "undefined"],
    [5n, "5"]
  ])(
    "%s is not",
    (value, quoted) =>
      assert.strictEqual(Options.integer(value, 1, 10), `must be an integer from 1 to 10, not ${quoted}`)
  )

  it("names its unit, and only existing limits", () => {
    assert.strictEqual(Options.integer(0, 1, 8, "bytes"), "must be an integer number of bytes from 1 to 8, not 0")
    assert.strictEqual(Options.integer(0, 1), "must be an integer of at least 1, not 0")
  })
})

describe("duration", () => {
  it.each<[Duration.Input, Options.DurationLimits]>([
    ["10 seconds", {}],
    [-1, {}],
    [Duration.infinity, { isPositive: true }],
    [0, { minMillis: 0 }],
    [1, { isPositive: true, maxSeconds: 1 }],
    ["1 second", { maxSeconds: 1 }]
  ])("%j with %j is allowed", (input, limits) => {
    assert.isUndefined(Options.duration(input, limits))
    assert.isTrue(Duration.isDuration(Result.getOrThrow(Options.readDuration(input, limits))))
  })

  it.each<[unknown, Options.DurationLimits, string]>([
    ["soon", {}, "must be a duration such as \"10 seconds\", not \"soon\""],
    ["", {}, "must be a duration such as \"10 seconds\", not \"\""],
    [NaN, {}, "must be a duration such as \"10 seconds\", not NaN"],
    [0, { isPositive: true }, "must be a duration such as \"10 seconds\", more than 0, not 0"],
    [Duration.millis(-1000), { minMillis: 0 }, "must be a duration such as \"10 seconds\", at least 0, not -1s"],
    [0.5, { minMillis: 1 }, "must be a duration such as \"10 seconds\", at least 1 ms, not 0.5"],
    [
      "2 seconds",
      { isPositive: true, maxSeconds: 1 },
      "must be a duration such as \"10 seconds\", more than 0 and at most 1 seconds, not \"2 seconds\""
    ],
    [Infinity, { isFinite: true }, "must be a duration such as \"10 seconds\", finite, not Infinity"]
  ])("%j with %j is not", (input, limits, rule) => assert.strictEqual(Options.duration(untyped(input), limits), rule))
})

describe("a value in a message", () => {
  it("is bounded, on one line, and harmless", () => {
    const rule = Options.integer(`\u001b[2J\n${"x".repeat(10_000)}`, 1)!
    assert.isBelow(rule.length, 400)
    assert.notMatch(rule, /[\u001b\n]/)
  })

  it("may be a value that can't become text", () => {
    const value = { [Symbol.toPrimitive]: () => assert.fail("read") }
    assert.strictEqual(Options.string(value), "must be a string, not object")
    assert.strictEqual(Options.finite(Symbol("x")), "must be a finite number, not Symbol(x)")
  })
})
