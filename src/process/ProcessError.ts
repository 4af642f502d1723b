/**
 * The failures of processes.
 *
 * There is one error, `ProcessError`; its `reason` says what happened. A process that ran
 * to its end is a `ProcessResult` with any exit code, not a failure. Messages show a
 * clipped command, and never the environment or the input. Use
 * `Effect.catchReason("ProcessError", "...")` to handle one reason.
 */
import * as Duration from "effect/Duration"
import * as CommandLine from "effect/process/CommandLine"
import * as Schema from "effect/Schema"
import { blankLine, cut } from "../internal/text.ts"
import { Output } from "./OutputTail.ts"

/** Messages show at most this much of a command. */
const maxChars = 200

const shorten = (text: string): string => text.length > maxChars ? `${cut(text, maxChars - 3)}...` : text

/** The words of a list that can be shown, clipped. */
const firstWords = (words: ReadonlyArray<string>): ReadonlyArray<string> =>
  words.slice(0, maxChars).map((word) => word.slice(0, maxChars + 1))

/**
 * A command or a list of words for messages: quoted as for a shell, on one line, escaped
 * for a terminal, and with at most 200 characters.
 *
 * @category functions
 * @since 0.1.0
 */
export const display = (command: string | ReadonlyArray<string>): string =>
  shorten(blankLine(
    typeof command === "string" ? command.slice(0, maxChars + 1) : CommandLine.display(firstWords(command))
  ))

/**
 * A signal ended the process, and backq did not send it: a crash, the kernel out of memory, an operator.
 *
 * @category errors
 * @since 0.1.0
 */
export class Signalled extends Schema.TaggedError<Signalled>()("Signalled", {
  command: Schema.String,
  /** The signal's name, for instance `SIGKILL`. */
  signal: Schema.String,
  pid: Schema.Int,
  duration: Schema.Duration,
  stdout: Output,
  stderr: Output
}) {
  override get message() {
    const hint = this.signal === "SIGKILL" ? " (perhaps out of memory)" : ""
    return `${this.signal}${hint} ended the process after ${Duration.format(this.duration)}: ${this.command}`
  }
}

/**
 * The process exceeded its timeout and was ended.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", {
  command: Schema.String,
  timeout: Schema.Duration,
  pid: Schema.Int,
  stdout: Output,
  stderr: Output
}) {
  override get message() {
    return `the process exceeded its timeout of ${Duration.format(this.timeout)} and was ended: ${this.command}. ` +
      `Set a longer timeout, or give it less work`
  }
}

/**
 * The process could not start.
 *
 * `"Temporary"` means that the machine lacked processes, memory or files; the same
 * payload may start later. The other kinds stay until the payload or the machine changes.
 *
 * @category errors
 * @since 0.1.0
 */
export class SpawnFailed extends Schema.TaggedError<SpawnFailed>()("SpawnFailed", {
  kind: Schema.Literals(["NotFound", "NotExecutable", "BadCwd", "Temporary", "Other"]),
  program: Schema.String,
  /** The directory of the payload. */
  cwd: Schema.optional(Schema.String),
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `can't start ${display([this.program])}: ${this.detail}`
  }
}

/**
 * The worker's policy refuses the payload, or the payload is invalid. No process was started.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  /** The broken rule. */
  rule: Schema.Literals([
    "payload",
    "shellLines",
    "programs",
    "directories",
    "environment",
    "maxTimeout",
    "maxOutputLimit",
    "detach"
  ]),
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `refused (${this.rule}): ${this.detail}`
  }
}

/**
 * Why a process failed.
 *
 * @category errors
 * @since 0.1.0
 */
export const ProcessErrorReason = Schema.Union([Signalled, TimedOut, SpawnFailed, Refused])

/**
 * The decoded {@link ProcessErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type ProcessErrorReason = typeof ProcessErrorReason.Type

/**
 * The failure of a process; its `reason` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProcessError extends Schema.TaggedError<ProcessError>()("ProcessError", {
  reason: ProcessErrorReason
}) {
  override get message() {
    return this.reason.message
  }
}

/**
 * Wraps a reason in a {@link ProcessError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: ProcessErrorReason): ProcessError => new ProcessError({ reason })
