/** `docs/brokers.md` against the code: the table of features says what the brokers say of themselves. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Broker, type Features } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { folder } from "../support/folder.ts"
import { allow, withServers } from "../support/limits.ts"
import { freePort } from "../support/network.ts"
import * as Postgres from "../support/postgres.ts"

allow(withServers)

const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "brokers.md"), "utf8")

const rows = page.slice(page.indexOf("| feature |")).split("\n\n")[0]!.split("\n").map((line) =>
  line.split("|").slice(1, -1).map((cell) => cell.trim())
)

const [head, , ...body] = rows

/** What the page says of the broker of a column. */
const told = (url: string): Record<string, unknown> => {
  const column = head!.findIndex((title) => title.startsWith(`\`${url}`))
  return Object.fromEntries(body.map((cells) => {
    const word = /^\w+/.exec(cells[column]!)![0]
    return [cells[0]!.replaceAll("`", ""), word === "yes" ? true : word === "no" ? false : word]
  }))
}

const featuresOf = (url: string): Effect.Effect<Features, unknown> =>
  Effect.provide(Effect.map(Broker, ({ features }) => features), BrokerUrl.layer(url))

describe("the features of the brokers in docs/brokers.md", () => {
  it.live("memory:", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(told("memory:"), { ...(yield* featuresOf("memory:")) })
    }))

  it.live("sqlite:", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "queue.db")
      assert.deepStrictEqual(told("sqlite:"), { ...(yield* featuresOf(`sqlite:${path}`)) })
      assert.isTrue((yield* featuresOf(`sqlite:${path}?history=1h`)).keepsDone)
    }))

  it.live("beanstalk:", () =>
    Effect.gen(function*() {
      const url = `beanstalk://127.0.0.1:${yield* freePort}`
      assert.deepStrictEqual(told("beanstalk:"), { ...(yield* featuresOf(url)) })
    }))

  Postgres.real("postgres:", () =>
    Effect.gen(function*() {
      const { url } = yield* Postgres.cluster()
      assert.deepStrictEqual(told("postgres:"), { ...(yield* featuresOf(url)) })
    }))
})
