/** `npm run soak`: what it lists can be run, with a seed that brings the same again. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { allow, withPrograms } from "./support/limits.ts"

allow(withPrograms)

const script = join(import.meta.dirname, "..", "scripts", "soak.ts")

const soak = (...args: ReadonlyArray<string>) => {
  // The program runs outside of a test, so it must not take itself for one.
  const { VITEST: _, ...env } = process.env
  const { status, stderr, stdout } = spawnSync(process.execPath, [script, ...args], {
    encoding: "utf8",
    timeout: 60_000,
    env
  })
  return { status, stderr, stdout }
}

describe("npm run soak", () => {
  it("lists names, and runs one", () => {
    const listed = soak()
    assert.strictEqual(listed.status, 0, listed.stderr)
    const names = listed.stdout.trim().split("\n").map((line) => line.split(" ")[0])
    assert.include(names, "fuzz/envelope")
    assert.strictEqual(new Set(names).size, names.length)

    const ran = soak("fuzz/envelope", "--rounds", "3", "--from", "7", "--seed", "9")
    assert.match(ran.stdout, /^fuzz\/envelope: 3 rounds from 7, seed 9\nfuzz\/envelope: 3 rounds passed in \d/)
    assert.strictEqual(ran.status, 0)
  })

  it("refuses what it can't mean", () => {
    const unknown = soak("fuzz/nothing")
    assert.include(unknown.stderr, "there is no \"fuzz/nothing\"; there are:\nfuzz/")
    assert.strictEqual(unknown.status, 2)
    const many = soak("fuzz/envelope", "--rounds", "many")
    assert.include(many.stderr, "--rounds must be a whole number")
    assert.strictEqual(many.status, 2)
  })
})
