/** Two publishers and two workers on one file, killed at random. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { DatabaseSync } from "node:sqlite"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { file } from "../brokers/sqlite/harness.ts"
import { Random } from "../support/Random.ts"
import * as Kills from "./kills.ts"

const onDatabase = <A>(path: string, read: (database: DatabaseSync) => A): Effect.Effect<A> =>
  Effect.sync(() => {
    const database = new DatabaseSync(path)
    const result = read(database)
    database.close()
    return result
  })

const isSound = (path: string) =>
  onDatabase(
    path,
    (database) => assert.strictEqual(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok")
  )

const jobsIn = (path: string) =>
  onDatabase(path, (database) => {
    const rows = database.prepare("SELECT id, state FROM job").all()
    return new Map(rows.map((row) => [String(row["id"]), row["state"] === 3 ? "buried" : "waiting"] as const))
  })

/** Runs some rounds on a new file. Returns the counts. */
export const sqliteKills = Effect.fnUntraced(function*(seed: string, index: number, rounds: number) {
  const path = yield* file
  const url = `sqlite:${path}`
  return yield* Effect.provide(
    Kills.run({
      url,
      ledger: `${path}.ledger`,
      publishers: 2,
      workers: 2,
      rounds,
      random: new Random(`${seed}/${index}`),
      check: isSound(path),
      left: jobsIn(path)
    }),
    BrokerUrl.layer(url)
  )
}, Effect.scoped)
