/**
 * stdout and stderr of the program: it survives a reader that leaves, and its
 * output arrives before it exits, unless a signal comes while the reader is stuck.
 *
 * Node.js throws when a pipe is closed and its errors have no listener. It queues
 * what a pipe does not accept at once, and `process.exit` drops that queue.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"

const ignore = () => {}

/** Ignores errors of stdout and stderr from now on. Output to a closed stream is lost. */
export const guard = (): void => {
  process.stdout.on("error", ignore)
  process.stderr.on("error", ignore)
}

/** Waits until a stream has written its queue, or failed. */
export const flushed = (stream: NodeJS.WriteStream): Effect.Effect<void> =>
  Effect.callback((resume) => {
    stream.write("", () => resume(Effect.void))
  })

/** How long a stuck reader may take at most, after a signal asked the program to end. */
const maxFlushMillis = 5000

/** Waits for both streams, at most 5 seconds after `asked` completes. */
export const flush = (asked: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.raceFirst(
      Effect.andThen(flushed(process.stdout), flushed(process.stderr)),
      Effect.andThen(asked, Effect.sleep(maxFlushMillis))
    )
  )
