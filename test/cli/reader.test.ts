/** Whether the reader of a pipe has left, by `/proc`: here a fake one, or none. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { vi } from "vitest"
import { left } from "../../src/cli/reader.ts"

const proc = vi.hoisted(() => ({ entries: {} as Record<string, string | ReadonlyArray<string>> }))

vi.mock("node:fs", async (original) => {
  const read = (path: string) => {
    const entry = proc.entries[path]
    if (entry === undefined) throw Object.assign(new Error(`ENOENT: '${path}'`), { code: "ENOENT" })
    return entry
  }
  return { ...await original<object>(), readdirSync: read, readFileSync: read, readlinkSync: read }
})

/** Our descriptor, which is a pipe. */
const own = { "/proc/self/fd/1": "pipe:[7]" }
const hidden = { ...own, "/proc": ["1", "42", "self"], "/proc/42": ["fd"] }
/** Another process, which has the pipe open for reading. */
const reading = {
  ...hidden,
  "/proc/42/fd": ["0"],
  "/proc/42/fd/0": "pipe:[7]",
  "/proc/42/fdinfo/0": "flags:\t0100000\n"
}
const writing = { ...reading, "/proc/42/fdinfo/0": "flags:\t0100001\n" }
const gone = { ...own, "/proc": ["1", "self"] }

/** Whether the reader is known to have left, after a minute of each of these. */
const isLeft = Effect.fnUntraced(function*(...times: ReadonlyArray<typeof proc.entries>) {
  proc.entries = times[0]!
  const fiber = yield* Effect.forkChild(left(1))
  for (const entries of times) {
    proc.entries = entries
    yield* TestClock.adjust("1 minute")
  }
  return fiber.pollUnsafe() !== undefined
})

describe("the reader of a pipe", () => {
  const rows: ReadonlyArray<readonly [what: string, times: ReadonlyArray<typeof proc.entries>, isLeft: boolean]> = [
    ["a reader that was seen and is gone has left", [reading, gone], true],
    ["a reader that still reads has not", [reading], false],
    ["a reader that hides its files has not", [reading, hidden], false],
    ["a reader that was never seen has not", [hidden, gone], false],
    ["who only writes is none", [writing, gone], false],
    ["a file has no reader", [{ "/proc/self/fd/1": "/tmp/a-file" }], false],
    ["without a /proc none is known", [{}], false]
  ]

  it.effect.each(rows)(
    "%s",
    ([, times, expected]) => Effect.map(isLeft(...times), (isLeft) => assert.strictEqual(isLeft, expected))
  )
})
