/**
 * `npm test`: servers, formatting, lint, types, then the tests.
 *
 * Every step runs, even after a failed one, and a step that fails
 * counts as one failure. The last line is the summary; the exit code is 0 only
 * when it says `0 failed`. With arguments (`npm test -- test/worker`) only
 * those tests run; they are vitest's arguments. `--no-install` installs no
 * server.
 *
 * With `CI=true` a server that can't be had is a failure; elsewhere its tests
 * are skipped.
 */
import { spawnSync } from "node:child_process"
import { parseCLI, startVitest } from "vitest/node"
import * as Bench from "./bench/install.ts"
import * as Servers from "./test/servers.ts"
import { skipped } from "./test/skipped.ts"
import * as Summary from "./test/summary.ts"

const ci = process.env["CI"] === "true"
const isInstalling = !process.argv.includes("--no-install")
const args = process.argv.slice(2).filter((arg) => arg !== "--no-install")

const failedSteps: Array<string> = []

let skippedSteps = 0

const step = (script: string): void => {
  console.log(`> ${script}`)
  const { status } = spawnSync("npm", ["run", "--silent", script], { stdio: ["ignore", "inherit", "inherit"] })
  // A step without its tool is skipped, except in CI.
  if (status === skipped && !ci) skippedSteps++
  else if (status !== 0) failedSteps.push(script)
}

const runTests = async (): Promise<Summary.Summary> => {
  const { filter, options } = parseCLI(["vitest", "run", ...args])
  try {
    const vitest = await startVitest("test", filter, { ...options, run: true, watch: false })
    const summary = Summary.ofRun(vitest)
    await vitest.close()
    return summary
  } catch (error) {
    console.error(error)
    return { ...Summary.empty, failed: 1 }
  }
}

const missing = Servers.missing()
const absent = isInstalling ? Servers.install(missing) : missing
if (absent.length > 0) {
  const why = isInstalling ? "can't be installed here (it takes apt-get and root)" : "not installed"
  console.log(`${absent.join(", ")}: ${why}; the tests that need them are skipped`)
  if (ci) failedSteps.push("servers")
}

// Without a network the benchmarks are neither checked nor run.
if (isInstalling && args.length === 0 && !Bench.install() && ci) failedSteps.push("bench")

if (args.length === 0) ["format:check", "lint", "check"].forEach(step)

const summary = Summary.add(await runTests(), {
  passed: 0,
  failed: failedSteps.length,
  skipped: skippedSteps
})
if (failedSteps.length > 0) console.log(`failed before the tests: ${failedSteps.join(", ")}`)
process.stdout.write(`${Summary.format(summary)}\n`, () => process.exit(summary.failed === 0 ? 0 : 1))
