/** Files of their own for the tests of the broker in a file, and processes that use them. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { type PutOptions, putRequest } from "../../../src/Broker.ts"
import { bytes } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"

/** A path where a file can be made. */
export const file = Effect.map(folder, (path) => join(path, "queue.db"))

/** A text as a request. */
export const request = (text: string, options?: PutOptions) => Result.getOrThrow(putRequest(bytes(text), options))

/** A process that runs `child.ts`. */
export interface Child {
  readonly pid: number
  readonly lines: Array<string>
  /** Waits until a line of its output is as wanted. */
  readonly until: (wanted: (line: string) => boolean) => Effect.Effect<string>
  /** Kills it with no chance to say good-bye, and waits for its end. */
  readonly kill: Effect.Effect<void>
  /** What it complained about. */
  readonly complaints: () => string
}

/** Starts a process, which is killed with the scope. */
export const child = (
  role: "publish" | "work" | "hold" | "fill" | "flood",
  path: string,
  flags: ReadonlyArray<string> = []
) =>
  Effect.acquireRelease(
    Effect.sync((): Child => {
      const spawned = spawn(process.execPath, [...flags, join(import.meta.dirname, "child.ts"), role, path])
      const lines: Array<string> = []
      let rest = ""
      let complaints = ""
      let look = () => {}
      spawned.stdout.setEncoding("utf8").on("data", (text: string) => {
        const parts = (rest + text).split("\n")
        rest = parts.pop()!
        lines.push(...parts)
        look()
      })
      spawned.stderr.setEncoding("utf8").on("data", (text: string) => {
        complaints += text
      })
      const ended = new Promise<void>((resolve) => spawned.once("close", () => resolve()))
      return {
        pid: spawned.pid!,
        lines,
        complaints: () => complaints,
        until: (wanted) =>
          Effect.callback((resume) => {
            look = () => {
              const line = lines.find(wanted)
              if (line !== undefined) resume(Effect.succeed(line))
            }
            look()
          }),
        kill: Effect.promise(() => {
          spawned.kill("SIGKILL")
          return ended
        })
      }
    }),
    (child) => child.kill
  )
