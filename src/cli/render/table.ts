/** A table for a terminal. */
import { safeLine } from "../../internal/text.ts"

type Cell = string | number

/** Lays out rows in columns. Aligns the first column left, and the others right by default. */
export const table = (
  head: ReadonlyArray<Cell>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>,
  others: "left" | "right" = "right"
): ReadonlyArray<string> => {
  const lines = [head, ...rows].map((row) => row.map((cell) => safeLine(String(cell))))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines.map((line) =>
    line.map((cell, column) =>
      column === 0 || others === "left" ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  )
}
