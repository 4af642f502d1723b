import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { toText } from "../../src/process/OutputTail.ts"
import * as Process from "../../src/process/Process.ts"
import type { ProcessErrorReason } from "../../src/process/ProcessError.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"

const graceMillis = 300

const runner = Layer.merge(
  Process.ProcessRunner.layerOptions({ grace: graceMillis }),
  ProcessPolicy.layer(ProcessPolicy.open)
)

const exited = Effect.fnUntraced(function*(payload: ProcessPayload) {
  const result = yield* Process.run(payload)
  if (result._tag !== "Exited") return yield* Effect.die("it was let go")
  return result
}, Effect.provide(runner))

const text = (payload: ProcessPayload) => Effect.map(exited(payload), (result) => toText(result.stdout))

const fails = <Tag extends ProcessErrorReason["_tag"]>(tag: Tag, payload: ProcessPayload) =>
  Process.run(payload).pipe(
    Effect.provide(runner),
    Effect.flip,
    Effect.map(({ reason }) => {
      if (!isTagged(reason, tag)) throw new Error(`not ${tag}: ${reason.message}`)
      return reason
    })
  )

const isTagged = <A extends { readonly _tag: string }, Tag extends A["_tag"]>(
  value: A,
  tag: Tag
): value is Extract<A, { readonly _tag: Tag }> => value._tag === tag

/** Checks that nobody waited for a process that sleeps for a minute, nor for much of it. */
const assertNotAwaited = (started: number) => assert.isBelow(performance.now() - started, 60_000 / 20)

/** Is there a process that isn't a zombie? */
const isAlive = (pid: number): boolean => {
  try {
    const stat = NodeFs.readFileSync(`/proc/${pid}/stat`, "latin1")
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2))
  } catch {
    return false
  }
}

const eventually = (condition: () => boolean, what: string) =>
  Effect.gen(function*() {
    while (!condition()) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(`never: ${what}`) }))

const folder = Effect.acquireRelease(
  Effect.sync(() => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "backq-process-"))),
  (path) => Effect.sync(() => NodeFs.rmSync(path, { recursive: true }))
)

/** The numbers that a script wrote to a file, once it has written them. */
const pidsIn = (file: string, count: number) => {
  const read = () =>
    NodeFs.existsSync(file) ? NodeFs.readFileSync(file, "utf8").split("\n").slice(0, -1).map(Number) : []
  return Effect.map(eventually(() => read().length >= count, `${count} pids in ${file}`), read)
}

const openFiles = () => NodeFs.readdirSync("/proc/self/fd").length

/** Kills a process group when the test is over, whatever its outcome. */
const killAtEnd = (group: number) =>
  Effect.addFinalizer(() => Effect.sync(() => isAlive(group) && process.kill(-group, "SIGKILL")))

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

describe("the end of a process", () => {
  it.live.each([0, 1, 3, 127, 255])("exit code %i is a result", (code) =>
    Effect.gen(function*() {
      const result = yield* exited({ command: ["sh", "-c", `echo out; echo err >&2; exit ${code}`] })
      assert.strictEqual(result.exitCode, code)
      assert.strictEqual(toText(result.stdout), "out\n")
      assert.strictEqual(toText(result.stderr), "err\n")
      assert.isAbove(Duration.toMillis(result.duration), 0)
      assert.isFalse(isAlive(result.pid))
    }))

  it.live.each(["KILL", "TERM", "SEGV", "HUP"])("SIG%s is told apart", (signal) =>
    Effect.gen(function*() {
      const reason = yield* fails("Signalled", { command: ["sh", "-c", `echo before; kill -${signal} $$; sleep 5`] })
      assert.strictEqual(reason.signal, `SIG${signal}`)
      assert.strictEqual(toText(reason.stdout), "before\n")
      assert.include(reason.message, `SIG${signal}`)
    }))

  it.live("what a process leaves in its group ends with it", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const out = yield* text({ command: "sleep 60 & echo $!; sleep 60 >/dev/null 2>&1 & echo $!" })
      for (const pid of out.trim().split("\n").map(Number)) assert.isFalse(isAlive(pid))
      assertNotAwaited(started)
    }))

  it.live("what ends soon after its leader is left to do so", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* text({ command: "(trap 'exit 1' TERM; sleep 0.05; echo last) & exit 0" }), "last\n")
    }))

  it.live("output that a daemon outside holds open is not waited for", () =>
    Effect.gen(function*() {
      yield* exited({ command: ["true"] })
      const files = openFiles()
      const started = performance.now()
      const result = yield* exited({ command: "setsid sleep 60 & echo $!" })
      assertNotAwaited(started)
      // The subshell becomes the leader of a new session, with the same pid.
      yield* killAtEnd(Number(toText(result.stdout)))
      yield* eventually(() => openFiles() <= files, "our ends of the pipes are closed")
    }))
})

describe("timeout and interruption", () => {
  it.live("a timeout ends the whole group, and keeps its output", () =>
    Effect.gen(function*() {
      const started = performance.now()
      const reason = yield* fails("TimedOut", {
        command: "sleep 60 & echo $!; sleep 60; true",
        timeout: "150 millis"
      })
      assertNotAwaited(started)
      assert.strictEqual(Duration.toMillis(reason.timeout), 150)
      assert.isFalse(isAlive(reason.pid))
      assert.isFalse(isAlive(Number(toText(reason.stdout))))
    }))

  it.live("SIGTERM comes first, and the process may use the grace", () =>
    Effect.gen(function*() {
      const reason = yield* fails("TimedOut", {
        command: "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done",
        timeout: "150 millis"
      })
      assert.strictEqual(toText(reason.stdout), "bye\n")
    }))

  it.live("a process that ignores SIGTERM gets SIGKILL after the grace", () =>
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
      assert.isFalse(isAlive(reason.pid))
      assert.isFalse(isAlive(Number(toText(reason.stdout))))
    }))

  it.live("a straggler that outlives its leader has the grace too", () =>
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

  it.live("interruption ends the group, and waits for its end", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = NodePath.join(dir, "pids")
      const fiber = yield* Effect.forkChild(
        exited({ command: `sleep 60 & echo $! >> ${file}; echo $$ >> ${file}; wait` })
      )
      const pids = yield* pidsIn(file, 2)
      assert.isTrue(pids.every(isAlive))
      yield* Fiber.interrupt(fiber)
      assert.isFalse(pids.some(isAlive))
    }))

  it.live("interruption sends SIGKILL after the grace", () =>
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
      assert.isFalse(pids.some(isAlive))
    }))

  it.live("a process that ends in time is not touched by its timeout", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* exited({ command: ["true"], timeout: "1 hour" })).exitCode, 0)
    }))

  it.live("a timeout longer than a timer can hold waits", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* exited({ command: ["sleep", "0.05"], timeout: "60 days" })).exitCode, 0)
    }))
})

describe("output", () => {
  it.live("50 MB are read and dropped, all but the tail", () =>
    Effect.gen(function*() {
      collectGarbage()
      const before = process.memoryUsage()
      // what is only not collected yet is not kept
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sync(collectGarbage), Effect.sleep("20 millis"))))
      const { stdout } = yield* exited({ command: "head -c 50000000 /dev/zero | tr '\\0' x; printf end" })
      const after = process.memoryUsage()
      assert.strictEqual(stdout.total, 50_000_003)
      assert.isTrue(stdout.truncated)
      assert.strictEqual(stdout.bytes.length, 16 * 1024)
      assert.isTrue(toText(stdout).endsWith("xend"))
      assert.isBelow(after.rss - before.rss, 40 * 1024 * 1024)
    }))

  it.live("both streams are drained together", () =>
    Effect.gen(function*() {
      const { stderr, stdout } = yield* exited({
        command: "for i in 1 2 3 4; do head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; done",
        outputLimit: 10
      })
      assert.deepStrictEqual([stdout.total, stderr.total], [800_000, 800_000])
      assert.deepStrictEqual([stdout.bytes.length, stderr.bytes.length], [10, 10])
    }))

  it.live("bytes stay as they are", () =>
    Effect.gen(function*() {
      const { stdout } = yield* exited({ command: ["printf", "\\377\\000\\r\\n\\200"] })
      assert.deepEqual(Array.from(stdout.bytes), [255, 0, 13, 10, 128])
      assert.isFalse(stdout.truncated)
    }))

  it.live("none is kept with a limit of 0", () =>
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

  it.live("without input there is nothing to read", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* text({ command: ["wc", "-c"] })).trim(), "0")
    }))

  it.live("a process need not read it", () =>
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

  it.live("extendEnv: false leaves what was set alone", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* text({ command: ["env"], extendEnv: false, env: { A: "1", B: null } }), "A=1\n")
      assert.strictEqual(yield* text({ command: ["env"], extendEnv: false }), "")
    }))

  it.live("Node.js adds no variable of its own", () =>
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

  it.live("the PATH of a payload does not choose the program", () =>
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

  it.live("a policy of the runner alone says it, too", () =>
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
      // where an allowed directory is a link itself, what it leads to is allowed
      assert.strictEqual(yield* end(at("way"), at("way", "below")), at("allowed", "below"))
      assert.strictEqual(yield* end(at("way"), undefined), at("allowed"))
      assert.strictEqual(yield* end(at("way"), at("way", "out")), "directories")
      assert.strictEqual(yield* end(at("gone"), undefined), "BadCwd")
    }))

  it.live("the output of 16 processes at once takes no more memory than the policy allows", () =>
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
      // of each of two streams twice as much as is kept, and the results
      assert.isBelow(peak, 16 * 2 * 3 * outputLimit + 8 * 1024 * 1024)
      const error = yield* Effect.flip(under({}, { command: ["true"], outputLimit: outputLimit + 1 }))
      assert.match(error.message, /^refused \(maxOutputLimit\): an outputLimit of 262145 bytes .* --max-output/)
    }))
})

describe("a process that can't start", () => {
  const kind = (payload: ProcessPayload) => Effect.map(fails("SpawnFailed", payload), (reason) => reason.kind)

  it.live("no such program", () =>
    Effect.gen(function*() {
      const reason = yield* fails("SpawnFailed", { command: ["backq-no-such-program"], input: "secret" })
      assert.strictEqual(reason.kind, "NotFound")
      assert.include(reason.message, "backq-no-such-program")
      assert.include(reason.message, "PATH")
      assert.strictEqual(yield* kind({ command: ["/nowhere/program"] }), "NotFound")
      assert.strictEqual(yield* kind({ command: ["/etc/passwd/program"] }), "NotFound")
      assert.strictEqual(yield* kind({ command: ["backq-no-such-program"], detach: true }), "NotFound")
    }))

  it.live("a file that isn't executable, a directory, a missing interpreter", () =>
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

  it.live("a directory that is missing, or a file", () =>
    Effect.gen(function*() {
      const missing = yield* fails("SpawnFailed", { command: ["ls"], cwd: "/nowhere" })
      assert.strictEqual(missing.kind, "BadCwd")
      assert.strictEqual(missing.cwd, "/nowhere")
      const file = yield* fails("SpawnFailed", { command: ["ls"], cwd: "/etc/passwd" })
      assert.strictEqual(file.kind, "BadCwd")
      assert.include(file.message, "not a directory")
    }))

  it.live("a directory that can't be reached, under a policy and without one", () =>
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

  it.live("arguments that are too long", () =>
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

  it.live("whatever the payload says, a message is short and does nothing to a terminal", () =>
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

describe("detach", () => {
  it.live("lets the process go", () =>
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
      assert.isTrue(isAlive(result.pid))
      process.kill(-result.pid, "SIGKILL")
      yield* eventually(() => !NodeFs.existsSync(`/proc/${result.pid}`), "the end is collected")
    }))

  it.live("the process survives the end of its worker, and of the worker's group", () =>
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
      yield* eventually(() => workers[0]?.exitCode === 0, "the worker that has nothing to wait for ends by itself")
      yield* killAtEnd(workers[1]!.pid!)
      const pids = yield* pidsIn(file, 2)
      for (const pid of pids) yield* killAtEnd(pid)
      process.kill(-workers[1]!.pid!, "SIGKILL")
      yield* eventually(() => workers[1]?.signalCode === "SIGKILL", "the worker is killed")
      assert.isTrue(pids.every(isAlive))
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
      yield* eventually(() => openFiles() <= files, "the pipes are closed")
    }))

  it.live("100 timeouts at once leave no process", () =>
    Effect.gen(function*() {
      const reasons = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        () => fails("TimedOut", { command: ["sleep", "60"], timeout: "50 millis" }),
        { concurrency: 32 }
      )
      assert.isFalse(reasons.some((reason) => isAlive(reason.pid)))
      assert.strictEqual(zombies(), 0)
    }))
})
