/**
 * stdout and stderr of this program: a reader that leaves is no reason to die,
 * and what was written arrives before the end, unless a signal comes and its
 * reader is stuck.
 *
 * Node.js throws where a pipe is closed and nobody listens for its errors; it
 * queues what a pipe does not take at once, and `process.exit` throws that away.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"

const ignore = () => {}

/** From now on an error of stdout or stderr ends nothing. What is written to one that is closed is lost. */
export const guard = (): void => {
  process.stdout.on("error", ignore)
  process.stderr.on("error", ignore)
}

/** Waits until a stream has passed on what it was given, or can't. */
export const flushed = (stream: NodeJS.WriteStream): Effect.Effect<void> =>
  Effect.callback((resume) => {
    stream.write("", () => resume(Effect.void))
  })

/** How long a reader has, once the program was asked to come to an end. */
const lastTime = "5 seconds"

/** The same for both, but not for long once the program was asked to come to an end. */
export const flush = (asked: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.raceFirst(
      Effect.andThen(flushed(process.stdout), flushed(process.stderr)),
      Effect.andThen(asked, Effect.sleep(lastTime))
    )
  )
