import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as DurationInput from "../../src/internal/durationInput.ts"
import * as Process from "../../src/process/index.ts"

const times: ReadonlyArray<readonly [Duration.Input, number]> = [
  [0, 0],
  [-5, -5],
  [Infinity, Infinity],
  [7n, 0.000007],
  ["2 seconds", 2000],
  [[1, 500_000_000], 1500],
  [{ seconds: 0 }, 0],
  [{ minutes: 1, seconds: 5 }, 65_000],
  [Duration.minutes(1), 60_000]
]

const others: ReadonlyArray<unknown> = [
  [NaN, [NaN, 0], [1], {}, null, undefined, true, () => 1, Symbol("s"), "", "NaN", "5", "5 lightyears"],
  [new Date(), new Map(), { second: 5 }, { seconds: NaN }, { seconds: "5" }, { minutes: 1, seconds: NaN }]
].flat()

describe("a duration of a program", () => {
  it.each(times)("%o", (input, millis) => {
    assert.strictEqual(Duration.toMillis(DurationInput.fromInputUnsafe(input)), millis)
    assert.deepStrictEqual(Option.map(DurationInput.fromInput(input), Duration.toMillis), Option.some(millis))
  })

  it.each(others)("%o is not a duration", (input) => {
    assert.isTrue(Option.isNone(DurationInput.fromInput(input as never)))
    assert.throws(() => DurationInput.fromInputUnsafe(input as never))
  })

  it("process policies reject them too", () => {
    assert.throws(() => Process.ExitPolicy.make({ retryAfter: { 75: NaN } }))
  })
})
