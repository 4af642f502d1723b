/** The API reference: every export that a user can import says since when it is there, and what kind of thing it is. */
import { assert, describe, it } from "@effect/vitest"
import { categories, entryPoints, exported } from "../../scripts/api/exports.ts"

const all = exported()

const tag = (doc: string, name: string): string | undefined => new RegExp(`^ \\* @${name} (.+)$`, "m").exec(doc)?.[1]

/** What an export lacks. */
const objection = ({ doc, file, line, name }: typeof all[number]): string | undefined => {
  const where = `${file}:${line + 1} ${name} must have`
  const category = tag(doc, "category")
  if (category === undefined || !categories.includes(category)) {
    return `${where} "@category CATEGORY" in its comment, one of ${categories.join(", ")}`
  }
  return /^\d+\.\d+\.\d+$/.test(tag(doc, "since") ?? "")
    ? undefined
    : `${where} "@since VERSION" in its comment, the version that it first appears in`
}

describe("the API reference", () => {
  it("finds the exports of every subpath, through index files and re-exports", () => {
    const found = all.map(({ file, name }) => `${file} ${name}`)
    assert.isAbove(entryPoints.length, 10)
    for (
      const one of [
        "src/Job.ts make",
        "src/Handler.ts Delivery",
        "src/Outcome.ts AttemptTimeout",
        "src/brokers/url.ts layerConfig",
        "src/brokers/beanstalk/Fivebeans.ts layerBroker",
        "src/process/ProcessResult.ts exited",
        "src/tail/folder.ts FolderUnusable"
      ]
    ) assert.include(found, one)
    assert.notInclude(found, "src/worker/attempts.ts Attempts")
    assert.strictEqual(new Set(all.map(({ file, line }) => `${file}:${line}`)).size, all.length)
  })

  it("has a category and a version for each of them", () => {
    assert.deepStrictEqual(all.flatMap((one) => objection(one) ?? []), [])
  })
})
