/**
 * The plan of every statement is the same whatever the server believes of the
 * tables: new, vacuumed while empty, filled, analyzed, emptied, filled again. No
 * statement that runs often reads the table of jobs from one end to the other.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as JobStatements from "../../../src/brokers/postgres/jobStatements.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { settings } from "../../../src/brokers/postgres/servers.ts"
import { allow, withServers } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"

allow(withServers)

const s = "\"plans\""

/** Statements that count every job, or find what a dead process held: they read the part of one state. */
const readsAll = new Set(["statsAll", "queues", "statsQueue"])

const statements = {
  ...JobStatements.make(s),
  ...Object.fromEntries(
    Object.entries(JobStatements.make(s, 1000)).filter(([name]) => name.startsWith("done")).map(([name, sql]) =>
      [`${name} with history`, sql] as const
    )
  )
}

const fill = `INSERT INTO ${s}.job (queue, state, priority, due, ttr, holder, lease, burial, body)
  SELECT 1 + i % 3, i % 4, i % 7, CASE WHEN i % 4 IN (1, 2) THEN now() + i * interval '1 second' END, 60000,
    CASE WHEN i % 4 = 2 THEN 1 END, CASE WHEN i % 4 = 2 THEN i / 100 END, CASE WHEN i % 4 = 3 THEN i END, 'body'
  FROM generate_series(1, 4000) AS i`

/** What is done to the tables before each look. */
const states: ReadonlyArray<readonly [name: string, sql: ReadonlyArray<string>]> = [
  ["new", []],
  ["vacuumed while empty", [`VACUUM ANALYZE ${s}.job`]],
  ["filled, not analyzed", [fill]],
  ["analyzed", [`VACUUM ANALYZE ${s}.job`]],
  ["emptied and vacuumed", [`DELETE FROM ${s}.job`, `VACUUM ANALYZE ${s}.job`]],
  ["filled again", [fill]]
]

/** Parameters that the planner does not know: with NULL it would plan nothing. */
const generic = "SET plan_cache_mode = force_generic_plan"

/** What runs for every job or every moment. */
const hot = ["put", "reserve", "done", "settle", "touch", "advance", "nextDue", "forgetDone"]

const session = Object.entries(settings).map(([name, value]) => `SET ${name} = '${value}'`)

/** The plan of a statement with parameters that are not known, as the broker's sessions make it. */
const explain = (name: string, sql: string): string => {
  const parameters = Math.max(0, ...Array.from(sql.matchAll(/\$(\d+)/g), ([, place]) => Number(place)))
  const values = Array.from({ length: parameters }, () => "NULL").join(", ")
  return [
    `PREPARE asked AS ${sql}`,
    `SELECT '## ${name}'`,
    `EXPLAIN (COSTS OFF) EXECUTE asked${parameters === 0 ? "" : `(${values})`}`,
    "DEALLOCATE asked"
  ].join(";\n")
}

/** What a plan reads the tables of jobs by. PostgreSQL orders the parts of an OR by what they may cost. */
const readsOf = (plan: string): ReadonlyArray<string> =>
  Array.from(
    plan.matchAll(
      /(Seq Scan on (?:job|done)\b|(?:Index|Index Only|Bitmap Index) Scan (?:Backward )?(?:using|on) (?:job|done)_\w+)/g
    ),
    ([read]) => read
  ).sort()

describe.skipIf(isMissing)("query plans of PostgreSQL", () => {
  const server = sharedCluster({ settings: ["autovacuum=off"] })

  real(
    "every statement has one plan in the six states of a table, and none scans the jobs",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* Effect.scoped(PostgresBroker.make({ url, schema: "plans" }))
        yield* psql(`INSERT INTO ${s}.queue (name) VALUES ('a'), ('b'), ('c')`)
        const known = new Map<string, string>()
        for (const [state, changes] of states) {
          for (const sql of changes) yield* psql(sql)
          const asked = Object.entries(statements).map(([name, sql]) => explain(name, sql))
          const output = yield* psql([...session, ...asked].join(";\n"))
          const plans = output.split("## ").slice(1)
          assert.strictEqual(plans.length, Object.keys(statements).length)
          for (const text of plans) {
            const [name = ""] = text.split("\n")
            const reads = readsOf(text)
            const wrong = `${name}, ${state}:\n${text}`
            if (!readsAll.has(name)) assert.isFalse(reads.some((read) => read.startsWith("Seq Scan")), wrong)
            const before = known.get(name)
            if (before === undefined) known.set(name, reads.join("\n"))
            else assert.strictEqual(reads.join("\n"), before, wrong)
          }
        }
        assert.match(known.get("reserve")!, /using job_ready/)
        assert.match(known.get("done")!, /using job_pkey/)
        assert.match(known.get("settle")!, /using job_pkey/)
      })
  )

  // Behind a pooler a session has the server's own settings.
  real(
    "with the server's own settings, no statement that runs often scans thousands of jobs",
    () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* Effect.scoped(PostgresBroker.make({ url, schema: "plans" }))
        yield* psql(`TRUNCATE ${s}.job`)
        for (const [state, changes] of states) {
          for (const sql of changes) yield* psql(sql)
          if (!/filled|analyzed/.test(state)) continue
          const asked = hot.map((name) => explain(name, statements[name as keyof typeof statements]))
          for (const plan of (yield* psql([generic, ...asked].join(";\n"))).split("## ").slice(1)) {
            assert.isTrue(plan.startsWith("put") || readsOf(plan).length > 0, plan)
            assert.isFalse(readsOf(plan).some((read) => read === "Seq Scan on job"), `${state}: ${plan}`)
          }
        }
      })
  )

  real("a plan that scans is noticed", () =>
    Effect.gen(function*() {
      const { psql } = server()
      const plan = yield* psql([...session, explain("bad", `SELECT id FROM ${s}.job WHERE lost > 3`)].join(";\n"))
      assert.deepStrictEqual(readsOf(plan), ["Seq Scan on job"])
    }))
})
