/** Interrupted and detached processes: nothing unwanted is left of one, or of many. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { toText } from "../../src/process/OutputTail.ts"
import * as Process from "../../src/process/Process.ts"
import { isRunning } from "../support/children.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { assertNotAwaited, exited, fails, graceMillis, killAtEnd, openFiles, runner } from "./harness.ts"

allow(withPrograms)

/** The numbers that a script wrote to a file, once it has written them. */
const pidsIn = (file: string, count: number) => {
  const read = () =>
    NodeFs.existsSync(file) ? NodeFs.readFileSync(file, "utf8").split("\n").slice(0, -1).map(Number) : []
  return Effect.map(eventually(`${count} pids in ${file}`, () => read().length >= count), read)
}

describe("timeout and interruption", () => {
  it.live("a timeout ends the whole group and keeps its output", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const reason = yield* fails("TimedOut", {
        command: "sleep 60 & echo $!; sleep 60; true",
        timeout: "150 millis"
      })
      assertNotAwaited(started)
      assert.strictEqual(Duration.toMillis(reason.timeout), 150)
      assert.isFalse(isRunning(reason.pid))
      assert.isFalse(isRunning(Number(toText(reason.stdout))))
    }))

  it.live("SIGTERM comes first, and the process has the grace period", () =>
    Effect.gen(function*() {
      const reason = yield* fails("TimedOut", {
        command: "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done",
        timeout: "150 millis"
      })
      assert.strictEqual(toText(reason.stdout), "bye\n")
    }))

  it.live("a process that ignores SIGTERM gets SIGKILL after the grace period", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const reason = yield* fails("TimedOut", {
        command: "trap '' TERM; (while :; do sleep 0.05; done) & echo $!; while :; do sleep 0.05; done",
        timeout: "100 millis"
      })
      const elapsed = performance.now() - started
      const expected = 100 + graceMillis
      assert.isAtLeast(elapsed, expected - 5)
      assert.isBelow(elapsed, 5 * expected)
      assert.isFalse(isRunning(reason.pid))
      assert.isFalse(isRunning(Number(toText(reason.stdout))))
    }))

  it.live("a process that outlives its leader has the grace period too", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "late")
      yield* fails("TimedOut", {
        command: `(trap 'sleep 0.1; echo late > ${file}; exit' TERM; while :; do sleep 0.02; done) >/dev/null 2>&1 & ` +
          "trap 'exit 0' TERM; while :; do sleep 0.02; done",
        timeout: "150 millis"
      })
      assert.isTrue(NodeFs.existsSync(file))
    }))

  it.live("interruption ends the group and waits for its end", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "pids")
      const fiber = yield* Effect.forkChild(
        exited({ command: `sleep 60 & echo $! >> ${file}; echo $$ >> ${file}; wait` })
      )
      const pids = yield* pidsIn(file, 2)
      assert.isTrue(pids.every(isRunning))
      yield* Fiber.interrupt(fiber)
      assert.isFalse(pids.some(isRunning))
    }))

  it.live("interruption sends SIGKILL after the grace period", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "pids")
      const fiber = yield* Effect.forkChild(
        exited({ command: `trap '' TERM; echo $$ >> ${file}; while :; do sleep 0.05; done` })
      )
      const pids = yield* pidsIn(file, 1)
      const started = performance.now()
      yield* Fiber.interrupt(fiber)
      assert.isAtLeast(performance.now() - started, graceMillis - 5)
      assert.isFalse(pids.some(isRunning))
    }))

  it.live("a timeout does not affect a process that ends in time", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* exited({ command: ["true"], timeout: "1 hour" })).exitCode, 0)
    }))

  it.live("a timeout longer than a timer's maximum waits", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* exited({ command: ["sleep", "0.05"], timeout: "60 days" })).exitCode, 0)
    }))
})

describe("detach", () => {
  it.live("settles once the process has started", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "pids")
      const started = performance.now()
      const result = yield* Process.run({ command: `echo $$ >> ${file}; sleep 60`, detach: true }).pipe(
        Effect.provide(runner)
      )
      yield* killAtEnd(result.pid)
      assertNotAwaited(started)
      assert.strictEqual(result._tag, "Detached")
      const [pid] = yield* pidsIn(file, 1)
      assert.strictEqual(pid, result.pid)
      assert.isTrue(isRunning(result.pid))
      process.kill(-result.pid, "SIGKILL")
      yield* eventually("the end is collected", () => !NodeFs.existsSync(`/proc/${result.pid}`))
    }))

  it.live("the process survives the end of its worker and of the worker's group", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "pids")
      const worker = NodePath.join(dir, "worker.mjs")
      const src = new URL("../../src/process/Process.ts", import.meta.url).href
      NodeFs.writeFileSync(
        worker,
        `
        import * as Effect from ${JSON.stringify(import.meta.resolve("effect/Effect"))}
        import { ProcessRunner, run } from ${JSON.stringify(src)}
        await Effect.runPromise(Effect.provide(
          run({ command: ["sh", "-c", ${JSON.stringify(`echo $$ >> ${file}; sleep 60`)}], detach: true }),
          ProcessRunner.layer
        ))
        ${"process.argv[2] === \"stay\" && setInterval(() => {}, 1000)"}
      `
      )
      const workers = ["leave", "stay"].map((mode) =>
        NodeChildProcess.spawn(process.execPath, [worker, mode], { detached: true, stdio: "ignore" })
      )
      yield* eventually("the worker that has nothing to wait for ends by itself", () => workers[0]?.exitCode === 0)
      yield* killAtEnd(workers[1]!.pid!)
      const pids = yield* pidsIn(file, 2)
      for (const pid of pids) yield* killAtEnd(pid)
      process.kill(-workers[1]!.pid!, "SIGKILL")
      yield* eventually("the worker is killed", () => workers[1]?.signalCode === "SIGKILL")
      assert.isTrue(pids.every(isRunning))
    }))
})

describe("many", () => {
  const zombies = () => {
    const own = NodeFs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
      try {
        const stat = NodeFs.readFileSync(`/proc/${name}/stat`, "latin1")
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        return state === "Z" && parent === String(process.pid) ? [name] : []
      } catch {
        return []
      }
    })
    return own.length
  }
  it.live("200 runs, 32 at a time, leave no zombie and no open file", () =>
    Effect.gen(function*() {
      yield* exited({ command: ["true"] })
      const files = openFiles()
      const results = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i),
        (i) => exited({ command: ["sh", "-c", `echo ${i}; exit ${i % 7}`], input: "x" }),
        { concurrency: 32 }
      )
      assert.deepStrictEqual(
        results.map((r) => [toText(r.stdout), r.exitCode]),
        results.map((_, i) => [`${i}\n`, i % 7])
      )
      assert.strictEqual(zombies(), 0)
      yield* eventually("the pipes are closed", () => openFiles() <= files)
    }))

  it.live("100 timeouts at once leave no process", () =>
    Effect.gen(function*() {
      const reasons = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        () => fails("TimedOut", { command: ["sleep", "60"], timeout: "50 millis" }),
        { concurrency: 32 }
      )
      assert.isFalse(reasons.some((reason) => isRunning(reason.pid)))
      assert.strictEqual(zombies(), 0)
    }))
})
