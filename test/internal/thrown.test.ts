import { assert, describe, it } from "@effect/vitest"
import * as Thrown from "../../src/internal/thrown.ts"

const throwing = () => {
  throw new Error("no")
}

const unreadable: ReadonlyArray<readonly [string, unknown]> = [
  ["a message getter that throws", Object.defineProperty(new Error("x"), "message", { get: throwing })],
  ["a name getter that throws", Object.defineProperty(new Error("x"), "name", { get: throwing })],
  ["a _tag getter that throws", Object.defineProperty({}, "_tag", { get: throwing, enumerable: true })],
  ["a _tag that can't be text", { _tag: { toString: throwing } }],
  ["a _tag without a prototype", { _tag: Object.create(null) }],
  ["a proxy that answers nothing", new Proxy({}, { get: throwing, has: throwing, getPrototypeOf: throwing })]
]

describe("values that user code throws", () => {
  for (const [name, failure] of unreadable) {
    it(`${name} has a description`, () => {
      assert.strictEqual(Thrown.describe(failure).text, "failed with an error that can't be read")
      assert.strictEqual(Thrown.messageOfThrown(failure), "failed with an error that can't be read")
    })
  }

  it("is described by its tag or class and its message", () => {
    assert.strictEqual(Thrown.describe(new TypeError("bad")).text, "TypeError: bad")
    assert.strictEqual(Thrown.describe(new TypeError("")).text, "TypeError")
    assert.strictEqual(Thrown.describe({ _tag: "Mine" }).text, "Mine")
    assert.strictEqual(Thrown.describe("words").text, "words")
    assert.strictEqual(Thrown.describe("").text, "failed with string")
    assert.strictEqual(Thrown.describe(null).text, "failed with null")
    assert.strictEqual(Thrown.describe(Symbol("s")).text, "failed with symbol")
    assert.strictEqual(Thrown.describe(Object.assign(new Error("x"), { message: { a: 1 } })).text, "Error")
    assert.strictEqual(Thrown.messageOfThrown(new Error("bad")), "bad")
  })

  it("is bounded", () => {
    assert.isBelow(Thrown.describe(new Error("x".repeat(1_000_000))).text.length, 3000)
    assert.isBelow(Thrown.describe({ _tag: "x".repeat(1_000_000) }).text.length, 1000)
  })
})
