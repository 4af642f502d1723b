/** The package as its users get it: packed, installed in a project of their own, type-checked and run. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, delimiter, join } from "node:path"
import { allow, withPrograms } from "../support/limits.ts"
import { shown } from "../support/shown.ts"

allow(withPrograms)

const root = join(import.meta.dirname, "..", "..")
const modules = join(root, "node_modules")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** What a user can import, without the manifest itself. */
const subpaths: ReadonlyArray<string> = Object.keys(manifest.exports)
  .filter((path) => path !== "./package.json")
  .map((path) => path.replace(/^\./, "backq"))

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: `${join(modules, ".bin")}${delimiter}${process.env["PATH"]}` }
  })
  if (status !== 0) throw new Error([`${command} ${args.join(" ")}`, error?.message, stdout, stderr].join("\n"))
  return stdout
}

const write = (folder: string, files: Record<string, unknown>): void => {
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content, null, 2))
  }
}

/** Packs a copy of the sources, so that nothing is written to the checkout. */
const pack = (folder: string): string => {
  for (
    const name of [...manifest.files, "README.md", "LICENSE", "package.json", "tsconfig.json", "tsconfig.build.json"]
  ) {
    if (name !== "dist" && existsSync(join(root, name))) {
      cpSync(join(root, name), join(folder, name), { recursive: true })
    }
  }
  symlinkSync(modules, join(folder, "node_modules"))
  run(folder, "npm", "pack", "--silent")
  return join(folder, `${manifest.name}-${manifest.version}.tgz`)
}

/** A project that has backq from the tarball, and the peers from this repository instead of from a registry. */
const install = (folder: string, tarball: string): void => {
  write(folder, {
    "package.json": { name: "consumer", private: true, type: "module" },
    "tsconfig.json": {
      compilerOptions: {
        target: "ES2024",
        // DOM: the declarations of effect/crypto name its types.
        lib: ["ES2024", "ESNext.Disposable", "DOM"],
        module: "NodeNext",
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
        allowImportingTsExtensions: true,
        types: ["node"]
      },
      include: ["*.ts"]
    },
    "consumer.ts": consumer
  })
  run(folder, "npm", "install", "--silent", "--offline", "--legacy-peer-deps", tarball)
  const peers = ["effect", "@effect/platform-node", "@effect/sql-pg", "@types/node", "vitest", "@effect/vitest"]
  const clients = ["pg", "@types/pg", "postgres", "kysely", "drizzle-orm"]
  for (const name of [...peers, ...clients]) {
    mkdirSync(join(folder, "node_modules", name, ".."), { recursive: true })
    symlinkSync(join(modules, name), join(folder, "node_modules", name))
  }
}

const consumer = `
${subpaths.map((path, index) => `import * as M${index} from "${path}"`).join("\n")}
import { Job, Publisher, Worker } from "backq"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const modules: ReadonlyArray<object> = [${subpaths.map((_, index) => `M${index}`).join(", ")}]

const SendWelcome = Job.make("send-welcome", { payload: Schema.Struct({ userId: Schema.String }) })

export const publish = Publisher.publish(SendWelcome, { userId: "42" })

export const handler = Worker.handler(SendWelcome, (payload) => Effect.log(payload.userId.toUpperCase()))

// @ts-expect-error The payload's type reaches the user.
export const wrong = Publisher.publish(SendWelcome, { userId: 42 })
`

const pages = ["README.md", ...globSync("docs/*.md", { cwd: root })]

const textOf = (page: string): string => readFileSync(join(root, page), "utf8")

/** The TypeScript of a page that is a file of its own, since it imports something; named as its first line says. */
const programsOf = (page: string): ReadonlyArray<readonly [name: string, source: string]> =>
  Array.from(textOf(page).matchAll(/```ts\n([^]*?)```/g), ([, source]) => source!)
    .filter((source) => /^import .* from "/m.test(source))
    .map((source, index) => [
      /^\/\/ (\S+\.ts)$/m.exec(source)?.[1] ?? `${basename(page, ".md")}-${index + 1}.ts`,
      source
    ])

/** The programs to copy, as a project would write them. */
const examples = Object.fromEntries(
  globSync("*.ts", { cwd: join(root, "scripts/examples") }).map((name) => [name, shown(`scripts/examples/${name}`)])
)

/** A project as the quick start has one. */
const quickStart = (folder: string, files: Record<string, string>): void => {
  const [, config] = /`tsconfig.json`[^]*?```json\n([^]*?)```/.exec(textOf("docs/quick-start.md"))!
  mkdirSync(folder)
  write(folder, { "tsconfig.json": config, ...files })
}

describe("package", () => {
  let folder: string
  const project = () => join(folder, "consumer")
  /** It uses the modules of the consumer. */
  const documented = () => join(folder, "consumer", "docs")

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "backq-package-"))
    mkdirSync(join(folder, "source"))
    mkdirSync(project())
    install(project(), pack(join(folder, "source")))
    quickStart(documented(), Object.fromEntries(pages.flatMap(programsOf)))
    quickStart(join(project(), "examples"), examples)
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("contains the compiled files, their types and nothing else", () => {
    const installed = join(project(), "node_modules", "backq")
    for (
      const name of ["README.md", "LICENSE", "CHANGELOG.md", "src/index.ts", "dist/index.js.map", "dist/index.d.ts.map"]
    ) {
      assert.isTrue(existsSync(join(installed, name)), name)
    }
    for (const name of ["test", "scripts", "tsconfig.json", ".ci"]) {
      assert.isFalse(existsSync(join(installed, name)), name)
    }
  })

  it("installs only itself", () => {
    const { dependencies, optionalDependencies } = manifest
    assert.deepStrictEqual({ ...dependencies, ...optionalDependencies }, {})
    assert.isFalse(existsSync(join(project(), "node_modules", ".bin", "node")))
  })

  it("type-checks in a strict project, declaration files included", () => {
    assert.strictEqual(run(project(), "tsc", "-p", "."), "")
  })

  it.each(subpaths.filter((path) => path !== "backq/beanstalk/fivebeans"))("loads %s", (path) => {
    const script = `console.log(Object.keys(await import("${path}")).length > 0)`
    assert.strictEqual(run(project(), "node", "--input-type=module", "-e", script), "true\n")
  })

  /** The brokers whose code a subpath needs; the others need none before a URL names one. */
  const brokersOf: Record<string, ReadonlyArray<string>> = {
    "backq/memory": ["memory"],
    "backq/sqlite": ["sqlite"],
    "backq/beanstalk": ["beanstalk"],
    "backq/postgres": ["postgres"],
    "backq/testing": ["memory"]
  }

  it.each(subpaths.filter((path) => path !== "backq/beanstalk/fivebeans"))(
    "%s loads the code of no other broker, and no driver that it does not need",
    (path) => {
      const script = `
        import { registerHooks } from "node:module"
        const loaded = []
        registerHooks({
          load: (url, context, next) => {
            loaded.push(url)
            return next(url, context)
          }
        })
        await import("${path}")
        console.log(JSON.stringify(loaded))`
      const loaded: ReadonlyArray<string> = JSON.parse(run(project(), "node", "--input-type=module", "-e", script))
      const own = loaded.filter((url) => url.includes("/backq/dist/"))
      assert.isNotEmpty(own)
      const brokers = own.flatMap((url) => /\/dist\/brokers\/(\w+)\//.exec(url)?.[1] ?? [])
      assert.deepStrictEqual([...new Set(brokers)].filter((name) => name !== "shared"), brokersOf[path] ?? [])
      assert.strictEqual(loaded.includes("node:sqlite"), path === "backq/sqlite")
      assert.isEmpty(loaded.filter((url) => /fivebeans/i.test(url)))
      assert.strictEqual(loaded.some((url) => url.includes("sql-pg")), path === "backq/postgres")
    },
    60_000
  )

  it("loads backq/beanstalk/fivebeans where fivebeans is installed", () => {
    symlinkSync(join(modules, "fivebeans"), join(project(), "node_modules", "fivebeans"))
    const script = `console.log(Object.keys(await import("backq/beanstalk/fivebeans")).length > 0)`
    assert.strictEqual(run(project(), "node", "--input-type=module", "-e", script), "true\n")
  })

  it("type-checks the programs of the pages, with the setup of the quick start", () => {
    assert.strictEqual(run(documented(), "tsc", "-p", "."), "")
  })

  it("type-checks the programs to copy, with the setup of the quick start", () => {
    assert.isNotEmpty(Object.keys(examples))
    assert.strictEqual(run(join(project(), "examples"), "tsc", "-p", "."), "")
  })

  it("type-checks a program that uses globals of Node.js without imports, with the setup of the quick start", () => {
    const alone = join(project(), "alone")
    quickStart(alone, { "alone.ts": `console.log(process.pid, Buffer.from("a"), setTimeout(() => {}, 1).hasRef())` })
    assert.strictEqual(run(alone, "tsc", "-p", "."), "")
  })

  it("runs the quick start: jobs are published by two programs, worked on by another, and tested", () => {
    assert.deepStrictEqual(
      programsOf("docs/quick-start.md").map(([name]) => name),
      ["jobs.ts", "publish.ts", "worker.ts", "welcome.test.ts", "sign-up.ts"]
    )
    assert.match(run(documented(), "node", "publish.ts"), /published job \d+/)
    assert.match(run(documented(), "node", "sign-up.ts"), /published job \d+/)
    assert.isTrue(existsSync(join(documented(), "backq.db")))
    const worker = "node worker.ts > log & until grep -q 'user 43' log; do sleep 0.1; done; kill $!; wait $!; cat log"
    assert.match(run(documented(), "timeout", "30", "sh", "-c", worker), /welcome, user 42/)
    assert.match(run(documented(), "vitest", "run", "welcome.test.ts"), /1 passed/)
  })

  it("has the backq command", () => {
    assert.include(run(project(), join("node_modules", ".bin", "backq"), "--version"), manifest.version)
  })
})
