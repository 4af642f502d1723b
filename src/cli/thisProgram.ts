/** How this program was started, for the commands that it prints. */
import * as Effect from "effect/Effect"
import * as Path from "effect/Path"

/** Quotes a word for a shell. */
export const quoted = (word: string): string => /^[\w./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/** The command that started this program. */
export const program = Effect.map(Path.Path, (path) => {
  const script = process.argv[1] ?? ""
  return script.endsWith(".ts")
    ? `npx tsx ${quoted(path.relative(process.cwd(), script))}`
    : script.includes("node_modules")
    ? "npx backq"
    : "backq"
})
