/** `backq tail` beside a real worker. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { folder } from "../beanstalk/servers.ts"
import { file } from "../sqlite/harness.ts"
import { eventually, run, start } from "./program.ts"

describe("backq tail", () => {
  it.live("shows what becomes of jobs, for people and for machines", () =>
    Effect.gen(function*() {
      const broker = ["--broker", `sqlite:${yield* file}`]
      const worker = yield* start(["work", "process", ...broker, "--queue", "tailed", "--retry-times", "0"])
      const people = yield* start(["tail", "--queue", "tailed"])
      const machines = yield* start(["tail", "--queue", "tailed", "--json"])
      const publish = (...command: ReadonlyArray<string>) =>
        run(["publish", "process", ...broker, "--queue", "tailed", "--", ...command])
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
      assert.deepInclude(events.at(-1), { outcome: "Buried", queue: "tailed", job: "process", attempt: 1 })
    }), 60_000)

  it.live("waits for workers that start later, and says so", () =>
    Effect.gen(function*() {
      const env = { XDG_RUNTIME_DIR: yield* folder }
      const broker = ["--broker", `sqlite:${yield* file}`]
      const tail = yield* start(["tail"], undefined, env)
      yield* eventually("it waits", () => tail.stderr() !== "")
      assert.strictEqual(tail.stderr(), "backq: no worker of yours offers outcomes yet; waiting\n")
      yield* run(["publish", "process", ...broker, "--", "true"])
      yield* run(["work", "process", ...broker, "--max-jobs", "1"], undefined, env)
      yield* eventually("it saw the job", () => /done +process/.test(tail.stdout()))
    }), 60_000)

  it.live("follows no process that does not offer its outcomes", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["tail", "--pid", "1"])
      assert.strictEqual(code, 5)
      assert.match(stderr, /^backq: process 1 offers no outcomes: .*\n$/)
    }))
})
