/**
 * `npm run times -- REPORT`: which test files and which tests took longest.
 *
 *     npm test -- --reporter=json --outputFile=/tmp/report.json
 *     npm run times -- /tmp/report.json
 *
 * The seconds of a file are those from its first test to its last; the tests
 * of some files run beside each other, and on several cores files do too.
 */
import { readFileSync } from "node:fs"
import { relative } from "node:path"

/** The part of Vitest's JSON report that is read here. */
interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly startTime: number
    readonly endTime: number
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly duration?: number | null }>
  }>
}

/** How many files and tests are listed. */
const listed = 40

const [path] = process.argv.slice(2)
if (path === undefined) {
  console.error("usage: npm run times -- REPORT, a file that npm test -- --reporter=json --outputFile=REPORT wrote")
  process.exit(2)
}

const { testResults } = JSON.parse(readFileSync(path, "utf8")) as Report
const nameOf = (file: string): string => relative(process.cwd(), file)

const files = testResults.map(({ assertionResults, endTime, name, startTime }) => ({
  millis: endTime - startTime,
  line: `${nameOf(name)} (${assertionResults.length} tests)`
}))
const tests = testResults.flatMap(({ assertionResults, name }) =>
  assertionResults.map(({ duration, fullName }) => ({ millis: duration ?? 0, line: `${nameOf(name)}: ${fullName}` }))
)

const print = (title: string, entries: ReadonlyArray<{ readonly millis: number; readonly line: string }>): void => {
  const sum = entries.reduce((total, { millis }) => total + millis, 0)
  console.log(`${title}: ${entries.length}, ${(sum / 1000).toFixed(0)} s in all`)
  for (const { line, millis } of entries.toSorted((a, b) => b.millis - a.millis).slice(0, listed)) {
    console.log(`${(millis / 1000).toFixed(2).padStart(8)} s  ${line}`)
  }
}

print("files", files)
print("tests", tests)
