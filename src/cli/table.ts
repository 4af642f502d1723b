/** A table for a terminal. */

type Cell = string | number

/** Lays out rows in columns: the first to the left, the others to the right unless said otherwise. */
export const table = (
  head: ReadonlyArray<Cell>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>,
  others: "left" | "right" = "right"
): string => {
  const lines = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines.map((line) =>
    line.map((cell, column) =>
      column === 0 || others === "left" ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  ).join("\n")
}
