/** The first job of the README is a program that runs. */
import { assert, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { allow, withPrograms } from "./support/limits.ts"
import { shown } from "./support/shown.ts"

allow(withPrograms)

const root = join(import.meta.dirname, "..")
const script = join(root, "scripts/examples/first-job.ts")

it("the README shows scripts/examples/first-job.ts, as a project would write it", () => {
  const [, readme] = /## A first job\n+```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))!
  assert.strictEqual(readme, shown("scripts/examples/first-job.ts"))
})

it("scripts/examples/first-job.ts runs both jobs", () => {
  const output = execFileSync(process.execPath, [script], { encoding: "utf8", timeout: 30_000 })
  assert.match(output, /welcome, user 42/)
  assert.match(output, /welcome, user 43/)
  assert.match(output, /worker stopped: 2 done/)
})
