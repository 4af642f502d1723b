/**
 * A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a
 * free port, as a user without rights. It ends with its scope.
 */
import { afterAll, beforeAll, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isInstalled, owner as ownerOf, program } from "../../scripts/test/postgres.ts"
import { freePort, listening } from "./network.ts"

/** For tests that need the real server: without it they are skipped, unless the environment requires it. */
export const isMissing = !isInstalled && process.env["CI"] !== "true"

/** Registers a test that needs the real server. */
export const real = it.live.skipIf(isMissing)

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** How a cluster is made. */
export interface ClusterOptions {
  /** Settings of the server, such as `fsync=on`. */
  readonly settings?: ReadonlyArray<string>
  /** The superuser's password. Default: the superuser is trusted. */
  readonly password?: string
  /** Files in the cluster's folder, beside that of the data. */
  readonly files?: Readonly<Record<string, string>>
  /** Makes the folder of the data, instead of initdb. */
  readonly copy?: (folder: string) => void
  /** Folders for the data and for its log, each on a disk of its own. Default: they share the temporary folder. */
  readonly disks?: { readonly data?: string; readonly log?: string } | undefined
}

const makeFolder = (options: ClusterOptions, owner: ReturnType<typeof ownerOf>) => {
  const folder = mkdtempSync(join(tmpdir(), "backq-pg-"))
  if (owner.uid !== undefined) chownSync(folder, owner.uid, owner.gid!)
  if (options.disks?.data !== undefined) {
    const data = join(options.disks.data, "data")
    mkdirSync(data, { mode: 0o700 })
    if (owner.uid !== undefined) chownSync(data, owner.uid, owner.gid!)
    symlinkSync(data, join(folder, "data"))
  }
  const passwordFile = join(folder, "password")
  writeFileSync(passwordFile, `${options.password ?? ""}\n`)
  for (const [name, content] of Object.entries(options.files ?? {})) {
    writeFileSync(join(folder, name), content, { mode: 0o600 })
    if (owner.uid !== undefined) chownSync(join(folder, name), owner.uid, owner.gid!)
  }
  if (options.copy !== undefined) {
    options.copy(folder)
    return folder
  }
  const withPassword = options.password === undefined
    ? ["-A", "trust"]
    : ["-A", "scram-sha-256", `--pwfile=${passwordFile}`]
  const withLog = options.disks === undefined ? [] : ["-X", join(options.disks.log ?? folder, "log")]
  const made = spawnSync(
    program("initdb"),
    [
      "-D",
      join(folder, "data"),
      "-U",
      "postgres",
      "--no-locale",
      "-E",
      "UTF8",
      "--no-sync",
      ...withLog,
      ...withPassword
    ],
    { ...owner, cwd: folder, encoding: "utf8" }
  )
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`)
  return folder
}

/** A cluster on a port of its own, with the database `postgres` and the superuser `postgres`, whom it trusts. */
export const cluster = Effect.fnUntraced(function*(options: ClusterOptions = {}) {
  const owner = ownerOf()
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => makeFolder(options, owner)),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const port = yield* freePort
  let child: ChildProcess | undefined
  const settings = [
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=${folder}`,
    "fsync=off",
    "max_connections=60"
  ]
  const start = Effect.gen(function*() {
    child = spawn(
      program("postgres"),
      [
        "-D",
        join(folder, "data"),
        "-p",
        String(port),
        ...[...settings, ...options.settings ?? []].flatMap((one) => ["-c", one])
      ],
      { ...owner, cwd: folder, stdio: "ignore" }
    )
    child.on("error", () => {})
    yield* listening(port)
    // It listens a moment before it is ready.
    yield* Effect.sync(() =>
      spawnSync(program("pg_isready"), ["-q", "-h", "127.0.0.1", "-p", String(port)], { stdio: "ignore" }).status
    ).pipe(
      Effect.repeat({
        until: (status) => status === 0,
        schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)])
      })
    )
  })
  const stop = (signal: NodeJS.Signals) =>
    Effect.suspend(() => {
      if (child?.pid === undefined) return Effect.void
      child.kill(signal)
      return exited(child)
    })
  // SIGQUIT is PostgreSQL's immediate shutdown, which ends its children too.
  yield* Effect.acquireRelease(start, () => stop("SIGQUIT"))
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  /** Runs SQL by psql, as the superuser or another. Returns what it prints. */
  const psql = (sql: string, user = "postgres") =>
    Effect.sync(() =>
      execFileSync(program("psql"), [
        "-qAtX",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        "127.0.0.1",
        "-p",
        String(port),
        "-U",
        user,
        "-d",
        "postgres",
        "-c",
        sql
      ], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, PGPASSWORD: options.password ?? "" }
      }).trim()
    )
  /** Runs SQL by psql that has to fail. Returns what psql complains of. */
  const refused = (sql: string, user?: string) =>
    Effect.flip(
      Effect.catchDefect(psql(sql, user), (error) => Effect.fail(String((error as { stderr?: string }).stderr)))
    )
  /** The URL for a role that is trusted. */
  const urlOf = (role: string) => url.replace("postgres@", `${role}@`)
  return { port, url, urlOf, psql, refused, start, stop, folder, pid: () => child!.pid! }
})

/** Something that all tests of a file share. It is made before the first test. */
export const shared = <A>(make: Effect.Effect<A, unknown, Scope.Scope>) => {
  let made: A | undefined
  const scope = Scope.makeUnsafe()
  beforeAll(async () => {
    if (!isMissing) made = await Effect.runPromise(Scope.provide(make, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return (): A => made!
}

/** A cluster that all tests of a file share. */
export const sharedCluster = (options: ClusterOptions = {}) => shared(cluster(options))
