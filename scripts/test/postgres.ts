/** The programs of PostgreSQL, and the user that runs them. */
import { execFileSync } from "node:child_process"
import { dirname, join } from "node:path"
import { locate } from "./servers.ts"

const initdb = locate("postgresql")

/** Whether PostgreSQL is installed. */
export const isInstalled = initdb !== undefined

/** Where one of PostgreSQL's programs is. */
export const program = (name: string): string => join(dirname(initdb ?? name), name)

/** PostgreSQL refuses to run as root. Debian's package makes a user for it. */
export const owner = (): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
  return { uid: id("-u"), gid: id("-g") }
}
