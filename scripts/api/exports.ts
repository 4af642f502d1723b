/**
 * What a user can import: the exports of every subpath of package.json, followed
 * through the index files to their declarations, with the comment of each.
 *
 * It reads the forms in which this repository writes exports, line by line. A
 * form that it does not know is an error, so that nothing is left out silently.
 */
import { readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"

const root = join(import.meta.dirname, "..", "..")

/** A declaration that a user can import. */
export interface Exported {
  /** The file, relative to the repository. */
  readonly file: string
  /** The line of the declaration, from 0. */
  readonly line: number
  readonly name: string
  readonly kind: string
  /** The comment above it; empty where there is none. */
  readonly doc: string
}

interface Import {
  readonly file: string
  readonly name: string
}

interface Source {
  readonly lines: ReadonlyArray<string>
  readonly declared: ReadonlyArray<Exported>
  /** Names that other files declare, by the name here. */
  readonly imported: ReadonlyMap<string, Import>
  /** Names that are exported as they were declared or imported elsewhere in the file. */
  readonly listed: ReadonlyArray<string>
  readonly reexported: ReadonlyArray<Import>
  /** Files of which everything is exported. */
  readonly all: ReadonlyArray<string>
  /** Files of which everything is exported under one name, by that name. */
  readonly namespaces: ReadonlyMap<string, string>
}

const declaration = /^(export )?(?:declare )?(?:abstract )?(const|class|interface|type|function\*?) (\w+)/

/** The comment that ends right above a line. Instructions to the compiler may stand in between. */
const docAbove = (lines: ReadonlyArray<string>, line: number): string => {
  let end = line - 1
  while (lines[end]?.startsWith("//") === true) end--
  if (lines[end]?.endsWith("*/") !== true) return ""
  let start = end
  while (start > 0 && !lines[start]!.startsWith("/**")) start--
  return lines.slice(start, end + 1).join("\n")
}

const names = (list: string): ReadonlyArray<readonly [from: string, to: string]> =>
  list.split(",").map((one) => one.trim().replace(/^type /, "")).filter((one) => one !== "").map((one) => {
    const [from, to] = one.split(" as ")
    return [from!, to ?? from!]
  })

const read = (file: string): Source => {
  const text = readFileSync(join(root, file), "utf8")
  const lines = text.split("\n")
  const resolve = (specifier: string) => relative(root, join(root, dirname(file), specifier))
  const imported = new Map<string, Import>()
  for (const [, list, specifier] of text.matchAll(/^import (?:type )?\{([^}]*)\} from "(\.[^"]+)"/gm)) {
    for (const [from, to] of names(list!)) imported.set(to, { file: resolve(specifier!), name: from })
  }
  const declared: Array<Exported> = []
  const listed: Array<string> = []
  const reexported: Array<Import> = []
  const all: Array<string> = []
  const namespaces = new Map<string, string>()
  for (const [line, content] of lines.entries()) {
    const found = declaration.exec(content)
    if (found?.[1] !== undefined) {
      declared.push({ file, line, name: found[3]!, kind: found[2]!, doc: docAbove(lines, line) })
      continue
    }
    if (!content.startsWith("export ")) continue
    const everything = /^export (?:type )?\*(?: as (\w+))? from "(\.[^"]+)"/.exec(content)
    const some = /^export (?:type )?\{([^}]*)\}(?: from "(\.[^"]+)")?/.exec(lines.slice(line).join("\n"))
    if (everything !== null) {
      all.push(resolve(everything[2]!))
      if (everything[1] !== undefined) namespaces.set(everything[1], resolve(everything[2]!))
    } else if (some !== null) {
      for (const [from] of names(some[1]!)) {
        if (some[2] === undefined) listed.push(from)
        else reexported.push({ file: resolve(some[2]), name: from })
      }
    } else throw new Error(`${file}:${line + 1} exports in a form that is not known here: ${content}`)
  }
  return { lines, declared, imported, listed, reexported, all, namespaces }
}

const sources = new Map<string, Source>()

const sourceOf = (file: string): Source => {
  const known = sources.get(file) ?? read(file)
  sources.set(file, known)
  return known
}

/** The declarations of one name of a file. */
const named = ({ file, name }: Import): ReadonlyArray<Exported> => {
  const { all, declared, imported, lines, namespaces, reexported } = sourceOf(file)
  const namespace = namespaces.get(name)
  if (namespace !== undefined) return allOf(namespace)
  const here = declared.filter((one) => one.name === name)
  if (here.length > 0) return here
  const from = imported.get(name) ?? reexported.find((one) => one.name === name)
  if (from !== undefined) return named(from)
  const line = lines.findIndex((content) => declaration.exec(content)?.[3] === name)
  if (line >= 0) {
    return [{ file, line, name, kind: declaration.exec(lines[line]!)![2]!, doc: docAbove(lines, line) }]
  }
  for (const other of all) {
    const found = sourceOf(other).declared.filter((one) => one.name === name)
    if (found.length > 0) return found
  }
  throw new Error(`${file} has no ${name}`)
}

const allOf = (file: string): ReadonlyArray<Exported> => {
  const { all, declared, listed, reexported } = sourceOf(file)
  return [
    ...declared,
    ...listed.flatMap((name) => named({ file, name })),
    ...reexported.flatMap(named),
    ...all.flatMap(allOf)
  ]
}

/** The sources of the subpaths, relative to the repository. */
export const entryPoints: ReadonlyArray<string> = Object.values<string | { readonly default: string }>(
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports
).flatMap((entry) => typeof entry === "string" ? [] : [entry.default]).map((path) =>
  path.replace("./dist/", "src/").replace(/\.js$/, ".ts")
)

/** Everything that a user can import. A function with several signatures is there once, with the comment of the first. */
export const exported = (): ReadonlyArray<Exported> => {
  const found = new Map<string, Exported>()
  for (const one of entryPoints.flatMap(allOf)) {
    const key = one.kind.startsWith("function") ? `${one.file} ${one.name}` : `${one.file}:${one.line}`
    if (!found.has(key)) found.set(key, one)
  }
  return [...found.values()].sort((a, b) => a.file < b.file || (a.file === b.file && a.line < b.line) ? -1 : 1)
}

/** The categories, in the order of the reference. */
export const categories: ReadonlyArray<string> = JSON.parse(
  readFileSync(join(import.meta.dirname, "typedoc.json"), "utf8")
).categoryOrder
