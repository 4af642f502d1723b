/**
 * Tells of writes to a database without asking again and again: every commit
 * is written to the write-ahead log, a file beside the database.
 *
 * The file is watched from one call to its answer only, so that the watcher is
 * always on the file that is there, and costs nothing in between.
 */
import * as Effect from "effect/Effect"
import { watch } from "node:fs"
import { tick } from "./waiters.ts"

/** Waits for the next write. `isChanged` says whether there was one before the file was watched. */
export const changed = (path: string, isChanged: () => boolean): Effect.Effect<void> =>
  Effect.acquireUseRelease(
    Effect.try({ try: () => watch(`${path}-wal`, { persistent: false }), catch: () => undefined }),
    (watcher) =>
      Effect.callback<void>((resume) => {
        watcher.once("change", () => resume(Effect.void))
        watcher.once("error", () => resume(Effect.void))
        if (isChanged()) resume(Effect.void)
      }),
    (watcher) => Effect.sync(() => watcher.close())
  ).pipe(
    // Where nothing can be watched, it is asked again and again after all.
    Effect.catch(() => Effect.sleep(tick))
  )
