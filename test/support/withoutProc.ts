/** `node:fs` as on a system that has no `/proc`, for `vi.mock`. */
import type * as Fs from "node:fs"

const readers = ["readdirSync", "readFileSync", "readlinkSync", "existsSync", "statSync"] as const

/** The module, in which reading below `/proc` fails. */
export const withoutProc = (fs: typeof Fs): typeof Fs => {
  const without = Object.fromEntries(readers.map((name) => {
    const real = fs[name] as (...args: ReadonlyArray<unknown>) => unknown
    return [name, (...args: ReadonlyArray<unknown>) => {
      if (!/^\/proc(\/|$)/.test(String(args[0]))) return real(...args)
      if (name === "existsSync") return false
      throw Object.assign(new Error(`ENOENT: no such file or directory, '${String(args[0])}'`), { code: "ENOENT" })
    }]
  }))
  const changed = { ...fs, ...without } as typeof Fs
  return { ...changed, default: changed } as typeof Fs
}
