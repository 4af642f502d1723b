/** docs/benchmarks.md: a section for each benchmark, written from what a run recorded. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import * as Page from "../scripts/bench/page.ts"
import { times } from "../scripts/bench/record.ts"

const page = readFileSync(join(import.meta.dirname, "..", "docs", "benchmarks.md"), "utf8")

/** A run as it was recorded. */
const run: Page.Run = {
  name: "sqlite",
  args: ["--rounds", "5"],
  date: "2026-12-01",
  machine: { cpu: "A CPU", cores: 2, node: "v24.21.0", load: 0.04 },
  tables: [
    {
      title: "put, one at a time",
      columns: ["rate", "CPU per job"],
      rows: [["bare", "1.00 x", "1.00 x"], ["a|b", "0.90 x", "1.25 x"]]
    }
  ]
}

const written = `<!-- bench sqlite -->
2026-12-01, A CPU, 2 cores, Node.js 24.21.0, load 0.0 before the run: \`npm run bench -- sqlite --rounds 5\`

**put, one at a time**

|  | rate | CPU per job |
| --- | --: | --: |
| bare | 1.00 x | 1.00 x |
| a\\|b | 0.90 x | 1.25 x |
<!-- end of sqlite -->`

describe("docs/benchmarks.md", () => {
  it("has a section for each benchmark, and no other", () => {
    const names = Page.benchmarks.map(({ name }) => name)
    assert.include(names, "sqlite")
    assert.deepStrictEqual(Array.from(page.matchAll(/^## (.*)$/gm), ([, name]) => name), names)
    for (const name of names) {
      const { begin, end } = Page.marks(name)
      assert.isBelow(page.indexOf(begin), page.indexOf(end), name)
      assert.isAbove(page.indexOf(begin), page.indexOf(`\n## ${name}\n`), name)
    }
  })

  it("replaces the ratios of the last run", () => {
    const once = Page.replaceIn(page, run)
    assert.include(once, written)
    assert.strictEqual(Page.replaceIn(once, run), once)
    assert.strictEqual(
      once.length - page.length,
      written.length - page.slice(
        page.indexOf("<!-- bench sqlite -->"),
        page.indexOf("<!-- end of sqlite -->") + "<!-- end of sqlite -->".length
      ).length
    )
  })

  it("is left as it is where it has no place for a run", () => {
    assert.throws(() => Page.replaceIn("# nothing", run), "the page must have <!-- bench sqlite -->")
  })

  it("names no host", () => {
    const machine = Page.machine()
    assert.hasAllKeys(machine, ["cpu", "cores", "node", "load"])
    assert.notInclude(Page.render({ ...run, machine }), hostname())
  })

  it("a ratio has two digits, and is left out where there is nothing to relate to", () => {
    assert.deepStrictEqual([times(3, 2), times(1, 3), times(0, 0), times(1, 0)], ["1.50 x", "0.33 x", "–", "–"])
  })
})
