/**
 * The page of benchmarks: `docs/benchmarks.md` has a section for each program,
 * with a part between two marks that `npm run bench -- NAME --write` replaces.
 *
 * It holds ratios, when and on what kind of machine they were found, and no
 * absolute figure: those are different on every machine.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg } from "node:os"
import { join } from "node:path"
import type { Table } from "./record.ts"

/** A benchmark: a program that says how it is run. */
export interface Benchmark {
  readonly name: string
  readonly usage: string
}

/** All benchmarks, by name. */
export const benchmarks: ReadonlyArray<Benchmark> = globSync("*.ts", { cwd: import.meta.dirname }).sort().flatMap(
  (file) => {
    const usage = /npm run bench -- (.+)/.exec(readFileSync(join(import.meta.dirname, file), "utf8"))?.[1]
    const name = file.replace(".ts", "")
    return usage?.startsWith(name) === true ? [{ name, usage }] : []
  }
)

/** What kind of machine it is. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly node: string
  /** How many processes wanted the CPU in the minute before. Above 0.5 others disturb the figures. */
  readonly load: number
}

/** This machine. */
export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown CPU",
  cores: availableParallelism(),
  node: process.version,
  load: loadavg()[0]!
})

/** A run of a benchmark. */
export interface Run {
  readonly name: string
  readonly args: ReadonlyArray<string>
  /** `2026-12-31`. */
  readonly date: string
  readonly machine: Machine
  readonly tables: ReadonlyArray<Table>
}

const row = (cells: ReadonlyArray<string>): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`

const renderTable = ({ columns, rows, title }: Table): string =>
  [`**${title}**`, "", row(["", ...columns]), row(["---", ...columns.map(() => "--:")]), ...rows.map(row)].join("\n")

/** The text of a run. */
export const render = ({ args, date, machine: { cores, cpu, load, node }, name, tables }: Run): string =>
  [
    `${date}, ${cpu}, ${cores} cores, Node.js ${node.replace(/^v/, "")}, load ${load.toFixed(1)} before the run: ` +
    `\`npm run bench -- ${[name, ...args].join(" ")}\``,
    ...tables.map(renderTable)
  ].join("\n\n")

/** The marks around the part of a benchmark. */
export const marks = (name: string) => ({ begin: `<!-- bench ${name} -->`, end: `<!-- end of ${name} -->` })

/** The page with the part of a run's benchmark replaced. Throws where the page has no such part. */
export const replaceIn = (page: string, run: Run): string => {
  const { begin, end } = marks(run.name)
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from) throw new Error(`the page must have ${begin} and, after it, ${end}: add them`)
  return `${page.slice(0, from + begin.length)}\n${render(run)}\n${page.slice(to)}`
}

/** Writes a run into the page. */
export const write = (file: string, run: Run): void => writeFileSync(file, replaceIn(readFileSync(file, "utf8"), run))
