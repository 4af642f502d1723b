/** The broker in a file on a system without a `/proc`: who died is unknown, and its leases end with their time. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { vi } from "vitest"
import * as Liveness from "../../../src/brokers/sqlite/liveness.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertInfo, done, take } from "../../conformance/Harness.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { child, file, request } from "./harness.ts"

allow(withPrograms)

vi.mock("node:fs", async (original) => {
  const { withoutProc } = await import("../../support/withoutProc.ts")
  return withoutProc(await original())
})

describe("without a /proc", () => {
  const self = Liveness.self()

  it("only the pid of a process is known", () => {
    assert.deepStrictEqual(self, { pid: process.pid, started: null, world: null })
  })

  const others: ReadonlyArray<readonly [other: string, process: Liveness.Process]> = [
    ["this one", self],
    ["an ended process", { ...self, pid: 4_000_000 }],
    ["a process of another boot or container", { pid: 4_000_000, started: "1", world: "a-boot pid:[1]" }]
  ]

  it.each(others)("no process is known to be dead: %s", (_, other) => {
    assert.isFalse(Liveness.isDead(other, self))
    assert.isFalse(Liveness.isOfFormerBoot(other, self))
  })

  it.live("the jobs of a killed process are served again after their time to run", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const id = yield* broker.put("q", request("a", { ttr: "1 second" }))
      const holder = yield* child("hold", path)
      yield* holder.until((line) => line === `holds ${id}`)
      yield* holder.kill
      assert.include(yield* inspector.statsQueue("q"), { reserved: 1, ready: 0 })
      const consumer = yield* broker.consume(["q"])
      const lease = yield* take(consumer)
      assert.strictEqual(lease.id, id)
      yield* assertInfo(consumer, lease, { attempt: 2, abandoned: 1 })
      yield* done(consumer, lease)
    }))
})
