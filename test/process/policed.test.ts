/** Processes under a policy. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { toText } from "../../src/process/OutputTail.ts"
import * as Process from "../../src/process/Process.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { collectGarbage } from "./harness.ts"

allow(withPrograms)

describe("under a policy", () => {
  const under = Effect.fnUntraced(function*(policy: ProcessPolicy.Options, payload: ProcessPayload) {
    const result = yield* Process.run(payload).pipe(
      Effect.provide(Layer.merge(Process.ProcessRunner.layer, ProcessPolicy.layer(ProcessPolicy.make(policy))))
    )
    if (result._tag !== "Exited") return yield* Effect.die("it was let go")
    return result
  })
  const namesOf = (policy: ProcessPolicy.Options, payload: ProcessPayload) =>
    Effect.map(
      under(policy, payload),
      ({ stdout }) => toText(stdout).split("\n").flatMap((line) => line.includes("=") ? [line.split("=")[0]!] : [])
    )

  /** Variables of this process, for a while. */
  const variables = (values: Record<string, string>) =>
    Effect.acquireRelease(Effect.sync(() => Object.assign(process.env, values)), () =>
      Effect.sync(() => {
        for (const name of Object.keys(values)) delete process.env[name]
      }))

  it.live("a process gets no secrets of its worker", () =>
    Effect.gen(function*() {
      yield* variables({ BACKQ_BROKER: "beanstalk://u:secret@h", BACKQ_APNS_PASSPHRASE: "s", OTHER_OF_WORKER: "1" })
      const open = yield* namesOf({}, { command: ["env"] })
      assert.deepStrictEqual(open.filter((name) => /BACKQ_/.test(name)), [])
      assert.include(open, "OTHER_OF_WORKER")
      const listed = yield* namesOf({ programs: ["env"], environment: ["A"] }, { command: ["env"], env: { A: "1" } })
      const fixed = new Set(ProcessPolicy.basicVariables)
      assert.deepStrictEqual(listed.filter((name) => !fixed.has(name) && !name.startsWith("LC_")), ["A"])
      assert.include(listed, "PATH")
      const none = yield* namesOf({ programs: ["env"] }, { command: ["env"], extendEnv: false })
      assert.deepStrictEqual(none, [])
      const named = yield* namesOf({ programs: ["env"], inherit: ["BACKQ_BROKER"] }, { command: ["env"] })
      assert.include(named, "BACKQ_BROKER")
      assert.notInclude(named, "OTHER_OF_WORKER")
    }))

  it.live("a policy only on the runner protects them, too", () =>
    Effect.gen(function*() {
      yield* variables({ OTHER_OF_WORKER: "1" })
      const policy = ProcessPolicy.layer(ProcessPolicy.make({ programs: ["env"] }))
      const layer = Layer.provide(Process.ProcessRunner.layer, policy)
      const direct = Effect.flatMap(Process.ProcessRunner, ({ run }) => run({ command: ["env"] }))
      for (const run of [direct, Process.run({ command: ["env"] })]) {
        const result = yield* Effect.provide(run, layer)
        assert.notInclude(result._tag === "Exited" ? toText(result.stdout) : "OTHER", "OTHER")
      }
    }))

  it.live("a link does not lead out of an allowed directory", () =>
    Effect.gen(function*() {
      const dir = NodeFs.realpathSync(yield* folder)
      const at = (...names: ReadonlyArray<string>) => NodePath.join(dir, ...names)
      NodeFs.mkdirSync(at("allowed", "below"), { recursive: true })
      NodeFs.mkdirSync(at("elsewhere"))
      NodeFs.symlinkSync("/etc", at("allowed", "out"))
      NodeFs.symlinkSync("/", at("allowed", "root"))
      NodeFs.symlinkSync(at("allowed", "out"), at("allowed", "twice"))
      NodeFs.symlinkSync(at("allowed", "below"), at("allowed", "in"))
      NodeFs.symlinkSync(at("nowhere"), at("allowed", "dangling"))
      NodeFs.symlinkSync(at("allowed", "loop"), at("allowed", "loop"))
      NodeFs.symlinkSync(at("allowed"), at("way"))
      NodeFs.writeFileSync(at("allowed", "file"), "")
      const end = (directory: string, cwd: string | undefined, detach = false) =>
        under({ directories: [directory] }, {
          command: ["pwd", "-P"],
          ...(cwd === undefined ? undefined : { cwd }),
          ...(detach ? { detach } : undefined)
        }).pipe(
          Effect.map(({ stdout }) => toText(stdout).trim()),
          Effect.catchTag("ProcessError", ({ reason }) =>
            Effect.succeed(
              reason._tag === "Refused" ? reason.rule : reason._tag === "SpawnFailed" ? reason.kind : reason._tag
            ))
        )
      for (const cwd of ["out", "root", "root/etc", "twice", "out/.."].map((name) => `${at("allowed")}/${name}`)) {
        const expected = cwd.endsWith("/..") ? at("allowed") : "directories"
        assert.strictEqual(yield* end(at("allowed"), cwd), expected, cwd)
      }
      assert.strictEqual(yield* end(at("allowed"), at("allowed", "out"), true), "directories")
      assert.strictEqual(yield* end(at("allowed"), at("allowed", "in")), at("allowed", "below"))
      assert.strictEqual(yield* end(at("allowed"), at("allowed", "below")), at("allowed", "below"))
      assert.strictEqual(yield* end(at("allowed"), undefined), at("allowed"))
      for (const bad of ["dangling", "loop", "file", "missing"]) {
        assert.strictEqual(yield* end(at("allowed"), at("allowed", bad)), "BadCwd", bad)
      }
      // if an allowed directory is a link, its target is allowed
      assert.strictEqual(yield* end(at("way"), at("way", "below")), at("allowed", "below"))
      assert.strictEqual(yield* end(at("way"), undefined), at("allowed"))
      assert.strictEqual(yield* end(at("way"), at("way", "out")), "directories")
      assert.strictEqual(yield* end(at("gone"), undefined), "BadCwd")
    }))

  it.live("the output of 16 processes at once takes at most the memory that the policy allows", () =>
    Effect.gen(function*() {
      const used = () => {
        collectGarbage()
        return process.memoryUsage().arrayBuffers
      }
      const before = used()
      let peak = 0
      yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(Effect.sync(() => peak = Math.max(peak, used() - before)), Effect.sleep("20 millis"))
        )
      )
      const outputLimit = ProcessPolicy.defaultMaxOutputLimit
      const results = yield* Effect.forEach(
        Array.from({ length: 16 }),
        () =>
          under({}, {
            command: ["sh", "-c", "yes | head -c 4000000; yes | head -c 4000000 >&2; sleep 1"],
            outputLimit
          }),
        { concurrency: 16 }
      )
      assert.isTrue(results.every(({ stderr, stdout }) => stdout.bytes.length === outputLimit && stderr.truncated))
      // twice the kept bytes of each of two streams, and the results
      assert.isBelow(peak, 16 * 2 * 3 * outputLimit + 8 * 1024 * 1024)
      const error = yield* Effect.flip(under({}, { command: ["true"], outputLimit: outputLimit + 1 }))
      assert.match(
        error.message,
        /^refused \(maxOutputLimit\): the outputLimit must be at most .* not 262145: .* --max-output/
      )
    }))
})
