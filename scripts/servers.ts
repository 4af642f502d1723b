/**
 * The servers that the tests talk to.
 *
 * `missing` says which ones this machine lacks; `install` fetches them from
 * Debian, which takes root. Tests that need a server which isn't there are
 * skipped, and counted as skipped.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"

/** Debian's packages, each with the program, or the file, that it is wanted for. */
export const servers = {
  beanstalkd: "beanstalkd",
  stunnel4: "stunnel4",
  "nghttp2-server": "nghttpd",
  "nginx-light": "nginx",
  haproxy: "haproxy",
  caddy: "caddy",
  tinyproxy: "tinyproxy",
  "python3-h2": "/usr/lib/python3/dist-packages/h2/__init__.py"
} as const

export type Server = keyof typeof servers

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
export const missing = (): ReadonlyArray<Server> =>
  (Object.keys(servers) as Array<Server>).filter((server) => !isThere(servers[server]))

const isThere = (wanted: string): boolean => isAbsolute(wanted) ? existsSync(wanted) : find(wanted) !== undefined

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
