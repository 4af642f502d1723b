/**
 * Runs the main effect of a program of workers, as `NodeRuntime.runMain` does,
 * with what a worker needs beyond that:
 *
 * - SIGHUP stops it gracefully, as SIGTERM and SIGINT do. A second SIGTERM or
 *   SIGINT, or SIGQUIT, ends it at once, and its processes before it.
 * - A pipe that nobody reads any more, such as that of its log, does not end it:
 *   it goes on without.
 * - What it has printed and logged arrives before it exits, however slow the
 *   reader; after a signal a reader has five seconds.
 *
 * Limits: Node.js itself takes back what `nohup` set, before a program can see
 * it; start such a program with `setsid`, or by a service manager.
 */
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Signals from "./signals.ts"
import * as StandardStreams from "./standardStreams.ts"

/**
 * A main program under way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Program {
  /** Did a signal ask it to come to an end? */
  readonly isAsked: () => boolean
  /** Listens to signals no more; the program goes on. */
  readonly release: () => void
  /** Exits, once what was printed has arrived: with this code, or with 130 when a signal ended it at once. */
  readonly exit: (code: number) => void
}

/**
 * From now on signals and broken pipes mean what they mean in {@link run}. For
 * programs that end in a way of their own: `onAsked` is called once, at the
 * first signal, and the program calls `exit`.
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
 * It exits with 0 when the effect succeeds, 130 when a signal stopped it, and 1
 * when it fails; `teardown` decides otherwise.
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
    // without a signal or a failure the rest of the program, if there is any, goes on
    teardown(exit, (code) => code === 0 && !program.isAsked() ? program.release() : program.exit(code))
  )
})
