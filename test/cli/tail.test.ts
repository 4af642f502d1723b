/** `backq tail` beside a real worker. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { chmodSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { format } from "../../src/cli/commands/tail.ts"
import { file } from "../brokers/sqlite/harness.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run as runHere } from "./command.ts"
import { run, start } from "./program.ts"

allow(withPrograms)

describe("backq tail", () => {
  it.live("shows what becomes of jobs, for people and for machines", () =>
    Effect.gen(function*() {
      const broker = ["--broker", `sqlite:${yield* file}`]
      const worker = yield* start(["work", "process", ...broker, "--queue", "tailed", "--retry-times", "0"])
      const people = yield* start(["tail", "--queue", "tailed"])
      const machines = yield* start(["tail", "--queue", "tailed", "--json"])
      const publish = (...command: ReadonlyArray<string>) =>
        runHere(["publish", "process", ...broker, "--queue", "tailed", "--", ...command])
      // Until both follow.
      yield* eventually(
        "both follow",
        Effect.map(publish("true"), () => people.stdout() !== "" && machines.stdout() !== "")
      )
      yield* publish("no-such-program")
      yield* eventually("both see it", () =>
        [people, machines].every((tail) => tail.stdout().includes("no-such-program")))
      for (const program of [people, machines, worker]) {
        yield* program.signal("SIGTERM")
      }
      assert.strictEqual((yield* people.ended).code, 0)
      assert.strictEqual((yield* machines.ended).code, 0)

      assert.match(
        people.stdout(),
        /^\d\d:\d\d:\d\d\.\d{3} {2}done +tailed {2}process {2}#\d+ {2}attempt 1 {2}\d+ ms$/m
      )
      assert.match(
        people.stdout(),
        /buried +tailed {2}process {2}#\d+ {2}attempt 1 {2}\d+ ms {2}can't start no-such-program/
      )
      const events = machines.stdout().trim().split("\n").map((line) =>
        JSON.parse(line)
      )
      // a process that ends later may come last
      const buried = events.filter(({ outcome }) => outcome === "Buried")
      assert.strictEqual(buried.length, 1)
      assert.deepInclude(buried[0], { outcome: "Buried", queue: "tailed", job: "process", attempt: 1 })
    }))

  it.live("waits for workers that start later, and says so", () =>
    Effect.gen(function*() {
      const env = { XDG_RUNTIME_DIR: yield* folder }
      const broker = ["--broker", `sqlite:${yield* file}`]
      const tail = yield* start(["tail"], undefined, env)
      yield* eventually("it waits", () => tail.stderr() !== "")
      assert.strictEqual(tail.stderr(), "backq: no worker of this user offers outcomes yet; waiting for one\n")
      yield* runHere(["publish", "process", ...broker, "--", "true"])
      yield* run(["work", "process", ...broker, "--max-jobs", "1"], undefined, env)
      yield* eventually("it saw the job", () => /done +process/.test(tail.stdout()))
    }))

  it.live("refuses a folder that isn't this user's alone, with a line that says what to do", () =>
    Effect.gen(function*() {
      const runtime = yield* folder
      mkdirSync(join(runtime, "backq"))
      chmodSync(join(runtime, "backq"), 0o755)
      const { code, stderr, stdout } = yield* run(["tail"], undefined, { XDG_RUNTIME_DIR: runtime })
      assert.strictEqual(code, 2)
      assert.strictEqual(stdout, "")
      assert.match(
        stderr,
        /^backq: the folder of the workers, .*, is open to others \(mode 0755\): run chmod 700 .*\n$/
      )
    }))

  it("any event is exactly one safe line", () => {
    const hostile = "a\u001b]0;t\u0007\r\n\u009b2J\u202e\u2028\ud800"
    const event = { at: 1, pid: 2, outcome: "Retried", queue: hostile, jobId: hostile, duration: 4 } as const
    for (const more of [{}, { job: hostile, id: hostile, reason: hostile, attempt: 1, delay: 8.64e15 }]) {
      const line = format({ ...event, ...more })
      assert.notMatch(line, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      assert.include(line, "a\\x1b]0;t\\x07\\r\\n\\x9b2J\\u{202e}\\u{2028}\\u{d800}")
    }
    const long = "x".repeat(60_000)
    assert.isBelow(format({ ...event, queue: long, job: long, jobId: long, reason: long }).length, 4000)
  })

  it("shows the time of day, in any year", () => {
    const event = { at: 0, pid: 1, outcome: "Done", queue: "q", jobId: "1", duration: 0 } as const
    assert.match(format({ ...event, at: 86_399_999 }), /^23:59:59\.999  done/)
    assert.match(format({ ...event, at: 8.64e15 - 1 }), /^23:59:59\.999  done/)
  })

  it.live("follows no process that does not offer its outcomes", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* runHere(["tail", "--pid", "1"])
      assert.strictEqual(code, 5)
      assert.match(stderr, /^backq: process 1 offers no outcomes: .*$/)
    }))
})
