/** `backq migrate`: what it runs, and what it prints for psql. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { currentVersion } from "../../src/brokers/postgres/schema.ts"
import { allow, withServers } from "../support/limits.ts"
import { isMissing, real, sharedCluster } from "../support/postgres.ts"
import { run } from "./command.ts"

allow(withServers)

describe("backq migrate", () => {
  it.live("is for PostgreSQL alone, and says so without secrets", () =>
    Effect.gen(function*() {
      for (const url of ["memory:", "sqlite:x.db", "beanstalk://localhost"]) {
        const { code, stderr, stdout } = yield* run(["migrate", "--broker", url])
        assert.include(stderr, "must be postgres://HOST/DATABASE")
        assert.deepStrictEqual([code, stdout], [1, ""])
      }
      const named = yield* run(["migrate", "--print", "--broker", "postgres://a/b?schema=A"])
      assert.strictEqual(named.code, 1)
      assert.include(named.stderr, "schema must be")
    }))

  describe.skipIf(isMissing)("with a server", () => {
    const server = sharedCluster()

    real("makes a schema with the rights of roles, once", () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        yield* psql("CREATE ROLE app; CREATE ROLE web")
        const args = ["migrate", "--broker", `${url}?schema=jobs`, "--worker", "app", "--publisher", "web"]
        const first = yield* run(args)
        assert.deepStrictEqual(first, {
          code: 0,
          stdout: `schema jobs is at version ${currentVersion}; it was missing`,
          stderr: ""
        })
        const second = yield* run([...args, "--json"])
        assert.deepStrictEqual(JSON.parse(second.stdout), { schema: "jobs", from: currentVersion, to: currentVersion })
        const rights = (role: string) => psql(`SELECT has_table_privilege('${role}', 'jobs.job', 'DELETE')`)
        assert.deepStrictEqual([yield* rights("app"), yield* rights("web")], ["t", "f"])
        const absent = yield* run(["migrate", "--broker", url, "--worker", "nobody"])
        assert.notStrictEqual(absent.code, 0)
        assert.include(absent.stderr, "create the role, or name another (role \"nobody\" does not exist)")
      }))

    real("prints a script that psql runs", () =>
      Effect.gen(function*() {
        const { psql, url } = server()
        const { code, stdout } = yield* run(["migrate", "--print", "--broker", `${url}?schema=printed`])
        assert.strictEqual(code, 0)
        yield* psql(stdout)
        yield* psql(stdout)
        assert.strictEqual(yield* psql("SELECT version FROM printed.meta"), String(currentVersion))
        assert.strictEqual(yield* psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'backq'"), "0")
      }))
  })
})
