/** docs/cli.md has the same commands, arguments, flags and words as `--help`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { commandsBelow, helpOf, part } from "./help.ts"

const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "cli.md"), "utf8")

const sectionOf = (title: string): string => {
  const start = page.indexOf(`\n${title}\n`)
  assert.isAtLeast(start, 0, `the page has no "${title}"`)
  const end = page.slice(start + title.length + 1).search(/^##/m)
  return end < 0 ? page.slice(start) : page.slice(start, start + title.length + 1 + end)
}

/** The rows of a section's tables whose first cell is code. */
const rowsOf = (section: string): ReadonlyArray<string> => section.split("\n").filter((line) => line.startsWith("| `"))

const row = (head: string, text: string): string => {
  const choices = text.replace(/ \(choices: (.*)\)$/, (_, list: string) => ` (\`${list.split(", ").join("`, `")}\`)`)
  return `| \`${head.replaceAll("|", "\\|")}\` | ${choices} |`
}

const argument = ([head, text]: readonly [string, string]) => row(head.split(" ")[0]!.toUpperCase(), text)

const flag = ([head, text]: readonly [string, string]) =>
  row(head.replace(/ choice$/, "").replace(/ string$/, " TEXT"), text)

/** These have the same meaning everywhere, and are described once. */
const common = ["--json", "--yes, -y"]

describe("docs/cli.md", () => {
  it.live("has exactly the commands", () =>
    Effect.gen(function*() {
      const headings = Array.from(page.matchAll(/^### (.*)$/gm), ([, title]) => title!)
      assert.sameMembers(headings.filter((title) => title !== "Completions"), yield* commandsBelow())
    }))

  it.live("has the help text of each command, with an example", () =>
    Effect.gen(function*() {
      for (const command of yield* commandsBelow()) {
        const help = yield* helpOf(...command.split(" "))
        const flags = part(help, "FLAGS").filter(([head]) => !common.includes(head))
        const section = sectionOf(`### ${command}`)
        assert.deepStrictEqual(rowsOf(section), [...part(help, "ARGUMENTS").map(argument), ...flags.map(flag)], command)
        assert.match(section, new RegExp(`^(\\$ )?backq ${command}\\b`, "m"))
      }
    }))

  it.live("has the help text of the shared flags", () =>
    Effect.gen(function*() {
      const rows = rowsOf(sectionOf("## Everywhere"))
      for (const one of part(yield* helpOf(), "FLAGS")) assert.include(rows, flag(one))
      for (const head of common) assert.isTrue(rows.some((one) => one.startsWith(`| \`${head}\` |`)), head)
      assert.lengthOf(rows, 2 + common.length)
    }))

  it.live("all commands but work and publish have --json, and those that ask have --yes", () =>
    Effect.gen(function*() {
      const asking = ["kick", "move", "delete", "drain"]
      for (const command of yield* commandsBelow()) {
        const heads = part(yield* helpOf(...command.split(" ")), "FLAGS").map(([head]) => head)
        assert.strictEqual(heads.includes("--json"), !/^(work|publish) /.test(command), `${command} --json`)
        assert.strictEqual(heads.includes("--yes, -y"), asking.includes(command), `${command} --yes`)
      }
    }))
})
