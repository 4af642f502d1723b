/** Processes that do not start, and their error messages. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as Process from "../../src/process/Process.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { fails, runner } from "./harness.ts"

allow(withPrograms)

describe("a process that can't start", () => {
  const kind = (payload: ProcessPayload) => Effect.map(fails("SpawnFailed", payload), (reason) => reason.kind)

  it.live("a missing program is NotFound", () =>
    Effect.gen(function*() {
      const reason = yield* fails("SpawnFailed", { command: ["backq-no-such-program"], input: "secret" })
      assert.strictEqual(reason.kind, "NotFound")
      assert.include(reason.message, "backq-no-such-program")
      assert.include(reason.message, "PATH")
      assert.strictEqual(yield* kind({ command: ["/nowhere/program"] }), "NotFound")
      assert.strictEqual(yield* kind({ command: ["/etc/passwd/program"] }), "NotFound")
      assert.strictEqual(yield* kind({ command: ["backq-no-such-program"], detach: true }), "NotFound")
    }))

  it.live("a file that is not executable, a directory and a missing interpreter are different errors", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      NodeFs.writeFileSync(NodePath.join(dir, "plain"), "")
      NodeFs.writeFileSync(NodePath.join(dir, "script"), "#!/nowhere/interpreter\n", { mode: 0o755 })
      assert.strictEqual(yield* kind({ command: [NodePath.join(dir, "plain")] }), "NotExecutable")
      assert.strictEqual(yield* kind({ command: ["./plain"], cwd: dir }), "NotExecutable")
      assert.strictEqual(yield* kind({ command: [dir] }), "NotExecutable")
      const script = yield* fails("SpawnFailed", { command: [NodePath.join(dir, "script")] })
      assert.strictEqual(script.kind, "NotFound")
      assert.include(script.message, "interpreter")
    }))

  it.live("a missing directory and a file as cwd are BadCwd", () =>
    Effect.gen(function*() {
      const missing = yield* fails("SpawnFailed", { command: ["ls"], cwd: "/nowhere" })
      assert.strictEqual(missing.kind, "BadCwd")
      assert.strictEqual(missing.cwd, "/nowhere")
      const file = yield* fails("SpawnFailed", { command: ["ls"], cwd: "/etc/passwd" })
      assert.strictEqual(file.kind, "BadCwd")
      assert.include(file.message, "not a directory")
    }))

  it.live("an unreachable directory is BadCwd, with and without a policy", () =>
    Effect.gen(function*() {
      const dir = NodeFs.realpathSync(yield* folder)
      NodeFs.symlinkSync("loop", NodePath.join(dir, "loop"))
      const listed = Process.ProcessRunner.layer.pipe(
        Layer.provide(ProcessPolicy.layer(ProcessPolicy.make({ directories: [dir] })))
      )
      for (const [cwd, code] of [["loop", "ELOOP"], ["x".repeat(300), "ENAMETOOLONG"]] as const) {
        for (const layer of [Process.ProcessRunner.layer, listed]) {
          const run = Process.run({ command: ["ls"], cwd: NodePath.join(dir, cwd) })
          const { reason } = yield* Effect.flip(Effect.provide(run, layer))
          assert.strictEqual(reason._tag === "SpawnFailed" && reason.kind, "BadCwd")
          assert.match(reason.message, new RegExp(`can't be reached \\(${code}\\)$`))
        }
      }
      const below = yield* fails("SpawnFailed", { command: ["ls"], cwd: "/etc/passwd/x" })
      assert.match(below.message, /does not exist$/)
    }))

  it.live("arguments that are too long are an error", () =>
    Effect.gen(function*() {
      const reason = yield* fails("SpawnFailed", { command: ["echo", "x".repeat(3_000_000)] })
      assert.strictEqual(reason.kind, "Other")
      assert.include(reason.message, "too long")
    }))

  it.live("no message shows the environment or the input", () =>
    Effect.gen(function*() {
      const error = yield* fails("Signalled", { command: "kill -9 $$", env: { A: "hunter2" }, input: "hunter3" })
      assert.notMatch(error.message, /hunter/)
      const long = yield* fails("Signalled", { command: ["sh", "-c", "kill -9 $$", "x".repeat(10_000), "\n\x1b["] })
      assert.isBelow(long.message.length, 400)
      assert.notInclude(long.message, "\n")
    }))

  it.live("messages are clipped and escaped, for any payload", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const bad = `${"\u001b[31m\u009b\u202e\u2028\r\n\ud800"}${"x".repeat(50)}`
      const plain = NodePath.join(dir, "\u001b[31m")
      NodeFs.writeFileSync(plain, "")
      const payloads: ReadonlyArray<ProcessPayload> = [
        { command: [bad] },
        { command: [`/${bad}`] },
        { command: [`/${"x".repeat(60_000)}`] },
        { command: [plain] },
        { command: ["ls"], cwd: `/${bad}` },
        { command: ["ls"], cwd: "/x".repeat(30_000) },
        { command: ["ls"], cwd: plain },
        { command: ["ls"], env: { [`${bad}=`.repeat(1000)]: "secret" } },
        { command: ["ls"], env: { ["=" + " ".repeat(60_000)]: "secret" } },
        { command: ["ls", `${bad}\0secret`] },
        { command: ["ls"], timeout: bad as Duration.Input },
        { command: ["sh", "-c", "kill -9 $$", ...Array.from({ length: 10_000 }, () => bad)] },
        { command: ["sh", "-c", "sleep 9", bad], timeout: "1 milli" }
      ]
      const listed = ProcessPolicy.layer(ProcessPolicy.make({ programs: ["ls"], directories: ["/srv"] }))
      for (const payload of payloads) {
        const { message } = yield* Effect.flip(Effect.provide(Process.run(payload), runner))
        const refused = yield* Effect.flip(Effect.provide(Process.run({ ...payload, env: { A: "secret" } }), [
          Process.ProcessRunner.layer,
          listed
        ]))
        for (const text of [message, refused.message]) {
          assert.notMatch(text, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|secret/u)
          assert.isBelow(text.length, 3000)
        }
      }
    }))
})
