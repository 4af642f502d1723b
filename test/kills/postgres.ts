/** Publishers and workers on one server of PostgreSQL, killed at random. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { folder } from "../support/folder.ts"
import { cluster } from "../support/postgres.ts"
import { Random } from "../support/Random.ts"
import * as Kills from "./kills.ts"

// Each line of the server's log begins with the SQLSTATE of its message.
const logged = [
  "logging_collector=on",
  "log_directory=log",
  "log_filename=server.log",
  "log_file_mode=0644",
  "log_line_prefix=%e "
]

/** What the server refused: how often each SQLSTATE is in its log. */
const refusals = (log: string): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const [, code] of log.matchAll(/^(\w{5}) (?:ERROR|FATAL|PANIC): /gm)) counts[code!] = (counts[code!] ?? 0) + 1
  return counts
}

/**
 * Runs some rounds on a new server, with as many publishers as workers. A process that any failure reaches ends by
 * itself, which is found. Returns the counts, and the server's errors.
 */
export const postgresKills = Effect.fnUntraced(function*(seed: string, index: number, rounds: number, ofEach = 4) {
  const server = yield* cluster({ settings: logged })
  const counts = yield* Effect.provide(
    Kills.run({
      url: server.url,
      ledger: join(yield* folder, "ledger"),
      publishers: ofEach,
      workers: ofEach,
      rounds,
      random: new Random(`${seed}/${index}`),
      left: Effect.map(server.psql("SELECT id, state FROM backq.job"), (text) =>
        new Map(
          text.split("\n").filter((line) => line !== "").map((line) => {
            const [id, state] = line.split("|")
            return [id!, state === "3" ? "buried" : "waiting"] as const
          })
        ))
    }),
    BrokerUrl.layer(server.url)
  )
  const refused = refusals(readFileSync(join(server.folder, "data", "log", "server.log"), "utf8"))
  // A duplicate key is never retried, so it would have reached a program.
  assert.notProperty(refused, "23505")
  return { ...counts, refused }
}, Effect.scoped)
