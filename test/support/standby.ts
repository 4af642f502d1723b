/** A synchronous standby of a PostgreSQL of a test, on a port of its own. It ends with its scope. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { execFile, spawnSync } from "node:child_process"
import { join } from "node:path"
import { owner, program } from "../../scripts/test/postgres.ts"
import { cluster } from "./postgres.ts"

type Cluster = Effect.Success<ReturnType<typeof cluster>>

/** Settings of a server that has a standby. */
export const replicated = ["wal_level=replica", "max_wal_senders=5", "fsync=on", "synchronous_commit=on"]

const until = <E>(ask: Effect.Effect<string, E>, wanted: string) =>
  Effect.repeat(ask, {
    until: (answer) => answer === wanted,
    schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)])
  })

/** Makes a standby the primary. Returns when it takes writes, and holds nothing up meanwhile. */
const promote = (port: number) =>
  Effect.callback<void, Error>((resume) => {
    const child = execFile(
      program("psql"),
      ["-qAtX", "-h", "127.0.0.1", "-p", String(port), "-U", "postgres", "-c", "SELECT pg_promote(true, 60)"],
      (error) => resume(error === null ? Effect.void : Effect.fail(error))
    )
    return Effect.sync(() => child.kill())
  })

/** Makes a copy of a server that follows it, and has it wait for the copy at every commit. */
export const standbyOf = Effect.fnUntraced(function*(primary: Cluster) {
  const standby = yield* cluster({
    settings: replicated,
    copy: (folder) => {
      const made = spawnSync(
        program("pg_basebackup"),
        [
          "-h",
          "127.0.0.1",
          "-p",
          String(primary.port),
          "-U",
          "postgres",
          "-D",
          join(folder, "data"),
          "-R",
          "-c",
          "fast"
        ],
        { ...owner(), cwd: folder, encoding: "utf8" }
      )
      if (made.status !== 0) throw new Error(`pg_basebackup failed: ${made.stderr}`)
    }
  })
  yield* primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
  yield* primary.psql("SELECT pg_reload_conf()")
  yield* until(primary.psql("SELECT sync_state FROM pg_stat_replication"), "sync")
  return { ...standby, promote: promote(standby.port) }
})
