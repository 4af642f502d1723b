import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { cutter, maxLineBytes } from "../../src/tail/lines.ts"
import { allow, withMuchData } from "../support/limits.ts"

allow(withMuchData)

/** Cuts bytes that come in pieces of some sizes, in turn. */
const cut = (bytes: Uint8Array, sizes: ReadonlyArray<number>): Result.Result<ReadonlyArray<string>, "TooLong"> => {
  const next = cutter()
  const lines: Array<string> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!
    const more = next(bytes.subarray(at, at + size))
    if (Result.isFailure(more)) return Result.fail(more.failure)
    lines.push(...more.success)
    at += size
  }
  return Result.succeed(lines)
}

describe("lines", () => {
  it.prop(
    "are the same for any pieces",
    {
      lines: Schema.Array(Schema.String),
      sizes: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
    },
    ({ lines, sizes }) => {
      const expected = lines.map((line) => line.replaceAll("\n", " ").toWellFormed())
      const bytes = Buffer.from(expected.map((line) => `${line}\n`).join("") + "not ended")
      assert.deepStrictEqual(
        cut(bytes, sizes),
        Result.succeed(expected.map((line) => new TextDecoder().decode(Buffer.from(line))))
      )
    }
  )

  it("have a maximum size", () => {
    const ok = `${"x".repeat(maxLineBytes)}\n`
    const long = `${"x".repeat(maxLineBytes + 1)}\n`
    for (const sizes of [[1], [7], [65_536], [1e9]]) {
      assert.isTrue(Result.isSuccess(cut(Buffer.from(ok + ok), sizes)), `pieces of ${sizes}`)
      assert.deepStrictEqual(cut(Buffer.from(ok + long), sizes), Result.fail("TooLong"))
      assert.deepStrictEqual(cut(Buffer.from(long.slice(0, -1)), sizes), Result.fail("TooLong"), "without its end")
    }
  })
})
