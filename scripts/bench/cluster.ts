/**
 * A PostgreSQL server of its own for a benchmark, in a temporary folder and on
 * a free port.
 */
import { execFileSync, spawn } from "node:child_process"
import { chownSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { isInstalled, owner, program } from "../test/postgres.ts"
import { freePort } from "./server.ts"

export interface Cluster {
  readonly url: string
  /** Runs SQL by psql. Returns what it prints. */
  readonly psql: (sql: string) => string
  /** The CPU time of all processes of the server so far, in microseconds. */
  readonly cpu: () => number
  readonly stop: () => Promise<void>
}

const microsecondsPerTick = 10_000

/** The fields of `/proc/PID/stat` after the name, or none where the process has ended. */
const fieldsOf = (pid: string): ReadonlyArray<string> => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  } catch {
    return []
  }
}

const ticks = (fields: ReadonlyArray<string>, from: number, to: number): number =>
  fields.slice(from, to).reduce((sum, field) => sum + Number(field), 0)

/** The CPU time of a process and of its children, including ended ones. */
const cpuWithChildren = (pid: number): number => {
  const children = globSync("/proc/[0-9]*").map((folder) => fieldsOf(folder.slice("/proc/".length)))
    .filter((fields) => fields[1] === String(pid))
  const own = ticks(fieldsOf(String(pid)), 11, 15)
  return microsecondsPerTick * children.reduce((sum, fields) => sum + ticks(fields, 11, 13), own)
}

/** Starts a server and waits until it answers. Without `fsync` a commit does not wait for the disk. */
export const start = async (fsync: "on" | "off" = "on"): Promise<Cluster> => {
  if (!isInstalled) throw new Error("there is no initdb: install postgresql")
  const user = owner()
  const folder = mkdtempSync(join(tmpdir(), "backq-bench-pg-"))
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!)
  const data = join(folder, "data")
  execFileSync(program("initdb"), [
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "trust",
    "--no-locale",
    "-E",
    "UTF8",
    "--no-sync"
  ], {
    ...user,
    cwd: folder,
    stdio: "ignore"
  })
  const port = await freePort()
  const settings = [
    `port=${port}`,
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=${folder}`,
    "max_wal_size=4GB",
    `fsync=${fsync}`
  ]
  const child = spawn(program("postgres"), ["-D", data, ...settings.flatMap((one) => ["-c", one])], {
    ...user,
    cwd: folder,
    stdio: "ignore"
  })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const abandon = () => {
    child.kill("SIGQUIT")
    remove()
  }
  process.once("exit", abandon)
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))
  const client = ["-h", "127.0.0.1", "-p", String(port), "-U", "postgres"]
  const psql = (sql: string) =>
    execFileSync(program("psql"), ["-qAtX", "-v", "ON_ERROR_STOP=1", ...client, "-c", sql], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"]
    }).trim()
  const answers = () => {
    try {
      return psql("SELECT 1") === "1"
    } catch {
      return false
    }
  }
  for (let i = 0; !answers(); i++) {
    if (i === 500) throw new Error("PostgreSQL does not answer")
    await sleep(20)
  }
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    psql,
    cpu: () => cpuWithChildren(child.pid!),
    // SIGINT is the fast shutdown: it ends the sessions.
    stop: async () => {
      child.kill("SIGINT")
      await ended
      process.off("exit", abandon)
      remove()
    }
  }
}
