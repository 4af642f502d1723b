/**
 * `npm run api`: writes the API reference of everything that a user can import
 * to `docs/api`, as pages. The entry points are the subpaths of package.json;
 * each page sorts by `@category`.
 *
 * TypeDoc needs a TypeScript of its own; both are in `scripts/api`, which this
 * program installs.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { entryPoints } from "./api/exports.ts"

const root = join(import.meta.dirname, "..")
const folder = join(import.meta.dirname, "api")

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): void => {
  const { error, status } = spawnSync(command, args, { cwd, stdio: ["ignore", "inherit", "inherit"] })
  if (error !== undefined) console.error(`${command} can't be started: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

if (!existsSync(join(folder, "node_modules", "typedoc"))) {
  console.log("> npm ci in scripts/api: TypeDoc and its TypeScript (46 MB)")
  run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
}
run(
  folder,
  process.execPath,
  join("node_modules", "typedoc", "bin", "typedoc"),
  ...entryPoints.flatMap((path) => ["--entryPoints", join(root, path)]),
  ...process.argv.slice(2)
)
