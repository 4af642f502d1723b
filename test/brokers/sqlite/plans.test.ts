/** No statement reads a table from one end to the other. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { DatabaseSync } from "node:sqlite"
import { open } from "../../../src/brokers/sqlite/file.ts"
import * as History from "../../../src/brokers/sqlite/history.ts"
import * as Jobs from "../../../src/brokers/sqlite/jobStatements.ts"
import * as Queues from "../../../src/brokers/sqlite/queues.ts"
import { file } from "./harness.ts"

const planOf = (database: DatabaseSync, sql: string): ReadonlyArray<string> => {
  const statement = database.prepare(`EXPLAIN QUERY PLAN ${sql}`)
  statement.setAllowUnknownNamedParameters(true)
  const parameters = Object.fromEntries((sql.match(/\$\w+/g) ?? []).map((name) => [name, 1]))
  return statement.all(parameters).map((row) => String(row["detail"]))
}

const database = Effect.flatMap(file, (path) =>
  Effect.acquireRelease(
    Effect.sync(() => open(path)),
    (database) => Effect.sync(() => database.close())
  ))

describe("query plans", () => {
  // All queues, and all processes, are few.
  const mayScan: ReadonlyArray<string> = [
    "all",
    "others",
    "allIdleWorkersElsewhere",
    "hasOthers",
    "nextResume",
    "forgetIdleWorkers"
  ]

  for (
    const [name, sql] of [...Object.entries(Jobs.sql), ...Object.entries(Queues.sql), ...Object.entries(History.sql)]
  ) {
    it.effect(`${name} scans no table, and sorts nothing`, () =>
      Effect.gen(function*() {
        const plan = planOf(yield* database, sql)
        const scans = plan.filter((step) => /^SCAN (?!\d+-ROW VALUES CLAUSE)/.test(step))
        if (mayScan.includes(name)) assert.isFalse(scans.some((step) => step.includes("job")), plan.join("; "))
        else assert.deepStrictEqual(scans, [])
        const sorts = plan.filter((step) => step.includes("TEMP B-TREE"))
        // leases that end in the same microsecond
        if (name === "listReserved") {
          assert.isTrue(sorts.every((step) => step.includes("FOR LAST TERM")), plan.join("; "))
        } else assert.deepStrictEqual(sorts, [])
      }))
  }

  it.effect("a plan that scans is noticed", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(planOf(yield* database, "SELECT id FROM job WHERE lost > 3"), ["SCAN job"])
    }))
})
