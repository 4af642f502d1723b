/** The examples in docs/testing.md are tested code. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { shown } from "../support/shown.ts"

const root = join(import.meta.dirname, "..", "..")

const page = readFileSync(join(root, "docs/testing.md"), "utf8")

describe("docs/testing.md", () => {
  const example = shown("test/testing/example.test.ts")

  it("shows the example that is tested", () => {
    assert.strictEqual(/```ts\n([^]*?)```/.exec(page)?.[1], example)
  })

  it("shows a test of less than 25 lines", () => {
    assert.isBelow(example.trimEnd().split("\n").length, 25)
  })

  it("shows the example of the APNs simulator that is tested", () => {
    assert.strictEqual(
      /### The simulator\n[^]*?```ts\n([^]*?)```/.exec(page)?.[1],
      shown("test/testing/apns/pushes.test.ts")
    )
  })
})
