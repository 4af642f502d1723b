/** `backq bench` leaves nothing behind. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import { file } from "../brokers/sqlite/harness.ts"
import { eventually } from "../support/eventually.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"
import { start } from "./program.ts"

allow(withPrograms)

describe("backq bench", () => {
  it.live("measures publishing, working and the way between them", () =>
    Effect.gen(function*() {
      const path = yield* file
      const args = ["bench", "--jobs", "200", "--broker", `sqlite:${path}?durability=normal`]
      const people = yield* run(args)
      assert.strictEqual(people.code, 0, people.stderr)
      assert.match(people.stdout, /^publish, one at a time +\d+ +[\d.]+$/m)
      assert.match(people.stdout, /^work, 64 at once, .* +\d+ +[\d.]+$/m)
      assert.match(people.stdout, /from publish to start: [\d.]+ ms median/)

      const machines = JSON.parse((yield* run([...args, "--json"])).stdout)
      assert.strictEqual(machines.broker, `sqlite:${path}`)
      for (const what of ["publish", "publishAll", "work"]) assert.isAbove(machines[what].perSecond, 0)
      assert.isAtMost(machines.latency.median, machines.latency.p99)
      assert.deepStrictEqual(yield* (yield* SqliteBroker.make({ path })).inspector.queues, [])
    }))

  it.live("empties its queue when it is interrupted", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { inspector } = yield* SqliteBroker.make({ path })
      const program = yield* start(["bench", "--jobs", "1000000", "--broker", `sqlite:${path}?durability=normal`])
      const ready = Effect.map(inspector.stats, (stats) => stats.ready)
      yield* eventually("it has published", Effect.map(ready, (jobs) => jobs > 2000))
      yield* program.signal("SIGTERM")
      assert.strictEqual((yield* program.ended).code, 130)
      assert.strictEqual(yield* ready, 0)
    }))
})
