/** The processes of a program end before it, at any end; and `Main.run` handles signals and pipes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { inject } from "vitest"
import { environment, executable } from "../cli/program.ts"
import { hasProc, isRunning, sendSignal, stateOf } from "../support/children.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"

allow(withPrograms)

const root = join(import.meta.dirname, "..", "..")

const bundle = inject("bundle")

/** The program that runs a process: a bundle where the project of the test provides one. */
const runner = bundle === undefined
  ? join(import.meta.dirname, "main.child.ts")
  : join(bundle, "dist", "cli", "main.child.js")

const start = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, args, {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...environment(), ...env }
      })
      let output = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text) => output += text)
      }
      const ended = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) =>
        child.once("close", (code, signal) => resolve([code, signal]))
      )
      return { child, output: () => output, ended: Effect.promise(() => ended) }
    }),
    ({ child, ended }) => Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), ended)
  )

/** A program that runs a process, and the numbers of that process and its child. */
const running = Effect.fnUntraced(function*(how: string) {
  const file = join(yield* folder, "pids")
  const program = yield* start([runner, how, file])
  yield* eventually("the process runs", () => existsSync(file) && readFileSync(file, "utf8").endsWith("\n"))
  return { ...program, pids: readFileSync(file, "utf8").trim().split(" ").map(Number) }
})

const onLinux = describe.skipIf(!hasProc).concurrent

onLinux("no process outlives its program", () => {
  const ends: ReadonlyArray<
    readonly [how: string, signals: ReadonlyArray<NodeJS.Signals>, code: number | null, signal: NodeJS.Signals | null]
  > = [
    // Node.js makes SIGHUP and SIGQUIT end a program that does not listen to them
    ["NodeRuntime.runMain", ["SIGHUP"], null, "SIGHUP"],
    ["NodeRuntime.runMain", ["SIGQUIT"], null, "SIGQUIT"],
    ["runFork", ["SIGTERM"], null, "SIGTERM"],
    ["runFork", ["SIGINT"], null, "SIGINT"],
    // what restarts a program while it is written, a limit of CPU time, an alarm, a watchdog, a battery
    ["runFork", ["SIGUSR2"], null, "SIGUSR2"],
    ["NodeRuntime.runMain", ["SIGXCPU"], null, "SIGXCPU"],
    ["runFork", ["SIGALRM"], null, "SIGALRM"],
    ["runFork", ["SIGVTALRM"], null, "SIGVTALRM"],
    ["Main.run", ["SIGABRT"], null, "SIGABRT"],
    ["Main.run", ["SIGTERM", "SIGPWR"], null, "SIGPWR"],
    ["process.exit", ["SIGUSR2"], 3, null],
    ["an error that nobody catches", ["SIGUSR2"], 1, null],
    ["Main.run", ["SIGTERM", "SIGTERM"], 130, null],
    ["Main.run", ["SIGINT", "SIGTERM"], 130, null],
    ["Main.run", ["SIGHUP", "SIGINT"], 130, null],
    ["Main.run", ["SIGQUIT"], 130, null]
  ]
  for (const [how, signals, code, signal] of ends) {
    it.live(`${how}: ${signals.join(", ")}`, () =>
      Effect.gen(function*() {
        const { child, ended, pids } = yield* running(how)
        for (const one of signals) yield* sendSignal(child.pid!, one)
        assert.deepStrictEqual(yield* ended, [code, signal])
        yield* eventually("the processes are gone", () => !pids.some(isRunning))
      }))
  }
})

describe.skipIf(!hasProc || !existsSync("/bin/bash")).concurrent("Ctrl-Z", () => {
  it.live.each(["Main.run", "runFork"])(
    "%s: processes stop and go on with their program",
    (how) =>
      Effect.gen(function*() {
        const file = join(yield* folder, "pids")
        // a shell with job control: a program that nobody could continue is not stopped
        const line = `set -m; "${process.execPath}" "${runner}" ${how} ${file} &
        echo $!; read`
        const shell = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const child = spawn("/bin/bash", ["-c", line], { stdio: ["pipe", "pipe", "ignore"], env: environment() })
            let output = ""
            child.stdout.setEncoding("utf8").on("data", (text) => output += text)
            return { child, program: () => Number(output) }
          }),
          ({ child, program }) =>
            Effect.sync(() => {
              if (stateOf(program()) !== undefined) process.kill(program(), "SIGKILL")
              child.kill("SIGKILL")
            })
        )
        yield* eventually("the process runs", () => existsSync(file) && readFileSync(file, "utf8").endsWith("\n"))
        const program = shell.program()
        const pids = readFileSync(file, "utf8").trim().split(" ").map(Number)
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const pid of pids.filter(isRunning)) process.kill(pid, "SIGKILL")
          })
        )
        // twice: it must also get the second
        for (let i = 0; i < 2; i++) {
          process.kill(program, "SIGTSTP")
          yield* eventually("all are stopped", () => [program, ...pids].every((pid) => stateOf(pid) === "T"))
          process.kill(program, "SIGCONT")
          yield* eventually("all go on", () => [program, ...pids].every((pid) => /[SR]/.test(stateOf(pid) ?? "")))
        }
        process.kill(program, "SIGTSTP")
        yield* eventually("it is stopped", () => stateOf(program) === "T")
        for (const signal of ["SIGQUIT", "SIGCONT"] as const) process.kill(program, signal)
        yield* eventually("all have ended", () => ![program, ...pids].some(isRunning))
      })
  )
})

onLinux("Main.run", () => {
  /** The example to copy, on a file of its own. */
  const worker = Effect.gen(function*() {
    const BACKQ_BROKER = `sqlite:${join(yield* folder, "jobs.db")}`
    const program = yield* start([join(root, "scripts", "examples", "process-worker.ts")], { BACKQ_BROKER })
    yield* eventually("the worker starts", () => program.output().includes("worker started"))
    return { ...program, BACKQ_BROKER }
  })

  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) {
    it.live(`stops the worker gracefully after ${signal}, and its last line arrives`, () =>
      Effect.gen(function*() {
        const { child, ended, output } = yield* worker
        child.kill(signal)
        assert.deepStrictEqual(yield* ended, [130, null])
        assert.match(output(), /worker stopped: 0 done\n$/)
      }))
  }

  it.live("goes on when nobody reads its log", () =>
    Effect.gen(function*() {
      const { BACKQ_BROKER, child, ended } = yield* worker
      child.stdout.destroy()
      child.stderr.destroy()
      const file = `${BACKQ_BROKER.slice("sqlite:".length)}.ran`
      for (let i = 1; i <= 2; i++) {
        const job = ["--", "sh", "-c", `echo . >> ${file}`]
        yield* (yield* start([executable, "publish", "process", ...job], { BACKQ_BROKER })).ended
        yield* eventually("the job runs", () => existsSync(file) && readFileSync(file, "utf8") === ".\n".repeat(i))
      }
      child.kill("SIGTERM")
      assert.deepStrictEqual(yield* ended, [130, null])
    }))
})
