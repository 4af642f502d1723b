/**
 * The result of a test run, in one line: `N passed, N failed[, N skipped]`.
 *
 * Everything that went wrong is counted: a test, a file that did not load, a
 * hook, an error outside of any test, a run that found no test.
 */
import type { TestModule, TestSuite, Vitest } from "vitest/node"

export interface Summary {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export const empty: Summary = { passed: 0, failed: 0, skipped: 0 }

export const add = (a: Summary, b: Summary): Summary => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped
})

export const format = ({ failed, passed, skipped }: Summary): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`

/** A file or a suite with errors of its own fails beyond the tests that it holds. */
const ownFailures = (task: TestModule | TestSuite): number => task.errors().length > 0 ? 1 : 0

const ofModule = (module: TestModule): Summary => {
  let { failed, passed, skipped }: { -readonly [K in keyof Summary]: number } = {
    ...empty,
    failed: ownFailures(module)
  }
  for (const suite of module.children.allSuites()) failed += ownFailures(suite)
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    if (state === "passed") passed++
    else if (state === "skipped") skipped++
    // A test without a verdict never ended.
    else failed++
  }
  return { passed, failed, skipped }
}

/** Counts a run that is over. */
export const ofRun = (vitest: Vitest): Summary => {
  const modules = vitest.state.getTestModules()
  const outside = vitest.state.getUnhandledErrors().length + (modules.length === 0 ? 1 : 0)
  return modules.map(ofModule).reduce(add, { ...empty, failed: outside })
}
