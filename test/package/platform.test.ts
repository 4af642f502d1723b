/** The repository on other platforms: packages for one platform never break the setup of another. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { allow, withPrograms } from "../support/limits.ts"

allow(withPrograms)

const root = join(import.meta.dirname, "..", "..")
const read = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"))

interface Locked {
  readonly os?: unknown
  readonly cpu?: unknown
  readonly libc?: unknown
  readonly optional?: boolean
}

/** The packages that bring a Node.js. */
const isNode = (name: string) => /^node-(linux|darwin|win)/.test(name)

/** A copy of node_modules without the Node.js that it brings. */
const withoutNode = (folder: string): void => {
  const modules = join(root, "node_modules")
  mkdirSync(join(folder, ".bin"), { recursive: true })
  for (const name of readdirSync(modules)) {
    if (name !== ".bin" && !isNode(name)) symlinkSync(join(modules, name), join(folder, name))
  }
  for (const name of readdirSync(join(modules, ".bin"))) {
    if (name !== "node") symlinkSync(join(modules, ".bin", name), join(folder, ".bin", name))
  }
}

describe("other platforms", () => {
  let folder: string
  let path: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "backq-platform-"))
    for (const name of readdirSync(root)) {
      if (name !== "node_modules" && name !== ".git" && name !== "dist") {
        cpSync(join(root, name), join(folder, name), { recursive: true })
      }
    }
    withoutNode(join(folder, "node_modules"))
    mkdirSync(join(folder, "other", "bin"), { recursive: true })
    copyFileSync(process.execPath, join(folder, "other", "bin", "node"))
    const others = process.env["PATH"]!.split(delimiter).filter((part) => !part.includes("node_modules"))
    path = [join(folder, "other", "bin"), ...others].join(delimiter)
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const npm = (...args: ReadonlyArray<string>) => {
    const { status, stderr, stdout } = spawnSync("npm", args, {
      cwd: folder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: path, CI: "false" }
    })
    return { status, output: stdout + stderr }
  }

  it("every package in the lock file is optional or fits every platform", () => {
    const packages = Object.entries(read("package-lock.json").packages as Record<string, Locked>)
    const bound = packages.filter(([, { cpu, libc, os }]) => (os ?? cpu ?? libc) !== undefined)
    assert.isNotEmpty(bound)
    assert.deepStrictEqual(bound.filter(([, { optional }]) => optional !== true).map(([name]) => name), [])
  })

  it("a package for one platform is named only where it is optional", () => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = read("package.json")
    const names = Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies, ...peerDependencies })
    assert.deepStrictEqual(names.filter((name) => /linux|darwin|win32|x64|arm64/.test(name)), [])
  })

  it("npm start runs on another Node.js than the one it brings", () => {
    const { output, status } = npm("start")
    assert.strictEqual(status, 0, output)
    assert.include(output, "buried")
  })

  it("npm test runs on another Node.js than the one it brings", () => {
    const { output, status } = npm("test", "--", "test/internal/uuid.test.ts")
    assert.strictEqual(status, 0, output)
    assert.match(output, /[1-9]\d* passed, 0 failed/)
    assert.isFalse(existsSync(join(folder, "node_modules", ".bin", "node")))
  })
})
