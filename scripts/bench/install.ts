/**
 * Installs what only the benchmarks need: the libraries that backq is measured
 * beside. They are in a folder of their own, so that nobody else gets them.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

const folder = import.meta.dirname

const read = (name: string): string | undefined => {
  const path = join(folder, name)
  return existsSync(path) ? readFileSync(path, "utf8") : undefined
}

/** The packages that a lock file names, without the project itself. */
const packagesOf = (lock: string | undefined): string => {
  if (lock === undefined) return ""
  const packages: Record<string, { readonly version?: string; readonly optional?: boolean }> = JSON.parse(lock).packages
  return Object.entries(packages)
    .flatMap(([path, { optional, version }]) => path === "" || optional === true ? [] : [`${path}@${version}`])
    .sort()
    .join("\n")
}

/** Whether the packages of the lock file are installed. */
export const isInstalled = (): boolean => {
  const wanted = packagesOf(read("package-lock.json"))
  return wanted !== "" && wanted === packagesOf(read("node_modules/.package-lock.json"))
}

/** Installs the packages, unless they are there already. Returns whether they are there. */
export const install = (): boolean => {
  if (isInstalled()) return true
  console.log("> npm ci in scripts/bench: the libraries that the benchmarks measure backq beside (100 MB)")
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"]
  })
  return status === 0
}
