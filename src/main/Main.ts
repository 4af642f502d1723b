/**
 * Runs the main effect of a program of workers, like `NodeRuntime.runMain`. In
 * addition:
 *
 * - SIGHUP stops the program gracefully, as SIGTERM and SIGINT do. A second
 *   SIGTERM or SIGINT, or SIGQUIT, ends it at once, after its processes.
 * - A closed pipe, such as that of its log, does not end the program.
 * - What the program has printed and logged arrives before it exits, however slow
 *   the reader is. After a signal a reader has five seconds.
 *
 * Limits: Node.js undoes `nohup` before a program can see it. Start such a program
 * with `setsid`, or with a service manager.
 */
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Signals from "./signals.ts"
import * as StandardStreams from "./standardStreams.ts"

/**
 * A main program that runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Program {
  /** Whether a signal asked the program to end. */
  readonly isAsked: () => boolean
  /** Stops listening to signals. The program goes on. */
  readonly release: () => void
  /** Exits with this code after all output has arrived, or with 130 when a signal ends it at once. */
  readonly exit: (code: number) => void
}

/**
 * Handles signals and broken pipes like {@link run}, for programs that end in
 * their own way. Calls `onAsked` once, at the first signal; the program then calls
 * `exit`.
 *
 * @category functions
 * @since 0.1.0
 */
export const begin = (onAsked: () => void): Program => {
  StandardStreams.guard()
  const signals = Signals.listen(onAsked)
  return {
    isAsked: signals.isAsked,
    release: signals.close,
    exit: (code) => {
      Effect.runFork(Effect.andThen(
        StandardStreams.flush(signals.asked),
        Effect.sync(() => process.exit(signals.isForced() ? Signals.interrupted : code))
      ))
    }
  }
}

/**
 * Runs an effect as the main program, until it ends or a signal ends it.
 *
 * It exits with 0 when the effect succeeds, with 130 when a signal stops it, and
 * with 1 when it fails. `teardown` can change that.
 *
 * **Example**
 *
 * ```ts
 * Worker.run({}, handler).pipe(Effect.provide(BrokerUrl.layerConfig()), Main.run)
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = Runtime.makeRunMain(({ fiber, teardown }) => {
  const program = begin(() => fiber.interruptUnsafe(fiber.id))
  fiber.addObserver((exit) =>
    // without a signal or a failure the rest of the program goes on
    teardown(exit, (code) => code === 0 && !program.isAsked() ? program.release() : program.exit(code))
  )
})
