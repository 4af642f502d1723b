/** A pgbouncer in front of a PostgreSQL of a test, on a port of its own. It ends with its scope. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { owner as ownerOf } from "../../scripts/test/postgres.ts"
import { find } from "../../scripts/test/servers.ts"
import { freePort, listening } from "./network.ts"
import * as Postgres from "./postgres.ts"

const program = find("pgbouncer")

/** For tests that need it: without it they are skipped, unless the environment requires it. */
export const isMissing = Postgres.isMissing || program === undefined && process.env["CI"] !== "true"

/** Registers a test that needs it. */
export const real = it.live.skipIf(isMissing)

/** How it pools. */
export interface Options {
  readonly mode?: "transaction" | "session"
  /** More lines of its configuration. */
  readonly lines?: ReadonlyArray<string>
}

/** A pooler in front of a server on a port, which trusts everybody. */
export const pgbouncer = Effect.fnUntraced(
  function*(server: number, { lines = [], mode = "transaction" }: Options = {}) {
    const owner = ownerOf()
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const folder = mkdtempSync(join(tmpdir(), "backq-pgbouncer-"))
        if (owner.uid !== undefined) chownSync(folder, owner.uid, owner.gid!)
        return folder
      }),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const port = yield* freePort
    const file = join(folder, "pgbouncer.ini")
    writeFileSync(
      file,
      [
        "[databases]",
        `* = host=127.0.0.1 port=${server} user=postgres`,
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        `listen_port = ${port}`,
        "unix_socket_dir =",
        "auth_type = any",
        `pool_mode = ${mode}`,
        "default_pool_size = 10",
        "max_client_conn = 200",
        ...lines
      ].map((line) => `${line}\n`).join("")
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(program ?? "pgbouncer", ["-q", file], { ...owner, cwd: folder, stdio: "ignore" })
        child.on("error", () => {})
        return child
      }),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGQUIT")
        })
    )
    yield* listening(port)
    return { port, url: `postgres://postgres@127.0.0.1:${port}/postgres` }
  }
)
