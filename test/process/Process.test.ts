/** The input, the output and the end of a process. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { toText } from "../../src/process/OutputTail.ts"
import { isRunning } from "../support/children.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { assertNotAwaited, collectGarbage, exited, fails, killAtEnd, openFiles, text } from "./harness.ts"

allow(withPrograms)

describe("the end of a process", () => {
  it.live.each([0, 1, 3, 127, 255])("exit code %i is a result", (code) =>
    Effect.gen(function*() {
      const result = yield* exited({ command: ["sh", "-c", `echo out; echo err >&2; exit ${code}`] })
      assert.strictEqual(result.exitCode, code)
      assert.strictEqual(toText(result.stdout), "out\n")
      assert.strictEqual(toText(result.stderr), "err\n")
      assert.isAbove(Duration.toMillis(result.duration), 0)
      assert.isFalse(isRunning(result.pid))
    }))

  it.live.each(["KILL", "TERM", "SEGV", "HUP"])("SIG%s is reported by name", (signal) =>
    Effect.gen(function*() {
      const reason = yield* fails("Signalled", { command: ["sh", "-c", `echo before; kill -${signal} $$; sleep 5`] })
      assert.strictEqual(reason.signal, `SIG${signal}`)
      assert.strictEqual(toText(reason.stdout), "before\n")
      assert.include(reason.message, `SIG${signal}`)
    }))

  it.live("the rest of its group ends with it", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const out = yield* text({ command: "sleep 60 & echo $!; sleep 60 >/dev/null 2>&1 & echo $!" })
      for (const pid of out.trim().split("\n").map(Number)) assert.isFalse(isRunning(pid))
      assertNotAwaited(started)
    }))

  it.live("a process that ends soon after its leader gets no signal", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* text({ command: "(trap 'exit 1' TERM; sleep 0.05; echo last) & exit 0" }), "last\n")
    }))

  it.live("output that a daemon outside of the group holds open does not delay the end", () =>
    Effect.gen(function*() {
      yield* exited({ command: ["true"] })
      const files = openFiles()
      const started = performance.now()
      const result = yield* exited({ command: "setsid sleep 60 & echo $!" })
      assertNotAwaited(started)
      // The subshell becomes the leader of a new session, with the same pid.
      yield* killAtEnd(Number(toText(result.stdout)))
      yield* eventually("our ends of the pipes are closed", () => openFiles() <= files)
    }))
})

describe("output", () => {
  it.live("50 MB are read and dropped except for the end", () =>
    Effect.gen(function*() {
      collectGarbage()
      const before = process.memoryUsage()
      // memory that is not collected yet does not count
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sync(collectGarbage), Effect.sleep("20 millis"))))
      const { stdout } = yield* exited({ command: "head -c 50000000 /dev/zero | tr '\\0' x; printf end" })
      const after = process.memoryUsage()
      assert.strictEqual(stdout.total, 50_000_003)
      assert.isTrue(stdout.truncated)
      assert.strictEqual(stdout.bytes.length, 16 * 1024)
      assert.isTrue(toText(stdout).endsWith("xend"))
      assert.isBelow(after.rss - before.rss, 40 * 1024 * 1024)
    }))

  it.live("both streams are read at the same time", () =>
    Effect.gen(function*() {
      const { stderr, stdout } = yield* exited({
        command: "for i in 1 2 3 4; do head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; done",
        outputLimit: 10
      })
      assert.deepStrictEqual([stdout.total, stderr.total], [800_000, 800_000])
      assert.deepStrictEqual([stdout.bytes.length, stderr.bytes.length], [10, 10])
    }))

  it.live("bytes stay unchanged", () =>
    Effect.gen(function*() {
      const { stdout } = yield* exited({ command: ["printf", "\\377\\000\\r\\n\\200"] })
      assert.deepEqual(Array.from(stdout.bytes), [255, 0, 13, 10, 128])
      assert.isFalse(stdout.truncated)
    }))

  it.live("a limit of 0 keeps nothing", () =>
    Effect.gen(function*() {
      const { stdout } = yield* exited({ command: ["echo", "hello"], outputLimit: 0 })
      assert.deepStrictEqual([stdout.total, stdout.bytes.length, stdout.truncated], [6, 0, true])
    }))
})

describe("input", () => {
  it.live("text and bytes arrive unchanged", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* text({ command: ["cat"], input: "grüße\n" }), "grüße\n")
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
      assert.deepEqual(Array.from((yield* exited({ command: ["cat"], input: bytes })).stdout.bytes), Array.from(bytes))
      assert.strictEqual(yield* text({ command: ["wc", "-c"], input: "" }).pipe(Effect.map((out) => out.trim())), "0")
    }))

  it.live("without input stdin is empty", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* text({ command: ["wc", "-c"] })).trim(), "0")
    }))

  it.live("a process may ignore its input", () =>
    Effect.gen(function*() {
      const input = new Uint8Array(5_000_000)
      assert.strictEqual((yield* exited({ command: ["true"], input })).exitCode, 0)
      assert.strictEqual(yield* text({ command: "exec <&-; sleep 0.05; echo fine", input }), "fine\n")
    }))
})

describe("arguments, environment, directory", () => {
  it.live("arguments arrive unchanged", () =>
    Effect.gen(function*() {
      const args = ["a b", "", "it's", "\"q\"", "$HOME `id` \\n", "*", "-x", "日本語 🎉", "line\nbreak", " "]
      const out = yield* text({
        command: [process.execPath, "-p", "JSON.stringify(process.argv.slice(1))", "--", ...args]
      })
      assert.deepStrictEqual(JSON.parse(out), args)
    }))

  it.live("variables are set, unset and inherited", () =>
    Effect.gen(function*() {
      const show = "echo ${BACKQ_A-none},${HOME-none}"
      const home = process.env.HOME
      assert.strictEqual(yield* text({ command: show }), `none,${home}\n`)
      assert.strictEqual(yield* text({ command: show, env: { BACKQ_A: "x=y" } }), `x=y,${home}\n`)
      assert.strictEqual(yield* text({ command: show, env: { BACKQ_A: "", HOME: null } }), ",none\n")
    }))

  it.live("extendEnv: false keeps only the payload's variables", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* text({ command: ["env"], extendEnv: false, env: { A: "1", B: null } }), "A=1\n")
      assert.strictEqual(yield* text({ command: ["env"], extendEnv: false }), "")
    }))

  it.live("Node.js adds no variable", () =>
    Effect.gen(function*() {
      const before = process.env.NODE_V8_COVERAGE
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (before === undefined) delete process.env.NODE_V8_COVERAGE
          else process.env.NODE_V8_COVERAGE = before
        })
      )
      process.env.NODE_V8_COVERAGE = "/of/the/worker"
      const show = ["env"] as const
      assert.strictEqual(yield* text({ command: show, extendEnv: false }), "")
      assert.notInclude(yield* text({ command: show, env: { NODE_V8_COVERAGE: null } }), "NODE_V8_COVERAGE")
      assert.include(yield* text({ command: show }), "NODE_V8_COVERAGE=/of/the/worker\n")
      const own = { NODE_V8_COVERAGE: "/of/the/job" }
      assert.strictEqual(
        yield* text({ command: show, extendEnv: false, env: own }),
        "NODE_V8_COVERAGE=/of/the/job\n"
      )
    }))

  it.live("the PATH of a payload does not select the program", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      NodeFs.writeFileSync(NodePath.join(dir, "echo"), "#!/bin/sh\nprintf fooled", { mode: 0o755 })
      assert.strictEqual(yield* text({ command: ["echo", "real"], env: { PATH: dir } }), "real\n")
      assert.strictEqual(yield* text({ command: ["echo", "real"], env: { PATH: "." }, cwd: dir }), "real\n")
    }))

  it.live("it runs in cwd, where relative programs start", () =>
    Effect.gen(function*() {
      const dir = NodeFs.realpathSync(yield* folder)
      NodeFs.writeFileSync(NodePath.join(dir, "here"), "#!/bin/sh\npwd", { mode: 0o755 })
      assert.strictEqual(yield* text({ command: ["pwd"], cwd: dir }), `${dir}\n`)
      assert.strictEqual(yield* text({ command: ["./here"], cwd: dir }), `${dir}\n`)
      assert.strictEqual(yield* text({ command: ["pwd"] }), `${process.cwd()}\n`)
    }))
})
