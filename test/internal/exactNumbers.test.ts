import { assert, describe, it } from "@effect/vitest"
import * as ExactNumbers from "../../src/internal/exactNumbers.ts"

const again = (number: string): string => JSON.stringify(ExactNumbers.parse(`{"a":[ ${number}]}`)).slice(6, -2)

describe("numbers as they were written", () => {
  it.each([
    "1234567890123456789",
    "-1234567890123456789",
    "9007199254740993",
    "9007199254740993.0",
    "12345678901234567890e-10",
    "0.1000000000000000055",
    `0.${"1".repeat(120)}`,
    "1e400",
    "-1e400",
    "1E-400",
    "2e-324",
    "-0",
    "-0.0",
    "-0e5",
    // doubles have them, and are written with fewer digits
    "1152921504606846976",
    "-9223372036854775808",
    "18446744073709551616",
    "1420070400000000000128.0"
  ])("keeps the digits of %s, which JSON.parse would change", (number) => {
    assert.strictEqual(again(number), number)
    const parsed = ExactNumbers.parse(number)
    assert.isTrue(ExactNumbers.isRawNumber(parsed))
  })

  it.each([
    ["0", "0"],
    ["1E3", "1000"],
    ["1.50", "1.5"],
    ["-0.5", "-0.5"],
    ["4.35", "4.35"],
    ["1e22", "1e+22"],
    ["9007199254740992", "9007199254740992"],
    ["10000000000000000000000", "1e+22"],
    // as many languages write 0.7 and 0.1
    ["0.69999999999999996", "0.7"],
    ["0.1000000000000000055511151231257827", "0.1"],
    ["5e-324", "5e-324"],
    ["1.7976931348623157e308", "1.7976931348623157e+308"]
  ])("reads %s as the number that it is", (number, written) => {
    assert.strictEqual(typeof ExactNumbers.parse(number), "number")
    assert.strictEqual(again(number), written)
  })

  it("leaves everything else unchanged", () => {
    const text = `{"__proto__":{"a":12345678901234567890},"s":": 12345678901234567890 1e400","n":[null,true,-0.25]}`
    assert.strictEqual(JSON.stringify(ExactNumbers.parse(text)), text)
    assert.throws(() => ExactNumbers.parse("{\"a\":12345678901234567890"), SyntaxError)
    for (const other of [1, "1", null, {}, { rawJSON: "1" }, ExactNumbers.parse]) {
      assert.isFalse(ExactNumbers.isRawNumber(other))
    }
  })

  it("reads most texts without a closer look", () => {
    for (
      const text of [
        `{"token":"${"12345678".repeat(8)}","id":"0193e2c8-6d1e-7c4a-9b57-2f0a8e6d41b3","at":1764000000000,"x":-0.5}`,
        `["1e5","4e7a",123456789012345,12.5]`
      ]
    ) assert.isFalse(ExactNumbers.mayChange(text), text)
  })
})
