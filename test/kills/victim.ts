/** A process that dies by `kill -9`, at the latest with its scope. It writes to stdout when it is ready. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { join } from "node:path"

export interface Victim {
  readonly pid: number
  /** Waits for its first output. Dies if the process ends before. */
  readonly ready: Effect.Effect<void>
  /** What it wrote to stdout so far. */
  readonly output: () => string
  /** What it wrote to stderr so far. */
  readonly complaints: () => string
  /** Kills it, and waits for its end. */
  readonly kill: Effect.Effect<void>
}

/** Starts a program of this folder. */
export const start = (program: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync((): Victim => {
      const spawned = spawn(process.execPath, [join(import.meta.dirname, program), ...args])
      let output = ""
      let complaints = ""
      spawned.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text
      })
      spawned.stderr.setEncoding("utf8").on("data", (text: string) => {
        complaints += text
      })
      const ended = new Promise<void>((resolve) => spawned.once("close", () => resolve()))
      const ready = new Promise<void>((resolve, reject) => {
        spawned.stdout.once("data", () => resolve())
        void ended.then(() => reject(new Error(`a process ended by itself: ${complaints}`)))
      })
      // A process that ends before it is ready fails the waiting caller.
      ready.catch(() => {})
      return {
        pid: spawned.pid!,
        ready: Effect.promise(() => ready),
        output: () => output,
        complaints: () => complaints,
        kill: Effect.promise(() => {
          spawned.kill("SIGKILL")
          return ended
        })
      }
    }),
    (victim) => victim.kill
  )
