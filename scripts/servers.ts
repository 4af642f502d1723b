/**
 * The servers that the tests talk to.
 *
 * `missing` says which ones this machine lacks; `install` fetches them from
 * Debian, which takes root. Tests that need a server which isn't there are
 * skipped, and counted as skipped.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

/** Each program, which is also the name of its Debian package. */
export const servers = ["beanstalkd", "stunnel4"] as const

export type Server = (typeof servers)[number]

// Debian keeps daemons in the sbin folders, which are not in every user's PATH.
const folders = () => [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/sbin"]

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where a program is, if anywhere. */
export const find = (program: string): string | undefined =>
  folders().filter((folder) => folder !== "").map((folder) => join(folder, program)).find(isExecutable)

/** The servers that are not on this machine. */
export const missing = (): ReadonlyArray<Server> => servers.filter((server) => find(server) === undefined)

const aptGet = (...args: ReadonlyArray<string>): boolean =>
  spawnSync("apt-get", args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  }).status === 0

/** Installs some servers. Returns those that are still missing. */
export const install = (wanted: ReadonlyArray<Server>): ReadonlyArray<Server> => {
  if (wanted.length > 0 && process.getuid?.() === 0 && find("apt-get") !== undefined) {
    aptGet("update", "-qq")
    // One at a time: what can't be had does not keep the others away.
    for (const server of wanted) aptGet("install", "-qq", "--no-install-recommends", server)
  }
  return missing()
}
