/**
 * What the command prints: the one place where a line for stdout or stderr is
 * made safe and handed over.
 *
 * - A line is escaped whole. A string of a job, a server, a file or a URL can do
 *   nothing to a terminal, and one with a line end in it makes no second line.
 * - Printing ends when stdout has taken all of it, so that nothing is left to
 *   be cut off by the end of the program, and a slow reader slows us down.
 * - A stdout that is closed or full fails. Who has changed something meanwhile
 *   says so, since it can't be told otherwise any more: {@link tell}.
 */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { oneLine, safeJson, safeLine } from "../internal/text.ts"

/** What was to be printed did not arrive. */
export class OutputError extends Schema.TaggedError<OutputError>()("OutputError", {
  /** The system's name for it: `EPIPE`, `ENOSPC`. */
  code: Schema.String,
  detail: Schema.String,
  /** What the command had done by then. */
  done: Schema.optionalKey(Schema.String)
}) {
  /** Did the reader leave? */
  get isClosed() {
    return this.code === "EPIPE"
  }
  override get message() {
    const what = this.isClosed ? "stdout was closed" : `stdout can't be written: ${this.detail}`
    return this.done === undefined ? what : `${what}; but ${this.done}`
  }
}

/** Where it is printed. */
export interface Output {
  /** Writes to stdout, and waits until all is taken. */
  readonly out: (text: string) => Effect.Effect<void, OutputError>
  /** The same for stderr, where a failure could be told to nobody. */
  readonly err: (text: string) => Effect.Effect<void>
  /** Fails once the reader of stdout has left, where that can be seen before something is written. */
  readonly left: Effect.Effect<never, OutputError>
}

const withoutEnd = (text: string): string => text.replace(/\n$/, "")

/** Where the command prints. Unless something else is provided: Effect's console. */
export const Output = Context.Reference<Output>("backq/cli/Output", {
  defaultValue: () => ({
    out: (text) => Console.log(withoutEnd(text)),
    err: (text) => Console.error(withoutEnd(text)),
    left: Effect.never
  })
})

/** Prints lines, each made safe. */
export const print = (...lines: ReadonlyArray<string>): Effect.Effect<void, OutputError> =>
  Output.use(({ out }) => out(lines.map((line) => `${safeLine(line)}\n`).join("")))

/** Prints a value as JSON, on one line. */
export const printJson = (value: unknown): Effect.Effect<void, OutputError> =>
  Effect.suspend(() => print(safeJson(value)))

/** Prints text of our own that may hold colours, or move the cursor. */
export const display = (text: string): Effect.Effect<void, OutputError> => Output.use(({ out }) => out(text))

/** A line may tell the ids of many jobs. */
const maxLineChars = 16_000

/** Says something that is no result, in one line on stderr. */
export const complain = (message: string): Effect.Effect<void> =>
  Output.use(({ err }) => err(`backq: ${safeLine(oneLine(message, maxLineChars))}\n`))

/**
 * Tells by {@link print} or {@link printJson} what was done. If that can't be
 * told, the failure says it; if a signal comes first, a line on stderr.
 */
export const tell = <E, R>(
  done: string,
  printed: Effect.Effect<void, OutputError | E, R>
): Effect.Effect<void, OutputError | E, R> =>
  Effect.mapError(
    Effect.onInterrupt(printed, () => complain(`stdout takes nothing; but ${done}`)),
    (error) => error instanceof OutputError ? new OutputError({ code: error.code, detail: error.detail, done }) : error
  )

/** Ends with a failure when the reader leaves, also while nothing is printed. */
export const whileRead = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | OutputError, R> =>
  Output.use(({ left }) => Effect.raceFirst(effect, left))
