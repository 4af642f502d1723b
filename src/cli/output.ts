/**
 * The output of the command: the one place that escapes and writes the lines of
 * stdout and stderr.
 *
 * - It escapes each whole line. So text of a job, a server, a file or a URL can
 *   neither control a terminal nor start another line.
 * - Printing ends when stdout has taken everything. So the end of the program
 *   cuts nothing off, and a slow reader slows the command down.
 * - A closed or full stdout is a failure. If the command has changed something,
 *   the failure says so: {@link withDone}.
 */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { oneLine, safeJson, safeLine } from "../internal/text.ts"

/** The output did not arrive. */
export class OutputError extends Schema.TaggedError<OutputError>()("OutputError", {
  /** The system's error code: `EPIPE`, `ENOSPC`. */
  code: Schema.String,
  detail: Schema.String,
  /** What the command had done by then. */
  done: Schema.optionalKey(Schema.String)
}) {
  /** Whether the reader closed stdout. */
  get isClosed() {
    return this.code === "EPIPE"
  }
  override get message() {
    const what = this.isClosed ? "stdout was closed" : `stdout can't be written: ${this.detail}`
    return this.done === undefined ? what : `${what}; but ${this.done}`
  }
}

/** Where the command prints. */
export interface Output {
  /** Writes to stdout, and waits until it has taken everything. */
  readonly out: (text: string) => Effect.Effect<void, OutputError>
  /** The same for stderr. It can't fail: there would be no place to report it. */
  readonly err: (text: string) => Effect.Effect<void>
  /** Fails when the reader of stdout has closed it, if that can be detected without writing. */
  readonly left: Effect.Effect<never, OutputError>
}

const withoutEnd = (text: string): string => text.replace(/\n$/, "")

/** Where the command prints. Default: Effect's console. */
export const Output = Context.Reference<Output>("backq/cli/Output", {
  defaultValue: () => ({
    out: (text) => Console.log(withoutEnd(text)),
    err: (text) => Console.error(withoutEnd(text)),
    left: Effect.never
  })
})

/** Prints lines, each escaped. */
export const print = (...lines: ReadonlyArray<string>): Effect.Effect<void, OutputError> =>
  Output.use(({ out }) => out(lines.map((line) => `${safeLine(line)}\n`).join("")))

/** Prints a value as JSON, on one line. */
export const printJson = (value: unknown): Effect.Effect<void, OutputError> =>
  Effect.suspend(() => print(safeJson(value)))

/** Prints text of our own that may hold colours, or move the cursor. */
export const display = (text: string): Effect.Effect<void, OutputError> => Output.use(({ out }) => out(text))

/** A line may list the ids of many jobs. */
const maxLineChars = 16_000

/** Prints one line on stderr that is not a result. */
export const note = (message: string): Effect.Effect<void> =>
  Output.use(({ err }) => err(`backq: ${safeLine(oneLine(message, maxLineChars))}\n`))

/**
 * Runs `printed`. If stdout fails, the error includes `done`. If a signal
 * interrupts it, a line on stderr does.
 */
export const withDone = <E, R>(
  done: string,
  printed: Effect.Effect<void, OutputError | E, R>
): Effect.Effect<void, OutputError | E, R> =>
  Effect.mapError(
    Effect.onInterrupt(printed, () => note(`stdout is blocked; but ${done}`)),
    (error) => error instanceof OutputError ? new OutputError({ code: error.code, detail: error.detail, done }) : error
  )

/** Fails when the reader closes stdout, even while nothing is printed. */
export const whileRead = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | OutputError, R> =>
  Output.use(({ left }) => Effect.raceFirst(effect, left))
