/**
 * `npm run bench -- NAME [options]`: installs what the benchmarks need, and runs
 * one of them. Without a name it lists them.
 */
import { spawnSync } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { install } from "./bench/install.ts"

const folder = join(import.meta.dirname, "bench")

/** The benchmarks are the programs that say how they are run. */
const benchmarks = globSync("*.ts", { cwd: folder }).sort().flatMap((file) => {
  const usage = /npm run bench -- (.+)/.exec(readFileSync(join(folder, file), "utf8"))?.[1]
  return usage === undefined ? [] : [{ name: file.replace(".ts", ""), usage }]
})

const [name, ...args] = process.argv.slice(2)
const known = benchmarks.some((benchmark) => benchmark.name === name)

if (!known) {
  if (name !== undefined) console.error(`there is no benchmark ${JSON.stringify(name)}`)
  console.log(["npm run bench -- NAME", ...benchmarks.map(({ usage }) => `  ${usage}`)].join("\n"))
  process.exitCode = name === undefined ? 0 : 1
} else if (!install()) {
  console.error("the packages of scripts/bench can't be installed: see above")
  process.exitCode = 1
} else {
  const program = join(folder, `${name}.ts`)
  process.exitCode = spawnSync(process.execPath, ["--expose-gc", program, ...args], { stdio: "inherit" }).status ?? 1
}
