/** The commands that `brokers.ts` does not cover, on a real PostgreSQL with a password. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { eventually } from "../support/eventually.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { cluster, isMissing, real } from "../support/postgres.ts"
import { run } from "./command.ts"
import { start } from "./program.ts"

allow(withPrograms)

const password = "pw%20of-the-test"

describe.skipIf(isMissing)("backq on PostgreSQL", () => {
  real("publishes, works, watches, checks and measures, and shows no password", () =>
    Effect.gen(function*() {
      const { port, psql } = yield* cluster({ password: decodeURIComponent(password) })
      const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
      const shown: Array<string> = []
      const backq = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const ended = yield* run([...args, "--broker", url])
        shown.push(ended.stdout, ended.stderr)
        return ended
      })
      const publish = ["publish", "process", "--broker", url, "--", "true"]
      assert.include(yield* run(publish), { code: 0, stderr: "" })
      const watch = yield* start(["watch", "--broker", url, "--interval", "50ms"])
      yield* eventually("the first look", () => /process {2}1 ready/.test(watch.stdout()))
      yield* watch.signal("SIGTERM")
      assert.strictEqual((yield* watch.ended).code, 0)

      const worked = yield* backq("work", "process", "--max-jobs", "1")
      assert.strictEqual(worked.code, 0, worked.stderr)
      assert.include(yield* backq("publish", "apns", "--body", "hello", "--token", "a1".repeat(32)), { code: 0 })
      const doctor = yield* backq("doctor")
      assert.strictEqual(doctor.code, 0, doctor.stderr)
      assert.match(doctor.stdout, /^! queue apns: 1 job ready, but no worker serves the queue$/m)
      assert.notMatch(doctor.stdout, /queue process/)
      const bench = yield* backq("bench", "--jobs", "100", "--json")
      assert.strictEqual(JSON.parse(bench.stdout).broker, `postgres://127.0.0.1:${port}/postgres`)
      const bad = yield* run(["queues", "--broker", url.replace(password, "other-secret")])
      assert.strictEqual(bad.code, 2)
      assert.match(bad.stderr, /password/)
      const mistyped = yield* run(["doctor", "--broker", `${url}?schema=mistyped`])
      assert.strictEqual(mistyped.code, 2)
      assert.match(mistyped.stderr, /schema "mistyped": there is no such schema, .*: run backq migrate$/)
      assert.strictEqual(yield* psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'mistyped'"), "0")
      const silent = yield* run(["queues", "--broker", `postgres://postgres@127.0.0.1:${port}/postgres`])
      assert.match(silent.stderr, /set PGPASSWORD, or give it in the URL/)
      for (const text of [...shown, bad.stderr]) {
        assert.notInclude(text, password)
        assert.notInclude(text, decodeURIComponent(password))
        assert.notInclude(text, "other-secret")
      }
    }))
})
