/** CHANGELOG.md has each item once, which a merge can undo unseen. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const text = readFileSync(join(import.meta.dirname, "..", "..", "CHANGELOG.md"), "utf8")

describe("CHANGELOG.md", () => {
  it("has no item twice", () => {
    const starts = Array.from(text.matchAll(/^- (.{20,40})/gm), ([, start]) => start!)
    assert.isAbove(starts.length, 50)
    assert.deepStrictEqual(starts.filter((start, i) => starts.indexOf(start) !== i), [])
  })
})
