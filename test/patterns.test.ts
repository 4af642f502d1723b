/**
 * No pattern of the sources takes time that is quadratic in a text: others send
 * texts of any length, and the event loop waits for the pattern.
 */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Hostile from "./support/hostile.ts"
import { allow, withPrograms } from "./support/limits.ts"

allow(withPrograms)

const src = join(import.meta.dirname, "..", "src")

const body = String.raw`(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[\n])`
const literal = new RegExp(
  String.raw`(?<=[(=,:?&|\s!]|^)/((?:(?![*/])${body})${body}*)/([dgimsuvy]*)(?=[.),;:\s\]]|$)`,
  "g"
)

/** The patterns of a line, as far as they are one: what only looks like one is none. */
const patternsOf = (line: string): ReadonlyArray<RegExp> =>
  /^\s*(?:\*|\/\/|\/\*)/.test(line) ? [] : Array.from(line.matchAll(literal)).flatMap(([, source, flags]) => {
    try {
      return [new RegExp(source!, flags!.replace("y", ""))]
    } catch {
      return []
    }
  })

const patterns = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file) =>
    readFileSync(join(src, file), "utf8").split("\n").flatMap(patternsOf).map((re) => [file, re] as const)
  )

const words = [
  "ALERT",
  "alert ",
  "certificate ",
  "-----BEGIN A-----",
  "\\ud",
  "//a:",
  "A",
  "_",
  "(",
  "?",
  "1.",
  "a.",
  ":1",
  "1e"
]
const beginnings = ["", "a", "1", "\"", "-", " ", "bearer ", "HTTP/1.1 200 ", "/1/apps/", "-----BEGIN "]
const texts = (length: number): ReadonlyArray<string> =>
  [...Hostile.runs, ...words].flatMap((run) => {
    const long = Hostile.fill(run, length)
    return beginnings.map((beginning) => `${beginning}${long}\0`)
  })

const time = (re: RegExp, text: string): number => {
  const started = process.threadCpuUsage()
  const began = performance.now()
  if (re.global) text.replace(re, "")
  else re.exec(text)
  const { user } = process.threadCpuUsage(started)
  return Math.min(performance.now() - began, user / 1000)
}

const best = (re: RegExp, text: string): number => Math.min(time(re, text), time(re, text), time(re, text))

const length = 12_000
const large = texts(length)
const small = texts(length / 4)

/** What makes a pattern slow: 16 times as slow for four times as much. */
const slowOn = (re: RegExp): string | undefined =>
  large.find((text, index) =>
    time(re, text) > 12 && best(re, text) > 12 && best(re, text) > 9 * best(re, small[index]!)
  )

describe("patterns", () => {
  it("are found", () => {
    assert.isAbove(patterns.length, 80)
    assert.isDefined(slowOn(/^\d*\.?\d+$/))
    assert.isDefined(slowOn(/\s+$/))
  })

  it("take time linear in the text", () => {
    for (const [file, re] of patterns) {
      assert.isUndefined(slowOn(re)?.slice(0, 40), `${file}: ${re}`)
    }
  })
})
