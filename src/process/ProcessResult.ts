/**
 * The result of a process that was started.
 */
import * as Duration from "effect/Duration"
import type { Output } from "./OutputTail.ts"
import * as OutputTail from "./OutputTail.ts"

/**
 * A process that ran to its end.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exited {
  readonly _tag: "Exited"
  readonly pid: number
  readonly exitCode: number
  readonly stdout: Output
  readonly stderr: Output
  readonly duration: Duration.Duration
}

/**
 * A process that was started with `detach`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Detached {
  readonly _tag: "Detached"
  readonly pid: number
}

/**
 * The result of a process.
 *
 * @category models
 * @since 0.1.0
 */
export type ProcessResult = Exited | Detached

/**
 * An {@link Exited} for tests. Default: exit code 0 and no output.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exited = (options: {
  readonly exitCode?: number | undefined
  readonly stdout?: string | Uint8Array | undefined
  readonly stderr?: string | Uint8Array | undefined
  readonly duration?: Duration.Input | undefined
  readonly pid?: number | undefined
} = {}): Exited => ({
  _tag: "Exited",
  pid: options.pid ?? 1,
  exitCode: options.exitCode ?? 0,
  stdout: OutputTail.fromText(options.stdout ?? ""),
  stderr: OutputTail.fromText(options.stderr ?? ""),
  duration: Duration.fromInputUnsafe(options.duration ?? 0)
})
