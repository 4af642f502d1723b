/**
 * The failures of a process that did not end by itself.
 *
 * There is one error, `ProcessError`; what happened is its `reason`. A process
 * that ran to its end is no failure, whatever its exit code: that is a
 * `ProcessResult`. Messages show the command, shortened, and never the
 * environment or the input. Use `Effect.catchReason("ProcessError", "...")` to
 * handle one of them.
 */
import * as Duration from "effect/Duration"
import * as CommandLine from "effect/process/CommandLine"
import * as Schema from "effect/Schema"
import { blankLine, cut } from "../internal/text.ts"
import { Output } from "./OutputTail.ts"

/** How much of a command is shown. */
const maxChars = 200

const shorten = (text: string): string => text.length > maxChars ? `${cut(text, maxChars - 3)}...` : text

/** The first words of a list, as many and as much of each as is shown. */
const firstWords = (words: ReadonlyArray<string>): ReadonlyArray<string> =>
  words.slice(0, maxChars).map((word) => word.slice(0, maxChars + 1))

/**
 * A command, or a list of words, as messages show it: quoted as for a shell, on
 * one line that does nothing to a terminal, at most 200 characters long.
 *
 * @category functions
 * @since 0.1.0
 */
export const display = (command: string | ReadonlyArray<string>): string =>
  shorten(blankLine(
    typeof command === "string" ? command.slice(0, maxChars + 1) : CommandLine.display(firstWords(command))
  ))

/**
 * A signal that nobody here sent ended the process: a crash, the kernel out of memory, an operator.
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
    const hint = this.signal === "SIGKILL" ? " (out of memory, perhaps)" : ""
    return `the process was ended by ${this.signal}${hint} after ${Duration.format(this.duration)}: ${this.command}`
  }
}

/**
 * The process ran longer than its timeout and was ended.
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
    return `the process was ended at its timeout of ${Duration.format(this.timeout)}: ${this.command}. ` +
      `Give it a longer timeout, or let it do less at once`
  }
}

/**
 * The process could not be started.
 *
 * `"Temporary"` means that the machine had no room for it just then (processes,
 * memory, files); the same payload may start later. With all others it will
 * not, until somebody changes the payload or the machine.
 *
 * @category errors
 * @since 0.1.0
 */
export class SpawnFailed extends Schema.TaggedError<SpawnFailed>()("SpawnFailed", {
  kind: Schema.Literals(["NotFound", "NotExecutable", "BadCwd", "Temporary", "Other"]),
  program: Schema.String,
  /** The directory that the payload asked for. */
  cwd: Schema.optional(Schema.String),
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `can't start ${display([this.program])}: ${this.detail}`
  }
}

/**
 * The worker's policy does not allow it, or the payload breaks its own rules. Nothing was started.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  /** The rule that was broken. */
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
 * Everything that can go wrong with a process.
 *
 * @category errors
 * @since 0.1.0
 */
export const ProcessErrorReason = Schema.Union([Signalled, TimedOut, SpawnFailed, Refused])

/**
 * Everything that can go wrong with a process.
 *
 * @category errors
 * @since 0.1.0
 */
export type ProcessErrorReason = typeof ProcessErrorReason.Type

/**
 * A process's failure; its `reason` says which.
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
 * Wraps a reason in the process's error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: ProcessErrorReason): ProcessError => new ProcessError({ reason })
