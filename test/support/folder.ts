/** Temporary folders for tests. */
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A temporary folder. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
