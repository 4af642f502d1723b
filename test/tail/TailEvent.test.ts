import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { JobId } from "../../src/Broker.ts"
import { maxLineBytes } from "../../src/tail/lines.ts"
import { fromOutcome, Line } from "../../src/tail/TailEvent.ts"

const decode = Schema.decodeUnknownResult(Line)

describe("TailEvent", () => {
  it("a line is never too long, for any outcome", () => {
    for (const char of ["x", "\u0001", "\u202e", "\ud800", "😀", "\n"]) {
      const text = char.repeat(100_000)
      const event = fromOutcome(
        {
          _tag: "Retried",
          queue: "q".repeat(200),
          jobId: "1" as JobId,
          job: text,
          id: text,
          attempt: 1,
          duration: -5,
          delay: Duration.infinity,
          reason: text,
          failure: undefined,
          cause: undefined
        },
        -1,
        7
      )
      const line = JSON.stringify(event)
      assert.isBelow(Buffer.byteLength(line), maxLineBytes / 2)
      assert.deepStrictEqual(decode(line), Result.succeed(event))
    }
  })

  it("invalid values are not an event", () => {
    const good = { at: 1, pid: 2, outcome: "Done", queue: "q", jobId: "3", duration: 4 }
    assert.isTrue(Result.isSuccess(decode(JSON.stringify(good))))
    const bad: ReadonlyArray<Record<string, unknown>> = [
      { at: 1e300 },
      { at: -1 },
      { at: "1" },
      { duration: 1e300 },
      { duration: null },
      { outcome: "Retried", delay: -1 },
      { outcome: "done" },
      { pid: 1.5 },
      { queue: ["q"] },
      { reason: { toString: "x" } }
    ]
    for (const one of bad) {
      assert.isTrue(Result.isFailure(decode(JSON.stringify({ ...good, ...one }))), JSON.stringify(one))
    }
    for (const line of ["", "null", "[]", "{", "\"x\"", "1e999", "[".repeat(60_000)]) {
      assert.isTrue(Result.isFailure(decode(line)), line.slice(0, 10))
    }
  })
})
