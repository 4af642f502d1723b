import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import { loggable } from "../../src/internal/loggable.ts"
import * as Strange from "../support/strange.ts"

const circle = () => {
  const value: Record<string, unknown> = { code: 7 }
  value["self"] = value
  return value
}

describe("a cause for loggers", () => {
  it.each<readonly [string, unknown]>([
    ["an error", new TypeError("x")],
    ["an error with fields", Object.assign(new Error("x"), { code: "E1", data: Strange.doubled(40) })],
    ["an object", { code: 42, at: new Date(0), rows: [1, 2, { a: "b" }] }],
    ["an object that contains itself", circle()],
    ["an object twice", [circle(), circle()]],
    ["a value of Effect's", Option.some({ a: 1 })],
    ["a text", "words"],
    ["nothing", undefined]
  ])("is the same where printing it is harmless: %s", (_, defect) => {
    const cause = Cause.die(defect)
    assert.strictEqual(loggable(cause), cause)
  })

  it.each<readonly [string, unknown]>([
    ["of 2^40 pieces", Strange.doubled(40)],
    ["of friends", Strange.friends(40)],
    ["of friends, as a cause", new Error("x", { cause: Strange.friends(40) })],
    ["of friends, as a message", { message: Strange.friends(40) }],
    ["of long keys", { ["k".repeat(10_000)]: 1 }],
    ["of many numbers", Array.from({ length: 3000 }, (_, index) => index)]
  ])("is a copy where the text has no end, or is long: %s", (_, defect) => {
    const cause = Cause.die(defect)
    assert.notStrictEqual(loggable(cause), cause)
    assert.isBelow(Cause.pretty(loggable(cause)).length, 3000)
  })
})
