/** The audit of the ledger finds what it is there to find. */
import { assert, describe, it } from "@effect/vitest"
import { audit } from "./ledger.ts"

const left = (...ids: ReadonlyArray<string>) => new Map(ids.map((id) => [id, "waiting"] as const))

describe("ledger", () => {
  it("accepts jobs that are done, retried, buried or waiting, or cut off by a kill", () => {
    const result = audit([
      "put 1 10",
      "start 1 20",
      "failed 1 20",
      "retried 1 20",
      "start 1 20",
      "handled 1 20",
      "done 1 20",
      "put 2 10",
      "start 2 20",
      "failed 2 20",
      "buried 2 20",
      "put 3 10",
      "put 4 10",
      "start 4 20",
      "handled 4 20",
      "put 5 10",
      "start 5 20",
      "kill serve 20",
      "start 5 21",
      "handled 5 21",
      "done 5 21",
      "kill feed 10",
      "start 6 21",
      "handled 6 21",
      "done 6 21"
    ], new Map([["2", "buried"], ["3", "waiting"]]))
    assert.deepStrictEqual(result, {
      violations: [],
      kills: { feed: 1, serve: 1 },
      put: 5,
      done: 3,
      buried: 1,
      waiting: 1,
      unanswered: 1,
      unprinted: 1
    })
  })

  const faults: Record<string, readonly [string, ReadonlyArray<string>, ReadonlyMap<string, "waiting" | "buried">]> = {
    "a job that is gone unhandled": ["1 is lost", ["put 1 10"], left()],
    "a job that is gone and was handled by a worker that lives": [
      "1 is lost",
      ["put 1 10", "start 1 20", "handled 1 20"],
      left()
    ],
    "a job that is gone while it ran in a killed worker": [
      "1 is lost",
      ["put 1 10", "start 1 20", "kill serve 20"],
      left()
    ],
    "a job that was buried and is gone": ["buried and is gone", ["put 1 10", "buried 1 20"], left()],
    "a job that was done and is there": [
      "done and is there",
      ["put 1 10", "start 1 20", "handled 1 20", "done 1 20"],
      left("1")
    ],
    "a run after the end": [
      "runs after it was done",
      ["put 1 10", "start 1 20", "handled 1 20", "done 1 20", "kill serve 20", "start 1 21"],
      left()
    ],
    "two runs at once": ["runs already in 20", ["put 1 10", "start 1 20", "start 1 21"], left("1")],
    "a second run without a kill": [
      "which is alive",
      ["put 1 10", "start 1 20", "handled 1 20", "start 1 21"],
      left("1")
    ],
    "a killed worker that goes on beside the next": [
      "runs in 21 by now",
      ["put 1 10", "start 1 20", "kill serve 20", "start 1 21", "handled 1 20"],
      left("1")
    ],
    "an id that comes twice": ["an id comes twice", ["put 1 10", "put 1 11"], left("1")],
    "an unexpected outcome": ["is not expected", ["put 1 10", "odd 1 20"], left("1")],
    "half a line": ["is not a whole line", ["put 1"], left("1")]
  }

  for (const [name, [message, lines, rest]] of Object.entries(faults)) {
    it(`finds ${name}`, () => {
      assert.include(audit(lines, rest).violations.join("\n"), message)
    })
  }
})
