/** Processes for the tests, their ends, and checks that nothing is left. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeFs from "node:fs"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { toText } from "../../src/process/OutputTail.ts"
import * as Process from "../../src/process/Process.ts"
import type { ProcessErrorReason } from "../../src/process/ProcessError.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"
import { isRunning } from "../support/children.ts"

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

/** Checks that nobody waited long for a process that sleeps for a minute. */
export const assertNotAwaited = (started: number) => assert.isBelow(performance.now() - started, 60_000 / 20)

export const openFiles = () => NodeFs.readdirSync("/proc/self/fd").length

/** Kills a process group when the test is over, also after a failure. */
export const killAtEnd = (group: number) =>
  Effect.addFinalizer(() => Effect.sync(() => isRunning(group) && process.kill(-group, "SIGKILL")))

setFlagsFromString("--expose-gc")

export const collectGarbage: () => void = runInNewContext("gc")
