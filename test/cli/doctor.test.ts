/** `backq doctor` on real brokers. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { chmodSync } from "node:fs"
import { dirname } from "node:path"
import { file } from "../brokers/sqlite/harness.ts"
import { beanstalkd, real } from "../support/beanstalkd.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"

allow(withPrograms)

describe("backq doctor", () => {
  it.live("a file: prints good findings, problems and advice", () =>
    Effect.gen(function*() {
      const path = yield* file
      const broker = ["--broker", `sqlite:${path}`]
      yield* run(["publish", "process", ...broker, "--timeout", "10m", "--", "true"])
      const people = yield* run(["doctor", ...broker])
      assert.strictEqual(people.code, 0, people.stderr)
      assert.match(people.stdout, /^✔ an accepted job survives a loss of power/m)
      assert.match(
        people.stdout,
        /^! queue process: 1 job ready, but no worker serves the queue\n {4}→ start a worker/m
      )
      assert.match(people.stdout, /^– the broker can't list finished jobs\n {4}→ set history in the URL/m)
      assert.match(people.stdout, /^0 errors, \d warnings$/m)
      const kept = yield* run(["doctor", "--broker", `sqlite:${path}?history=1d`])
      assert.notInclude(kept.stdout, "can't")

      chmodSync(dirname(path), 0o755)
      chmodSync(path, 0o666)
      const machines = yield* run(["doctor", ...broker, "--json", "--known", "resize"])
      assert.strictEqual(machines.code, 6)
      assert.strictEqual(machines.stderr, "backq: 2 errors found: see above")
      const { errors, findings } = JSON.parse(machines.stdout)
      assert.strictEqual(errors, 2)
      assert.includeMembers(findings.map((one: { check: string }) => one.check), ["permissions", "unknown", "ttr"])
    }))

  it.live("a missing file is not created", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["doctor", "--broker", `sqlite:${yield* file}`])
      assert.strictEqual(code, 2)
      assert.include(stderr, "there is no file")
    }))

  it.live("a file whose jobs have no room", () =>
    Effect.gen(function*() {
      const path = yield* file
      yield* run(["publish", "process", "--broker", `sqlite:${path}`, "--", "true"])
      const { code, stdout } = yield* run(["doctor", "--broker", `sqlite:${path}?max-job-size=128`])
      assert.strictEqual(code, 6)
      assert.match(stdout, /^✘ a job may have at most 128 bytes.*\n {4}→ raise max-job-size in the URL/m)
    }))

  real("beanstalkd with -z 128", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd(["-z", "128"])
      const { code, stdout } = yield* run(["doctor", "--broker", `beanstalk://127.0.0.1:${port}`])
      assert.strictEqual(code, 6)
      assert.match(stdout, /^✘ a job may have at most 128 bytes.*\n {4}→ start it with a larger -z/m)
    }))

  real("beanstalkd without -b", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { code, stdout } = yield* run(["doctor", "--broker", `beanstalk://127.0.0.1:${port}`])
      assert.strictEqual(code, 6)
      assert.match(stdout, /^✘ beanstalkd runs without -b: .*\n {4}→ start it with -b DIR/m)
      assert.match(
        stdout,
        /^– the broker can't list all jobs of a queue; .*list finished jobs; keep the attempts of transferred jobs; count time in less/m
      )
    }))
})
