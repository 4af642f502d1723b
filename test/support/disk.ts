/** A disk of its own for a test, so small that it can be filled. Making one takes root. It ends with its scope. */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmdirSync, unlinkSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const mount = (path: string, mebibytes: number): boolean =>
  spawnSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m,mode=1777`, "backq-test", path], { stdio: "ignore" })
    .status === 0

const unmount = (path: string): void => {
  // Lazily: a server that was killed may not be gone yet.
  spawnSync("umount", ["-l", path], { stdio: "ignore" })
  rmdirSync(path)
}

const folder = (): string => mkdtempSync(join(tmpdir(), "backq-disk-"))

/** Whether this machine lets us make disks. */
const canMount = (): boolean => {
  if (process.getuid?.() !== 0) return false
  const path = folder()
  if (!mount(path, 1)) {
    rmdirSync(path)
    return false
  }
  unmount(path)
  return true
}

/** For tests that need a small disk: where none can be made they are skipped. */
export const isMissing = !canMount()

const chunk = Buffer.alloc(64 * 1024)

/** Writes until there is no room left, not even for a page. */
const fill = (path: string): void => {
  const file = openSync(path, "a")
  try {
    for (let size = chunk.length; size >= 1024;) {
      try {
        writeSync(file, chunk, 0, size)
      } catch {
        size /= 2
      }
    }
  } finally {
    closeSync(file)
  }
}

/** A disk of some mebibytes, in memory. */
export const smallDisk = Effect.fnUntraced(function*(mebibytes: number) {
  const path = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const path = folder()
      if (!mount(path, mebibytes)) throw new Error("mount failed")
      return path
    }),
    (path) => Effect.sync(() => unmount(path))
  )
  const ballast = join(path, "ballast")
  return {
    path,
    /** Takes all the room that is left. */
    fill: Effect.sync(() => fill(ballast)),
    /** Makes room again. */
    empty: Effect.sync(() => unlinkSync(ballast))
  }
})
