/**
 * `npm run check`: the types of everything, and the diagnostics of Effect.
 *
 * The compiler with Effect's diagnostics is built for some platforms only.
 * Elsewhere TypeScript's own compiler checks the types. The exit code is 0 for
 * a clean check, and `skipped` where this platform has no compiler at all. The
 * benchmarks are checked where their packages are installed.
 */
import { spawnSync } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { isInstalled } from "./bench/install.ts"
import { skipped } from "./test/skipped.ts"

const resolve = (module: string): string | undefined => {
  try {
    return createRequire(import.meta.url).resolve(module)
  } catch {
    return undefined
  }
}

/** The compiler with Effect's diagnostics, where this platform has one. */
const withDiagnostics = (): string | undefined => {
  const manifest = resolve(`@effect/tsgo-${process.platform}-${process.arch}/package.json`)
  return manifest && join(dirname(manifest), "lib", process.platform === "win32" ? "tsc.exe" : "tsc")
}

/** TypeScript's own compiler, where this platform has one. */
const typesOnly = (): string | undefined => {
  const manifest = resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`)
  return manifest && join(dirname(manifest), "lib", process.platform === "win32" ? "tsc.exe" : "tsc")
}

const checkProject = (compiler: string, project: string): number => {
  const { error, status } = spawnSync(compiler, ["-p", project, ...process.argv.slice(2)], { stdio: "inherit" })
  if (error !== undefined) console.error(`${compiler} can't be started: ${error.message}`)
  return status ?? 1
}

/** Checks everything and returns the exit code. */
const check = (): number => {
  const compiler = withDiagnostics() ?? typesOnly()
  if (compiler === undefined) {
    console.log(`no compiler for ${process.platform} ${process.arch} is installed: the check is skipped`)
    return skipped
  }
  if (withDiagnostics() === undefined) {
    console.log(`Effect's diagnostics are not built for ${process.platform} ${process.arch}: only types are checked`)
  }
  const projects = isInstalled() ? ["tsconfig.json", "scripts/bench/tsconfig.json"] : ["tsconfig.json"]
  return Math.max(...projects.map((project) => checkProject(compiler, project)))
}

process.exitCode = check()
