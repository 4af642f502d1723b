import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import * as ProcessGroup from "../../src/process/processGroup.ts"
import { allow, withPrograms } from "../support/limits.ts"

allow(withPrograms)

const group = (script: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly pid: number; readonly line: string }>((resume) => {
      const handle = NodeChildProcess.spawn("sh", ["-c", script], {
        detached: true,
        stdio: ["ignore", "pipe", "ignore"]
      })
      handle.stdout.once("data", (data) => resume(Effect.succeed({ pid: handle.pid!, line: String(data).trim() })))
    }),
    ({ pid }) => Effect.sync(() => ProcessGroup.signal(pid, "SIGKILL"))
  )

/** state and process group: the fields 3 and 5 of proc_pid_stat(5). */
const stat = (pid: number) => {
  const fields = NodeFs.readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]!.split(" ")
  return { state: fields[0], group: Number(fields[2]) }
}

describe("ProcessGroup", () => {
  it.live("a group runs while one of its processes does", () =>
    Effect.gen(function*() {
      const { pid } = yield* group("echo ready; sleep 60")
      assert.isTrue(ProcessGroup.isRunning(pid))
      assert.isTrue(ProcessGroup.signal(pid, "SIGKILL"))
      while (ProcessGroup.isRunning(pid)) yield* Effect.sleep("2 millis")
    }))

  it.live("a group of zombies exists but does not run", () =>
    Effect.gen(function*() {
      // The child gets a group of its own and ends; `sleep`, which took its parent's place, never collects it.
      const { line } = yield* group("setsid true & echo $!; exec sleep 60")
      const zombie = Number(line)
      while (stat(zombie).state !== "Z") yield* Effect.sleep("2 millis")
      assert.strictEqual(stat(zombie).group, zombie)
      assert.isTrue(ProcessGroup.signal(zombie, 0))
      assert.isFalse(ProcessGroup.isRunning(zombie))
    }))
})
