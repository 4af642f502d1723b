/** Processes on a system without a `/proc`: a zombie counts as running, and still nothing is left. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { existsSync, readdirSync } from "node:fs"
import { vi } from "vitest"
import { toText } from "../../src/process/OutputTail.ts"
import * as ProcessGroup from "../../src/process/processGroup.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { exited, fails } from "./harness.ts"

allow(withPrograms)

vi.mock("node:fs", async (original) => {
  const { withoutProc } = await import("../support/withoutProc.ts")
  return withoutProc(await original())
})

/** The real states: nobody collects orphans in a container without an init, so that they stay zombies. */
const hasEnded = (pid: number): boolean => {
  const stat = Result.try(() => process.getBuiltinModule("node:fs").readFileSync(`/proc/${pid}/stat`, "latin1"))
  return Result.isFailure(stat) || /^\d+ \(.*\) [ZX]/.test(stat.success)
}

describe("without a /proc", () => {
  it("the tests see no /proc", () => {
    assert.isFalse(existsSync("/proc/self/stat"))
    assert.throws(() => readdirSync("/proc"))
  })

  it.live("a group runs as long as it exists", () =>
    Effect.gen(function*() {
      const result = yield* exited({ command: ["true"] })
      assert.isTrue(hasEnded(result.pid))
      assert.isFalse(ProcessGroup.isRunning(result.pid))
      assert.isFalse(ProcessGroup.isRunning(2 ** 22 - 1))
    }))

  it.live("output and exit code arrive", () =>
    Effect.gen(function*() {
      const result = yield* exited({ command: ["sh", "-c", "echo out; exit 3"] })
      assert.deepStrictEqual([result.exitCode, result.stdout.total], [3, 4])
    }))

  it.live("a timeout ends the whole group", () =>
    Effect.gen(function*() {
      const reason = yield* fails("TimedOut", { command: "sleep 60 & echo $!; sleep 60; true", timeout: "100 millis" })
      assert.strictEqual(Duration.toMillis(reason.timeout), 100)
      assert.isTrue(hasEnded(reason.pid))
      assert.isTrue(hasEnded(Number(toText(reason.stdout))))
    }))
})
