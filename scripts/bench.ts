/**
 * `npm run bench -- NAME [options]`: installs what the benchmarks need, and runs
 * one of them. Without a name it lists them.
 *
 * `--write` puts the ratios of the run into `docs/benchmarks.md`, in the place
 * of the last run's; `--write=FILE` into another page of that form.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { install } from "./bench/install.ts"
import * as Page from "./bench/page.ts"
import { type Table, variable } from "./bench/record.ts"

const defaultPage = join(import.meta.dirname, "..", "docs", "benchmarks.md")

const [name, ...rest] = process.argv.slice(2)
const isWrite = (arg: string) => arg === "--write" || arg.startsWith("--write=")
const args = rest.filter((arg) => !isWrite(arg))
const page = rest.filter(isWrite).map((arg) => arg === "--write" ? defaultPage : arg.slice("--write=".length)).at(-1)

const run = (env: NodeJS.ProcessEnv): number =>
  spawnSync(process.execPath, ["--expose-gc", join(import.meta.dirname, "bench", `${name}.ts`), ...args], {
    stdio: "inherit",
    env
  }).status ?? 1

/** Runs it, and writes what it recorded. A run that fails changes nothing. */
const runAndWrite = (benchmark: string, page: string): number => {
  const machine = Page.machine()
  if (machine.load > 0.5) {
    console.error(`this machine is busy (load ${machine.load.toFixed(1)}): write figures of a quiet one`)
  }
  const folder = mkdtempSync(join(tmpdir(), "backq-bench-record-"))
  const file = join(folder, "tables")
  try {
    writeFileSync(file, "")
    const status = run({ ...process.env, [variable]: file })
    if (status !== 0) return status
    const tables = readFileSync(file, "utf8").split("\n").slice(0, -1).map((line): Table => JSON.parse(line))
    if (tables.length === 0) {
      console.error(`nothing was recorded: with ${args.join(" ")} this benchmark compares nothing`)
      return 1
    }
    Page.write(page, { name: benchmark, args, date: new Date().toISOString().slice(0, 10), machine, tables })
    console.log(`\nwritten to ${page}`)
    return 0
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const main = (): number => {
  if (name === undefined || !Page.benchmarks.some((benchmark) => benchmark.name === name)) {
    if (name !== undefined) console.error(`there is no benchmark ${JSON.stringify(name)}`)
    console.log(["npm run bench -- NAME [--write]", ...Page.benchmarks.map(({ usage }) => `  ${usage}`)].join("\n"))
    return name === undefined ? 0 : 1
  }
  if (!install()) {
    console.error("the packages of scripts/bench can't be installed: see above")
    return 1
  }
  return page === undefined ? run(process.env) : runAndWrite(name, page)
}

process.exitCode = main()
