/** The help text of the command. */
import * as Effect from "effect/Effect"
import { run } from "./command.ts"

export const helpOf = (...path: ReadonlyArray<string>) => Effect.map(run([...path, "--help"]), ({ stdout }) => stdout)

/** The lines of a part of the help, split into the flag and its description. */
export const part = (help: string, title: string): ReadonlyArray<readonly [string, string]> => {
  const lines = help.split("\n")
  const start = lines.indexOf(title)
  if (start < 0) return []
  const end = lines.indexOf("", start)
  return lines.slice(start + 1, end < 0 ? undefined : end).map((line) => {
    const [head, text] = line.trim().split(/ {2,}/)
    return [head!, text ?? ""] as const
  })
}

/** The commands that have no commands below them. */
export const commandsBelow = Effect.fnUntraced(
  function*(...path: ReadonlyArray<string>): Effect.fn.Return<Array<string>> {
    const help = yield* helpOf(...path)
    const groups = ["SUBCOMMANDS", ...Array.from(help.matchAll(/^(\w+:)$/gm), ([, title]) => title!)]
    const names = groups.flatMap((title) => part(help, title)).map(([name]) => name)
    if (names.length === 0) return [path.join(" ")]
    const below: Array<Array<string>> = []
    for (const name of names) below.push(yield* commandsBelow(...path, name))
    return below.flat()
  }
)
