/** The pages: links lead somewhere, decisions have one form, CONTRIBUTING names tests that exist, CI runs the README's commands. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"

const root = join(import.meta.dirname, "..", "..")

const read = (path: string): string => readFileSync(join(root, path), "utf8")

const pages = [
  ...globSync("*.md", { cwd: root }),
  ...globSync("docs/**/*.md", { cwd: root, exclude: (path) => path.endsWith("docs/api") }),
  "scripts/examples/README.md"
]

/** A page without its programs, in which a bracket is no link. */
const prose = (page: string): string => read(page).replace(/^```[^]*?^```$/gm, "").replace(/`[^`\n]*`/g, "``")

/** The anchor that a forge gives a heading. */
const anchorOf = (heading: string): string =>
  heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").trim().replaceAll(" ", "-")

const anchorsOf = (page: string): ReadonlyArray<string> =>
  Array.from(read(page).matchAll(/^#{1,6} (.*)$/gm), ([, heading]) => anchorOf(heading!))

/** Why a link of a page leads nowhere. */
const objection = (page: string, link: string): string | undefined => {
  if (/^https?:/.test(link)) return undefined
  const [path, anchor] = link.split("#")
  const target = path === "" ? page : relative(root, join(root, dirname(page), path!))
  if (!existsSync(join(root, target))) return `${page}: there is no ${target}`
  return anchor === undefined || anchorsOf(target).includes(anchor) ? undefined : `${page}: ${target} has no #${anchor}`
}

describe("pages", () => {
  it("links lead to files and headings that exist", () => {
    const links = pages.flatMap((page) =>
      Array.from(prose(page).matchAll(/\]\(([^)\s]+)\)/g), ([, link]) => [page, link!] as const)
    )
    assert.isAbove(links.length, 50)
    assert.deepStrictEqual(links.flatMap(([page, link]) => objection(page, link) ?? []), [])
  })

  it("a link that leads nowhere is found", () => {
    assert.isDefined(objection("README.md", "docs/nothing.md"))
    assert.isDefined(objection("README.md", "docs/process.md#nothing"))
    assert.isUndefined(objection("README.md", "docs/process.md#what-a-worker-is-willing-to-run"))
  })

  it("the README leads to every page", () => {
    const [readme, ...others] = ["README.md", ...pages.filter((page) => page !== "README.md")]
    const indexes = [readme!, "docs/decisions/README.md"]
    const linked = indexes.flatMap((page) =>
      Array.from(read(page).matchAll(/\]\(([^)#\s]+\.md)/g), ([, link]) => join(dirname(page), link!))
    )
    assert.deepStrictEqual(others.filter((page) => !linked.includes(page)), [])
  })
})

describe("docs/decisions", () => {
  const decisions = readdirSync(join(root, "docs/decisions")).filter((name) => name !== "README.md").sort()

  it.each(decisions)("%s has the form of a decision, and at most 50 lines", (name) => {
    const text = read(`docs/decisions/${name}`)
    assert.match(name, /^\d{3}-[a-z0-9-]+\.md$/)
    assert.isTrue(text.startsWith(`# ${name.slice(0, 3)}: `), "the title begins with the number")
    assert.deepStrictEqual(Array.from(text.matchAll(/^## (.*)$/gm), ([, title]) => title), [
      "Context",
      "Decision",
      "Consequences",
      "Measured",
      "Look again when"
    ])
    assert.isAtMost(text.trimEnd().split("\n").length, 50)
  })

  it("the numbers have no gap", () => {
    assert.deepStrictEqual(decisions.map((name) => Number(name.slice(0, 3))), decisions.map((_, index) => index + 1))
  })
})

describe("CONTRIBUTING.md", () => {
  it("names tests and programs that exist", () => {
    const paths = Array.from(
      read("CONTRIBUTING.md").matchAll(/`((?:\.ci|\.github|docs|scripts|test|src)\/[\w./-]+)`/g),
      ([, path]) => path!
    )
    assert.isAbove(paths.length, 15)
    // what `npm run api` makes is not in the repository
    const kept = paths.filter((path) => !path.includes("NAME") && path !== "docs/api/")
    assert.deepStrictEqual(kept.filter((path) => !existsSync(join(root, path))), [])
  })
})

describe(".github/workflows/ci.yml", () => {
  const workflow = read(".github/workflows/ci.yml")

  it("runs both commands of the README with Node.js 24", () => {
    const commands = Array.from(read("README.md").matchAll(/^(npm ci && npm \w+)/gm), ([, command]) => command!)
    assert.deepStrictEqual(commands, ["npm ci && npm start", "npm ci && npm test"])
    const runs = Array.from(workflow.matchAll(/^ *- run: (.*)$/gm), ([, run]) => run!)
    for (const command of commands.flatMap((line) => line.split(" && "))) {
      assert.isTrue(runs.some((run) => run.endsWith(command)), command)
    }
    assert.match(workflow, /node-version: 24$/m)
  })

  it("names no registry, and the major version of each action", () => {
    assert.notMatch(workflow, /registry/i)
    const actions = Array.from(workflow.matchAll(/uses: (.*)$/gm), ([, action]) => action!)
    assert.isNotEmpty(actions)
    for (const action of actions) assert.match(action, /^actions\/[\w-]+@v\d+$/)
  })
})
