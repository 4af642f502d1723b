/**
 * Reports writes to a database without polling: every commit writes to the
 * write-ahead log, a file beside the database.
 *
 * The file is watched only during a call. So the watcher is always on the
 * current file, and costs nothing between calls.
 */
import * as Effect from "effect/Effect"
import { watch } from "node:fs"
import { tickMillis } from "./waiters.ts"

/** Waits for the next write. `isChanged` tells whether one came before the watcher was there. */
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
    // Some file systems can't be watched. Then the caller polls.
    Effect.catch(() => Effect.sleep(tickMillis))
  )
