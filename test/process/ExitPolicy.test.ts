import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ExitPolicy from "../../src/process/ExitPolicy.ts"
import { fromText } from "../../src/process/OutputTail.ts"
import { exited, ProcessRunner, run } from "../../src/process/Process.ts"
import * as ProcessError from "../../src/process/ProcessError.ts"

const policy = ExitPolicy.make({ done: [0, 3], permanent: [64, 3], retryAfter: { 75: "1 minute", 64: "1 second" } })

const output = { stdout: fromText(""), stderr: fromText("first\nlast words\n\n") }

const failure = (reason: ProcessError.ProcessErrorReason) =>
  ExitPolicy.decide(policy, Result.fail(ProcessError.make(reason)))

describe("ExitPolicy", () => {
  const codes: ReadonlyArray<readonly [number, ExitPolicy.Decision]> = [
    [0, { _tag: "Done" }],
    [1, { _tag: "Retry", reason: "exit code 1: oh no" }],
    [3, { _tag: "Done" }],
    [64, { _tag: "Permanent", reason: "exit code 64: oh no" }],
    [75, { _tag: "RetryAfter", delay: Duration.minutes(1), reason: "exit code 75: oh no" }],
    [255, { _tag: "Retry", reason: "exit code 255: oh no" }]
  ]
  it.each(codes)("exit code %i", (exitCode, decision) => {
    assert.deepStrictEqual(ExitPolicy.decide(policy, Result.succeed(exited({ exitCode, stderr: "oh no\n" }))), decision)
  })

  it("treats only 0 as success by default", () => {
    const decide = (exitCode: number) => ExitPolicy.decide(ExitPolicy.make(), Result.succeed(exited({ exitCode })))
    assert.deepStrictEqual(decide(0), { _tag: "Done" })
    assert.deepStrictEqual(decide(1), { _tag: "Retry", reason: "exit code 1" })
    assert.deepStrictEqual(
      ExitPolicy.decide(ExitPolicy.make({ done: [7] }), Result.succeed(exited())),
      { _tag: "Retry", reason: "exit code 0" }
    )
  })

  it("distinguishes a signal from a timeout, and retries both", () => {
    const signalled = failure(
      new ProcessError.Signalled({ command: "x", signal: "SIGSEGV", pid: 1, duration: Duration.seconds(2), ...output })
    )
    assert.strictEqual(signalled._tag, "Retry")
    assert.match(signalled._tag === "Retry" ? signalled.reason : "", /SIGSEGV.*2s.*: last words$/)
    const timedOut = failure(
      new ProcessError.TimedOut({ command: "x", timeout: Duration.seconds(2), pid: 1, ...output })
    )
    assert.match(timedOut._tag === "Retry" ? timedOut.reason : "", /timeout of 2s.*: last words$/)
  })

  it("does not retry a process that can't start or is refused", () => {
    const spawnFailed = (kind: ProcessError.SpawnFailed["kind"]) =>
      failure(new ProcessError.SpawnFailed({ kind, program: "x", detail: "d" }))._tag
    assert.strictEqual(spawnFailed("NotFound"), "Permanent")
    assert.strictEqual(spawnFailed("NotExecutable"), "Permanent")
    assert.strictEqual(spawnFailed("BadCwd"), "Permanent")
    assert.strictEqual(spawnFailed("Other"), "Permanent")
    assert.strictEqual(spawnFailed("Temporary"), "Retry")
    assert.strictEqual(failure(new ProcessError.Refused({ rule: "programs", detail: "d" }))._tag, "Permanent")
  })

  it("treats a detached process as done", () => {
    assert.deepStrictEqual(
      ExitPolicy.decide(policy, Result.succeed({ _tag: "Detached", pid: 1 })),
      { _tag: "Done" }
    )
  })

  it.effect("decides about the answers of a script", () =>
    Effect.gen(function*() {
      const outcome = yield* Effect.result(run({ command: ["convert", "a"] }))
      assert.deepStrictEqual(ExitPolicy.decide(policy, outcome), {
        _tag: "Permanent",
        reason: "exit code 64: no such a"
      })
    }).pipe(
      Effect.provide(ProcessRunner.layerTest((payload) =>
        Effect.succeed(exited({ exitCode: 64, stderr: `no such ${payload.command[1]}` }))
      ))
    ))
})
