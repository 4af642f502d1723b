/**
 * The servers that the tests talk to.
 *
 * `missing` says which ones this machine lacks; `install` fetches them from
 * Debian, which takes root. Tests that need a server which isn't there are
 * skipped, and counted as skipped.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, globSync } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"

/** Debian's packages, each with the program, or the file (`*` is any part of a name), that it is needed for. */
export const servers = {
  beanstalkd: "beanstalkd",
  stunnel4: "stunnel4",
  "nghttp2-server": "nghttpd",
  "nginx-light": "nginx",
  haproxy: "haproxy",
  caddy: "caddy",
  tinyproxy: "tinyproxy",
  chromium: "chromium",
  "python3-h2": "/usr/lib/python3/dist-packages/h2/__init__.py",
  // Debian has a folder for each version, outside of PATH.
  postgresql: "/usr/lib/postgresql/*/bin/initdb",
  pgbouncer: "pgbouncer"
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
  (Object.keys(servers) as Array<Server>).filter((server) => locate(server) === undefined)

/** Where the program or the file of a server is, if anywhere; of several versions the newest. */
export const locate = (server: Server): string | undefined => {
  const wanted = servers[server]
  return isAbsolute(wanted) ? globSync(wanted).sort(byNumbers).at(-1) : find(wanted)
}

const byNumbers = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true })

const aptGet = (...args: ReadonlyArray<string>): boolean =>
  spawnSync("apt-get", args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  }).status === 0

/** How much apt-get would fetch and write for some packages, in its own words; empty where it can't say. */
const sizes = (wanted: ReadonlyArray<Server>): string => {
  const { stdout } = spawnSync("apt-get", ["install", "--assume-no", "--no-install-recommends", ...wanted], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, LC_ALL: "C" }
  })
  return sizesIn(stdout)
}

/** The sizes that apt-get prints, on one line. */
export const sizesIn = (output: string): string => {
  const fetched = /^Need to get (.+) of archives/m.exec(output)?.[1]
  const written = /^After this operation, (.+) of additional disk space/m.exec(output)?.[1]
  return [fetched && `${fetched} to fetch`, written && `${written} on disk`].filter(Boolean).join(", ")
}

/** Whether this machine lets us install packages. */
export const isInstaller = (): boolean => process.getuid?.() === 0 && find("apt-get") !== undefined

/** Says what it installs and how large that is, and installs it. Returns the servers that are still missing. */
export const install = (wanted: ReadonlyArray<Server>): ReadonlyArray<Server> => {
  if (wanted.length > 0 && isInstaller()) {
    aptGet("update", "-qq")
    const size = sizes(wanted)
    console.log(
      `> apt-get install ${wanted.join(" ")}${size === "" ? "" : ` (${size})`}; ` +
        `npm test -- --no-install leaves this machine as it is and skips the tests that need them`
    )
    // One at a time: a missing package does not prevent the others.
    for (const server of wanted) aptGet("install", "-qq", "--no-install-recommends", server)
  }
  return missing()
}
