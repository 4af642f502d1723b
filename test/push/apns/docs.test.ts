/** docs/apns.md shows the example that is type-checked, and says what the tables of src/push/apns say. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Reason from "../../../src/push/apns/answer/Reason.ts"
import type * as Apns from "../../../src/push/apns/Apns.ts"
import { DeadToken } from "../../../src/push/apns/DeadTokenJob.ts"
import { encode } from "../../../src/push/apns/notification/Encoder.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as PushType from "../../../src/push/apns/notification/PushType.ts"
import { shown } from "../../support/shown.ts"
import * as example from "./example.ts"

const root = join(import.meta.dirname, "..", "..", "..")

const page = readFileSync(join(root, "docs", "apns.md"), "utf8")

const section = (title: string): string => {
  const start = page.indexOf(`\n## ${title}\n`)
  assert.isAtLeast(start, 0, `the page has no "${title}"`)
  const end = page.indexOf("\n## ", start + 1)
  return page.slice(start, end < 0 ? undefined : end)
}

/** The rows of a section's tables whose first cell is code, cell by cell. */
const rows = (title: string): ReadonlyArray<ReadonlyArray<string>> =>
  section(title).split("\n").filter((line) => line.startsWith("| `")).map((line) => line.slice(2, -2).split(" | "))

const code = (text: string): string => `\`${text}\``

describe("docs/apns.md", () => {
  it("shows the example that is type-checked", () => {
    assert.strictEqual(/```ts\n([^]*?)```/.exec(page)?.[1], shown("test/push/apns/example.ts"))
  })

  it.effect("shows notifications that may be sent", () =>
    Effect.gen(function*() {
      const all = [example.shipped, yield* example.score, yield* example.message("a".repeat(5000))]
      for (const one of all) assert.isTrue(Result.isSuccess(encode(one, { topic: "com.example.app" })))
      assert.hasAllKeys(yield* example.job(["00ff"]), ["tokens", "pushType", "topic", "collapseId", "payload"])
    }))

  it("has every push type with its constructor and Apple's rules", () => {
    const makers = Object.keys(Notification).filter((name) => name !== "Notification")
    const table = rows("Push types")
    assert.sameMembers(
      table.flatMap(([, names]) => Array.from(names!.matchAll(/`(\w+)`/g), ([, name]) => name!)),
      makers
    )
    assert.deepStrictEqual(
      table.map(([name, , ...rules]) => [name, ...rules]),
      Object.entries(PushType.table).map(([name, { expiration, limit, priorities, suffix }]) => [
        code(name),
        suffix === "" ? "none" : code(suffix),
        priorities.join(", "),
        expiration === undefined ? "stored" : "one attempt",
        String(limit)
      ])
    )
  })

  it("has every reason with its action and advice", () => {
    assert.deepStrictEqual(
      rows("What APNs answers").filter((row) => row.length === 4),
      Object.entries(Reason.table).map(([name, { action, advice, meaning, status }]) => [
        code(name),
        String(status),
        code(action),
        `${meaning}. ${advice}`
      ])
    )
  })

  it("has every action", () => {
    const table = rows("What APNs answers").filter((row) => row.length === 3)
    assert.deepStrictEqual(table.map(([name]) => name), Reason.Action.literals.map(code))
  })

  it("says what every action does to a job's push", () => {
    assert.deepStrictEqual(rows("The push job").map(([name]) => name), Reason.Action.literals.map(code))
  })

  it("has every variable", () => {
    const source = readFileSync(join(root, "src", "push", "apns", "ApnsConfig.ts"), "utf8")
    const names = Array.from(source.matchAll(/(?:text|secret)\("(\w+)"\)|\$\{prefix\}(\w+)`\)/g), (m) => m[1] ?? m[2]!)
    assert.isAbove(names.length, 10)
    assert.sameMembers(
      rows("Keys and certificates").map(([name]) => name!),
      [...new Set(names)].map((name) => `\`BACKQ_APNS_${name}\``)
    )
  })

  it("has every option", () => {
    const options: Record<keyof Apns.Options, true> = {
      credential: true,
      environment: true,
      host: true,
      port: true,
      broadcast: true,
      channels: true,
      proxy: true,
      maxConnections: true,
      connectTimeout: true,
      requestTimeout: true,
      queueTimeout: true,
      idlePing: true,
      pingTimeout: true,
      idleTimeout: true,
      drainTimeout: true
    }
    const names = rows("Connections").flatMap(([name]) => name!.split(", "))
    assert.deepStrictEqual(names, Object.keys(options).map(code))
  })

  it("has every field of a dead token", () => {
    assert.deepStrictEqual(rows("Dead tokens").map(([name]) => name), Object.keys(DeadToken.fields).map(code))
  })
})
