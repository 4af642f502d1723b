/** The programs of docs/postgres.md that publish and settle in transactions. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Publisher, Worker } from "../../../src/index.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"
import { shown } from "../../support/shown.ts"
import { Charge, charge } from "./charge.ts"

allow(withPrograms)

const server = sharedCluster()

const programs = ["pg", "postgres", "kysely", "drizzle"]

describe("docs/postgres.md shows tested code", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/postgres.md"), "utf8")

  it.each(["send-welcome", "charge", ...programs.map((name) => `sign-up-${name}`)])("%s.ts", (name) => {
    assert.include(page, "```ts\n" + shown(`test/docs/transactions/${name}.ts`) + "```\n")
  })
})

/** Signs a user up twice with each program, in a process of its own, since they close no pool. */
const script = programs.map((name, user) =>
  `{
  const { signUp } = await import(${JSON.stringify(join(import.meta.dirname, `sign-up-${name}.ts`))})
  await signUp(${user})
  await signUp(${user}).then(() => console.log("${name}: signed up"), () => console.log("${name}: refused"))
}`
).join("\n")

describe.skipIf(isMissing)("docs/postgres.md", () => {
  real("each client signs a user up with a job, or neither", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql("CREATE TABLE users (id int PRIMARY KEY)")
      const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", `${script}\nprocess.exit(0)`], {
        encoding: "utf8",
        env: { ...process.env, DATABASE_URL: url }
      })
      assert.strictEqual(stdout, programs.map((name) => `${name}: refused\n`).join(""))
      const users = "convert_from(body, 'UTF8')::json -> 'payload' ->> 'userId'"
      assert.strictEqual(yield* psql(`SELECT string_agg(${users}, ',' ORDER BY id) FROM backq.job`), "0,1,2,3")
      yield* psql("TRUNCATE backq.job")
    }))

  real("an account is charged once", () =>
    Effect.gen(function*() {
      const { psql, url } = server()
      yield* psql("CREATE TABLE accounts (id int, cents int); INSERT INTO accounts VALUES (1, 100)")
      yield* Effect.gen(function*() {
        yield* Publisher.publish(Charge, { account: 1, cents: 30 })
        yield* Worker.run({ maxJobs: 1 }, charge)
      }).pipe(Effect.provide(
        Publisher.layer.pipe(
          Layer.provideMerge(PostgresBroker.layerSql()),
          Layer.provideMerge(PgClient.layer({ url: Redacted.make(url) }))
        )
      ))
      assert.strictEqual(yield* psql("SELECT cents FROM accounts"), "70")
      assert.strictEqual(yield* psql("SELECT count(*) FROM backq.job"), "0")
    }))
})
