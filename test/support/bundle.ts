/**
 * Bundles the programs that tests start dozens of times: a bundle starts in a
 * third of the time. Vitest runs this once, before the tests of a project.
 */
import { build } from "esbuild"
import { copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    /** The folder of the bundles: `dist/cli` has `bin.js`, the `backq` program, and `main.child.js`. */
    readonly bundle?: string
  }
}

const root = join(import.meta.dirname, "..", "..")

/** Provides the bundles, and returns a function that removes them. */
export default async (project: TestProject): Promise<() => void> => {
  const folder = mkdtempSync(join(tmpdir(), "backq-bundle-"))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  // A run that is interrupted is not torn down.
  process.once("exit", remove)
  // The program reads its version there.
  copyFileSync(join(root, "package.json"), join(folder, "package.json"))
  await build({
    entryPoints: [join(root, "src", "cli", "bin.ts"), join(root, "test", "main", "main.child.ts")],
    outdir: join(folder, "dist", "cli"),
    entryNames: "[name]",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node24",
    // Some packages call `require`, which a module does not have.
    banner: {
      js: "import { createRequire as makeRequire } from \"node:module\"; const require = makeRequire(import.meta.url);"
    },
    logLevel: "error"
  })
  project.provide("bundle", folder)
  return remove
}
