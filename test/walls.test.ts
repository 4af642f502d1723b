/** The walls between the rooms of src: who may import what. */
import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { dirname, join, normalize, sep } from "node:path"

const src = join(import.meta.dirname, "..", "src")

interface Import {
  /** The file that imports, relative to src. */
  readonly from: string
  readonly specifier: string
}

type Room =
  | "internal"
  | "core"
  | "url"
  | "memory"
  | "sqlite"
  | "beanstalk"
  | "apns"
  | "http2"
  | "process"
  | "tail"
  | "main"
  | "testing"
  | "testing/apns"
  | "cli"

const rooms: ReadonlySet<string> = new Set([
  "memory",
  "sqlite",
  "beanstalk",
  "apns",
  "http2",
  "process",
  "tail",
  "main",
  "testing",
  "cli"
])

/** What every room may use; the rest of internal/ is the worker's. */
const helpers: ReadonlySet<string> = new Set([
  "internal/exactNumbers.ts",
  "internal/peerNumber.ts",
  "internal/text.ts",
  "internal/thrown.ts",
  "internal/uuid.ts"
])

/** The room of a file. A folder that nobody gave walls to has none, and fails. */
const roomOf = (path: string): Room | undefined => {
  if (helpers.has(path)) return "internal"
  if (path === "BrokerUrl.ts") return "url"
  if (path.startsWith("testing/apns/")) return "testing/apns"
  const [folder, ...rest] = path.split("/")
  if (rest.length === 0 || folder === "internal") return "core"
  return rooms.has(folder!) ? folder as Room : undefined
}

/** What each room may import from the others, and from outside. */
const walls: Record<Room, { readonly rooms: ReadonlyArray<Room>; readonly outside: RegExp }> = {
  internal: { rooms: [], outside: /^effect\// },
  core: { rooms: [], outside: /^effect\// },
  url: { rooms: ["core", "memory", "sqlite", "beanstalk"], outside: /^(effect\/|@effect\/platform-node\/)/ },
  memory: { rooms: ["core"], outside: /^effect\// },
  sqlite: { rooms: ["core"], outside: /^(effect\/|node:)/ },
  beanstalk: { rooms: ["core"], outside: /^(effect\/|@effect\/platform-node\/|node:)/ },
  http2: { rooms: [], outside: /^(effect\/|@effect\/platform-node\/|node:)/ },
  apns: { rooms: ["core", "http2"], outside: /^(effect\/|@effect\/platform-node\/|node:)/ },
  process: { rooms: ["core"], outside: /^(effect\/|@effect\/platform-node\/|node:)/ },
  tail: { rooms: ["core"], outside: /^(effect\/|@effect\/platform-node\/|node:)/ },
  main: { rooms: ["process"], outside: /^effect\// },
  testing: { rooms: ["core", "memory", "process"], outside: /^effect\// },
  "testing/apns": { rooms: ["core", "apns"], outside: /^(effect\/|node:)/ },
  cli: {
    rooms: ["core", "url", "memory", "beanstalk", "apns", "process", "tail", "main", "testing/apns"],
    outside: /^(effect\/|@effect\/platform-node\/|node:)/
  }
}

/** The one file that may know the package of the other driver. */
const drivers: Record<string, string> = { "beanstalk/Fivebeans.ts": "fivebeans" }

/** Why an import is not allowed. */
const objection = ({ from, specifier }: Import): string | undefined => {
  const room = roomOf(from)
  if (room === undefined) return `${from} is in a folder that has no walls: give it some here`
  if (!specifier.startsWith(".")) {
    return walls[room].outside.test(specifier) || drivers[from] === specifier
      ? undefined
      : `${from} (${room}) imports "${specifier}"`
  }
  const target = normalize(join(dirname(from), specifier)).split(sep).join("/")
  const other = roomOf(target)
  return other === room || other === "internal" || (other !== undefined && walls[room].rooms.includes(other))
    ? undefined
    : `${from} (${room}) imports ${target} (${other ?? "no room"})`
}

const statement =
  /^(?:import|export)\b[^"';]*?from\s*["']([^"']+)["']|^import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm

/** The specifiers of a module's imports, re-exports and dynamic imports. */
const specifiers = (source: string): ReadonlyArray<string> =>
  [...source.matchAll(statement)].map((match) => (match[1] ?? match[2] ?? match[3])!)

const files = globSync("**/*.ts", { cwd: src }).map((path) => path.split(sep).join("/")).sort()

const imports: ReadonlyArray<Import> = files.flatMap((from) =>
  specifiers(readFileSync(join(src, from), "utf8")).map((specifier) => ({ from, specifier }))
)

describe("walls", () => {
  it("every import of src stays within its room's walls", () => {
    assert.isAbove(imports.length, files.length)
    assert.deepStrictEqual(imports.flatMap((one) => objection(one) ?? []), [])
  })

  it("finds every kind of import", () => {
    assert.deepStrictEqual(
      specifiers([
        `/** import { no } from "in a comment" */`,
        `import * as A from "a"`,
        `import type { B } from "b"`,
        `import {`,
        `  C`,
        `} from "c"`,
        `import "d"`,
        `export * as E from "./e.ts"`,
        `export { F } from "f"`,
        `const text = "import"`,
        `const g = await import("g")`
      ].join("\n")),
      ["a", "b", "c", "d", "./e.ts", "f", "g"]
    )
  })

  const refused: ReadonlyArray<Import> = [
    { from: "Worker.ts", specifier: "effect" },
    { from: "Worker.ts", specifier: "node:fs" },
    { from: "Worker.ts", specifier: "@effect/platform-node/NodeSocket" },
    { from: "Worker.ts", specifier: "./memory/index.ts" },
    { from: "Worker.ts", specifier: "./BrokerUrl.ts" },
    { from: "internal/settle.ts", specifier: "../beanstalk/index.ts" },
    { from: "memory/Jobs.ts", specifier: "../beanstalk/Reply.ts" },
    { from: "sqlite/File.ts", specifier: "@effect/platform-node/NodeFileSystem" },
    { from: "sqlite/Jobs.ts", specifier: "../memory/Heap.ts" },
    { from: "beanstalk/Client.ts", specifier: "fivebeans" },
    { from: "beanstalk/Client.ts", specifier: "../cli/bin.ts" },
    { from: "process/Process.ts", specifier: "../memory/index.ts" },
    { from: "http2/Connection.ts", specifier: "../BrokerError.ts" },
    { from: "apns/Reason.ts", specifier: "../process/index.ts" },
    { from: "Worker.ts", specifier: "./apns/index.ts" },
    { from: "testing/index.ts", specifier: "../beanstalk/index.ts" },
    { from: "testing/index.ts", specifier: "./apns/index.ts" },
    { from: "attic/Old.ts", specifier: "../Worker.ts" }
  ]

  it.each(refused)("refuses $specifier in $from", (one) => assert.isDefined(objection(one)))

  const allowed: ReadonlyArray<Import> = [
    { from: "Worker.ts", specifier: "effect/Effect" },
    { from: "internal/settle.ts", specifier: "../Worker.ts" },
    { from: "BrokerUrl.ts", specifier: "./beanstalk/index.ts" },
    { from: "sqlite/File.ts", specifier: "node:sqlite" },
    { from: "beanstalk/Fivebeans.ts", specifier: "fivebeans" },
    { from: "beanstalk/Native.ts", specifier: "@effect/platform-node/NodeSocket" },
    { from: "apns/Apns.ts", specifier: "../http2/Connection.ts" },
    { from: "testing/index.ts", specifier: "../memory/index.ts" },
    { from: "testing/apns/Certificate.ts", specifier: "node:crypto" },
    { from: "cli/bin.ts", specifier: "../BrokerUrl.ts" }
  ]

  it.each(allowed)("allows $specifier in $from", (one) => assert.isUndefined(objection(one)))
})
