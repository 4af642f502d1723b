/** A program of this repository as a project would write it: the pages show this text. */
import { readFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"

const root = join(import.meta.dirname, "..", "..")

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** By file of src, the name that the package has for it. */
const names = new Map<string, string>(
  Object.entries<{ readonly default: string }>(manifest.exports).flatMap(([name, { default: file }]) =>
    file === undefined ? [] : [[file.replace("./dist/", "src/").replace(/\.js$/, ".ts"), name.replace(".", "backq")]]
  )
)

const ours = /^import [^\n]* from "backq[^\n]*\n/gm

/** Imports of the package, in the order of their names: the paths that stand for them here have another. */
const ordered = (source: string): string => {
  const imports = (source.match(ours) ?? []).sort((a, b) => a.split(" from ")[1]! < b.split(" from ")[1]! ? -1 : 1)
  return source.replace(ours, () => imports.shift()!)
}

/** The text of a file below the repository's root, with the package's names in the place of paths to src. */
export const shown = (path: string): string =>
  ordered(
    readFileSync(join(root, path), "utf8").replace(/ from "(\.\.?\/[^"]+)"/g, (whole, specifier: string) => {
      const name = names.get(relative(root, resolve(root, path, "..", specifier)))
      return name === undefined ? whole : ` from "${name}"`
    })
  )
