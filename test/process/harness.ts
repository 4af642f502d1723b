/** Processes for the tests, how they end, and what is left of them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
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

export const graceMillis = 300

export const runner = Layer.merge(
  Process.ProcessRunner.layerOptions({ grace: graceMillis }),
  ProcessPolicy.layer(ProcessPolicy.open)
)

export const exited = Effect.fnUntraced(function*(payload: ProcessPayload) {
  const result = yield* Process.run(payload)
  if (result._tag !== "Exited") return yield* Effect.die("it was let go")
  return result
}, Effect.provide(runner))

export const text = (payload: ProcessPayload) => Effect.map(exited(payload), (result) => toText(result.stdout))

export const fails = <Tag extends ProcessErrorReason["_tag"]>(tag: Tag, payload: ProcessPayload) =>
  Process.run(payload).pipe(
    Effect.provide(runner),
    Effect.flip,
    Effect.map(({ reason }) => {
      if (!isTagged(reason, tag)) throw new Error(`not ${tag}: ${reason.message}`)
      return reason
    })
  )

export const isTagged = <A extends { readonly _tag: string }, Tag extends A["_tag"]>(
  value: A,
  tag: Tag
): value is Extract<A, { readonly _tag: Tag }> => value._tag === tag

/** Checks that nobody waited for a process that sleeps for a minute, nor for much of it. */
export const assertNotAwaited = (started: number) => assert.isBelow(performance.now() - started, 60_000 / 20)

/** Is there a process that isn't a zombie? */
export const isAlive = (pid: number): boolean => {
  try {
    const stat = NodeFs.readFileSync(`/proc/${pid}/stat`, "latin1")
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2))
  } catch {
    return false
  }
}

export const eventually = (condition: () => boolean, what: string) =>
  Effect.gen(function*() {
    while (!condition()) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(`never: ${what}`) }))

export const folder = Effect.acquireRelease(
  Effect.sync(() => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "backq-process-"))),
  (path) => Effect.sync(() => NodeFs.rmSync(path, { recursive: true }))
)

export const openFiles = () => NodeFs.readdirSync("/proc/self/fd").length

/** Kills a process group when the test is over, whatever its outcome. */
export const killAtEnd = (group: number) =>
  Effect.addFinalizer(() => Effect.sync(() => isAlive(group) && process.kill(-group, "SIGKILL")))

setFlagsFromString("--expose-gc")

export const collectGarbage: () => void = runInNewContext("gc")
