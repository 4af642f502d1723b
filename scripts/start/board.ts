/**
 * The jobs of the demo and their states: a table that updates in place
 * on a terminal, one line for each change elsewhere.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

/** What a person sees of a job. */
export interface Row {
  readonly title: string
  readonly state: "waiting" | "running" | "retry" | "done" | "buried"
  /** Its output or its failure, on one line. */
  readonly note: string
}

/** The jobs by their envelope's id. */
export interface Board {
  readonly set: (id: string, row: Partial<Row>) => Effect.Effect<void>
  readonly rows: () => ReadonlyArray<Row>
}

const colors: Record<Row["state"], number> = { waiting: 90, running: 36, retry: 33, done: 32, buried: 31 }
const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

const line = ({ note, state, title }: Row): string => `${title.padEnd(28)}  ${state.padEnd(7)}  ${note}`.trimEnd()

const cell = ({ state }: Row, frame: number): string =>
  state === "running" ? spinner[frame % spinner.length]! : { waiting: "·", retry: "↻", done: "✔", buried: "✘" }[state]

/** The table as a terminal shows it, cut to its width. */
export const render = (rows: Iterable<Row>, frame: number, columns: number): string =>
  Array.from(
    rows,
    (row) => `\x1b[${colors[row.state]}m${cell(row, frame)} ${line(row).slice(0, Math.max(0, columns - 3))}\x1b[0m\n`
  ).join("")

/** A board that is visible until its scope closes. */
export const make = Effect.fnUntraced(function*(
  terminal: { readonly isTTY: boolean; readonly columns: number; readonly write: (text: string) => void }
): Effect.fn.Return<Board, never, Scope.Scope> {
  const rows = new Map<string, Row>()
  let frame = 0
  let shown = 0

  const draw = Effect.sync(() => {
    const up = shown === 0 ? "" : `\r\x1b[${shown}A`
    shown = rows.size
    terminal.write(`${up}\x1b[J${render(rows.values(), frame++, terminal.columns)}`)
  })

  if (terminal.isTTY) {
    terminal.write("\x1b[?25l")
    yield* Effect.addFinalizer(() => Effect.andThen(draw, Effect.sync(() => terminal.write("\x1b[?25h"))))
    yield* draw.pipe(Effect.repeat(Schedule.spaced("80 millis")), Effect.forkScoped)
  }

  return {
    set: (id, change) =>
      Effect.suspend(() => {
        const row = { title: id, state: "waiting", note: "", ...rows.get(id), ...change } satisfies Row
        rows.set(id, row)
        return terminal.isTTY ? Effect.void : Console.log(line(row))
      }),
    rows: () => Array.from(rows.values())
  }
})
