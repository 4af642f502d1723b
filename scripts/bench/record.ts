/**
 * The results of a benchmark, as ratios, for the page of benchmarks. `npm run bench`
 * names the file with `--write`; without it nothing is recorded.
 */
import { appendFileSync } from "node:fs"

/** The variable that names the file: a line of JSON for each table. */
export const variable = "BACKQ_BENCH_RECORD"

/** A table of ratios. Every row has a name and a cell for each column. */
export interface Table {
  readonly title: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<readonly [name: string, ...cells: ReadonlyArray<string>]>
}

/** `1.25 x`, or nothing where there is nothing to relate to. */
export const times = (value: number, base: number): string =>
  Number.isFinite(value / base) ? `${(value / base).toFixed(2)} x` : "–"

/** Keeps a table for the page. */
export const record = (table: Table): void => {
  const file = process.env[variable]
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(table)}\n`)
}
