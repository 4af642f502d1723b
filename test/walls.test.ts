/**
 * The walls between the rooms of src: the allowed imports, through which door,
 * and which files are public. CONTRIBUTING.md says the same in words.
 */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, globSync, readFileSync } from "node:fs"
import { basename, dirname, join, normalize, sep } from "node:path"
import manifest from "../package.json" with { type: "json" }

const src = join(import.meta.dirname, "..", "src")

interface Import {
  /** The file that imports, relative to src. */
  readonly from: string
  readonly specifier: string
}

/** The rooms, by how the paths of their files begin. The first that fits is the one. */
const rooms = [
  "brokers/url.ts",
  "brokers/shared",
  "brokers/memory",
  "brokers/sqlite",
  "brokers/beanstalk",
  "brokers/postgres",
  "push/pool",
  "push/job",
  "push/credential",
  "push/apns",
  "push/fcm",
  "push/webpush",
  "http2",
  "process",
  "main",
  "tail",
  "testing/push",
  "testing/apns",
  "testing/fcm",
  "testing/webpush",
  "testing",
  "cli",
  "internal",
  "worker"
] as const

type Room = typeof rooms[number] | "contract"

/** The room of a file. A folder without walls has no room, and fails. */
const roomOf = (path: string): Room | undefined =>
  path.includes("/") ? rooms.find((room) => path === room || path.startsWith(`${room}/`)) : "contract"

const effect = /^effect\//
const node = /^(effect\/|node:)/
const platform = /^(effect\/|@effect\/platform-node\/|node:)/

/** The imports that each room may use, from others (all may use `internal`) and from outside. */
const walls: Record<Room, { readonly rooms: ReadonlyArray<Room>; readonly outside: RegExp }> = {
  internal: { rooms: [], outside: effect },
  contract: { rooms: ["worker"], outside: effect },
  worker: { rooms: ["contract"], outside: effect },
  "brokers/shared": { rooms: ["contract"], outside: effect },
  "brokers/memory": { rooms: ["contract", "brokers/shared"], outside: effect },
  "brokers/sqlite": { rooms: ["contract", "brokers/shared"], outside: node },
  "brokers/beanstalk": { rooms: ["contract", "brokers/shared"], outside: platform },
  "brokers/postgres": { rooms: ["contract", "brokers/shared"], outside: node },
  "brokers/url.ts": {
    rooms: ["contract", "brokers/memory", "brokers/sqlite", "brokers/beanstalk", "brokers/postgres"],
    outside: /^(effect\/|@effect\/platform-node\/)/
  },
  http2: { rooms: [], outside: platform },
  "push/pool": { rooms: ["http2"], outside: node },
  "push/job": { rooms: ["contract"], outside: effect },
  "push/credential": { rooms: [], outside: node },
  "push/apns": { rooms: ["contract", "http2", "push/pool", "push/job", "push/credential"], outside: platform },
  "push/fcm": { rooms: ["contract", "http2", "push/pool", "push/job", "push/credential"], outside: platform },
  "push/webpush": { rooms: ["contract", "http2", "push/pool", "push/job", "push/credential"], outside: platform },
  process: { rooms: ["contract"], outside: platform },
  main: { rooms: ["process"], outside: platform },
  tail: { rooms: ["contract"], outside: platform },
  testing: { rooms: ["contract", "brokers/memory", "process"], outside: effect },
  "testing/push": { rooms: [], outside: node },
  "testing/apns": { rooms: ["contract", "push/apns", "testing/push"], outside: node },
  "testing/fcm": { rooms: ["testing/push"], outside: node },
  "testing/webpush": { rooms: ["contract", "push/webpush", "testing/push"], outside: node },
  cli: {
    rooms: [
      "contract",
      "brokers/url.ts",
      "brokers/memory",
      "brokers/beanstalk",
      "push/apns",
      "push/fcm",
      "push/webpush",
      "process",
      "main",
      "tail",
      "testing/apns",
      "testing/fcm",
      "testing/webpush"
    ],
    outside: platform
  }
}

/** The one file of a room that may know the package of its driver. */
const drivers: Record<string, RegExp> = {
  "brokers/beanstalk/Fivebeans.ts": /^fivebeans$/,
  "brokers/postgres/driver.ts": /^@effect\/sql-pg\//,
  "push/webpush/http1.ts": /^undici$/
}

/** The files that users enter by, from the subpaths of the package. */
const entries = Object.values(manifest.exports).flatMap((entry) =>
  typeof entry === "string" ? [] : [entry.default.replace("./dist/", "").replace(/\.js$/, ".ts")]
)

/** Rooms whose modules are all doors: the contract, which all others use, and small helpers. */
const open: ReadonlyArray<Room | undefined> = ["contract", "internal"]

/** Whether other rooms may import this file. */
const isDoor = (path: string): boolean =>
  basename(path) === "index.ts" || basename(path) === "Store.ts" || entries.includes(path) ||
  open.includes(roomOf(path))

/** Why an import is not allowed. */
const objection = ({ from, specifier }: Import): string | undefined => {
  const room = roomOf(from)
  if (room === undefined) return `${from} is in a folder that has no walls: give it some here`
  if (!specifier.startsWith(".")) {
    return walls[room].outside.test(specifier) || drivers[from]?.test(specifier) === true
      ? undefined
      : `${from} (${room}) imports "${specifier}"`
  }
  const target = normalize(join(dirname(from), specifier)).split(sep).join("/")
  const other = roomOf(target)
  if (other === room) return undefined
  if (other !== "internal" && (other === undefined || !walls[room].rooms.includes(other))) {
    return `${from} (${room}) imports ${target} (${other ?? "no room"})`
  }
  return isDoor(target)
    ? undefined
    : `${from} (${room}) imports ${target}, which is no door of ${other}: import its index.ts`
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

/** The modules that an index names. */
const exported = (index: string): ReadonlyArray<string> =>
  specifiers(readFileSync(join(src, index), "utf8")).map((specifier) =>
    normalize(join(dirname(index), specifier)).split(sep).join("/")
  )

/** The index of a file's room. */
const indexOf = (path: string): string | undefined => {
  const room = roomOf(path)
  const index = room === "contract" ? "index.ts" : `${room}/index.ts`
  return existsSync(join(src, index)) ? index : undefined
}

/**
 * Why a file has the wrong first letter, if it has: in a room that users enter
 * a capital says that the file is public. A room that only we enter has no
 * public files; there a capital is for modules that its index exports.
 */
const letterObjection = (path: string): string | undefined => {
  const name = basename(path)
  // a room in a single file has the name of its subpath
  if (name === "index.ts" || path === "brokers/url.ts") return undefined
  const index = indexOf(path)
  const isExported = entries.includes(path) || (index !== undefined && exported(index).includes(path))
  if (/^[A-Z]/.test(name)) {
    return isExported
      ? undefined
      : `${path} is private: begin its name with a small letter, or export it from its room's index.ts`
  }
  return isExported && entries.includes(index!)
    ? `${path} is exported by ${index}: begin its name with a capital`
    : undefined
}

/** What a room may import from outside, in words. */
const outsideNames = (outside: RegExp): string =>
  ["effect", "node:", "@effect/platform-node"]
    .filter((name) => outside.test(name.endsWith(":") ? `${name}fs` : `${name}/X`))
    .map((name) => name === "node:" ? "Node.js" : name)
    .join(", ")

/** The allowed imports, as a table for people. */
const table = (): string =>
  [
    "| room | may import | and from outside |",
    "|---|---|---|",
    ...Object.entries(walls).map(([room, { outside, rooms }]) =>
      `| ${room} | ${rooms.length === 0 ? "-" : rooms.join(", ")} | ${outsideNames(outside)} |`
    )
  ].join("\n")

describe("walls", () => {
  it("every import of src stays within its room's walls", () => {
    assert.isAbove(imports.length, files.length)
    assert.deepStrictEqual(imports.flatMap((one) => objection(one) ?? []), [])
  })

  it("a file has a capital exactly if its room's index exports it", () => {
    assert.deepStrictEqual(
      files.flatMap((path) => letterObjection(path) ?? []),
      []
    )
  })

  it("ARCHITECTURE.md holds the table of allowed imports", () => {
    assert.include(readFileSync(join(src, "..", "ARCHITECTURE.md"), "utf8"), table(), table())
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
    { from: "Worker.ts", specifier: "./brokers/memory/index.ts" },
    { from: "Worker.ts", specifier: "./brokers/url.ts" },
    { from: "Worker.ts", specifier: "./push/apns/index.ts" },
    { from: "worker/settle.ts", specifier: "../brokers/beanstalk/index.ts" },
    { from: "internal/text.ts", specifier: "../Broker.ts" },
    { from: "brokers/memory/jobs.ts", specifier: "../beanstalk/reply.ts" },
    { from: "brokers/sqlite/file.ts", specifier: "@effect/platform-node/NodeFileSystem" },
    { from: "brokers/sqlite/jobs.ts", specifier: "../memory/heap.ts" },
    { from: "brokers/beanstalk/Client.ts", specifier: "fivebeans" },
    { from: "brokers/postgres/link.ts", specifier: "@effect/sql-pg/PgConnection" },
    { from: "brokers/beanstalk/Client.ts", specifier: "../../cli/bin.ts" },
    { from: "cli/program.ts", specifier: "../main/signals.ts" },
    { from: "cli/program.ts", specifier: "../process/Process.ts" },
    { from: "process/Process.ts", specifier: "../brokers/memory/index.ts" },
    { from: "http2/Connection.ts", specifier: "../BrokerError.ts" },
    { from: "push/apns/answer/Reason.ts", specifier: "../../../process/index.ts" },
    { from: "testing/index.ts", specifier: "../brokers/beanstalk/index.ts" },
    { from: "testing/index.ts", specifier: "./apns/index.ts" },
    { from: "attic/Old.ts", specifier: "../Worker.ts" }
  ]

  it.each(refused)("refuses $specifier in $from", (one) => assert.isDefined(objection(one)))

  const allowed: ReadonlyArray<Import> = [
    { from: "Worker.ts", specifier: "effect/Effect" },
    { from: "Worker.ts", specifier: "./worker/index.ts" },
    { from: "worker/settle.ts", specifier: "./attempt.ts" },
    { from: "worker/settle.ts", specifier: "../Broker.ts" },
    { from: "brokers/url.ts", specifier: "./beanstalk/index.ts" },
    { from: "brokers/sqlite/file.ts", specifier: "node:sqlite" },
    { from: "brokers/beanstalk/Fivebeans.ts", specifier: "fivebeans" },
    { from: "brokers/postgres/driver.ts", specifier: "@effect/sql-pg/PgConnection" },
    { from: "brokers/beanstalk/Native.ts", specifier: "@effect/platform-node/NodeSocket" },
    { from: "push/apns/Apns.ts", specifier: "../../http2/index.ts" },
    { from: "testing/index.ts", specifier: "../brokers/memory/index.ts" },
    { from: "testing/push/Certificate.ts", specifier: "node:crypto" },
    { from: "cli/bin.ts", specifier: "../brokers/url.ts" }
  ]

  it.each(allowed)("allows $specifier in $from", (one) => assert.isUndefined(objection(one)))
})
