/**
 * Finds programs, and explains why one could not be started.
 *
 * Programs are looked up here and not by the system call, which would use the
 * PATH of the new process: whoever writes a payload's `env` must not decide
 * which file an allowed name means.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { display, ProcessError, SpawnFailed } from "./ProcessError.ts"

/** What the system says of a failed start. */
export interface SystemError {
  /** For instance `ENOENT`; see errno(3). */
  readonly code?: string | undefined
}

const isExecutable = (path: string): boolean => {
  try {
    NodeFs.accessSync(path, NodeFs.constants.X_OK)
    return NodeFs.statSync(path).isFile()
  } catch {
    return false
  }
}

const exists = (path: string): boolean => NodeFs.existsSync(path)

const isDirectory = (path: string): boolean =>
  exists(path) && NodeFs.statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The absolute directories of a PATH; relative ones are left out, since they would depend on `cwd`. */
const directories = (path: string | undefined): ReadonlyArray<string> =>
  (path ?? "/usr/local/bin:/usr/bin:/bin").split(":").filter(NodePath.posix.isAbsolute)

/** The file that a program's name means: itself when it has a slash, else the first executable of that name on the PATH. */
export const findProgram = (program: string, path: string | undefined): string | undefined =>
  program.includes("/")
    ? program
    : directories(path).map((directory) => NodePath.posix.join(directory, program)).find(isExecutable)

const temporary = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ETXTBSY"])

/** Turns a failed start into an error that says what to do. Looks at the files again, since one code has many reasons. */
export const classify = (
  error: SystemError,
  program: string,
  cwd: string | undefined,
  path: string | undefined
): ProcessError => {
  const code = error.code ?? "unknown"
  const fail = (kind: SpawnFailed["kind"], detail: string) =>
    new ProcessError({ reason: new SpawnFailed({ kind, program, cwd, detail }) })

  if (temporary.has(code)) {
    return fail("Temporary", `the machine has no room for it now (${code}); try again later, or run fewer at once`)
  }
  const place = cwd === undefined ? "" : display([cwd])
  if (cwd !== undefined && !isDirectory(cwd)) {
    const fault = exists(cwd)
      ? "is not a directory"
      : code === "ENOENT" || code === "ENOTDIR"
      ? "does not exist"
      : `can't be reached (${code})`
    return fail("BadCwd", `its working directory ${place} ${fault}`)
  }
  const file = program.includes("/")
    ? NodePath.posix.resolve(cwd ?? ".", program)
    : directories(path).map((directory) => NodePath.posix.join(directory, program)).find(exists)
  if (file === undefined) {
    return fail("NotFound", "no such program on the worker's PATH; install it there, or publish an absolute path")
  }
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      if (!exists(file)) return fail("NotFound", "there is no such file; install it where the worker runs")
      return isExecutable(file)
        ? fail("NotFound", `the interpreter that its first line names does not exist`)
        : fail("NotExecutable", `${display([file])} is not an executable file; chmod +x it`)
    case "EACCES":
    case "EPERM":
    case "ENOEXEC":
    case "EISDIR":
      return cwd !== undefined && isExecutable(file)
        ? fail("BadCwd", `the worker may not enter its working directory ${place} (${code})`)
        : fail(
          "NotExecutable",
          `${display([file])} is not a file that the worker may execute; check it, or chmod +x it`
        )
    case "E2BIG":
      return fail("Other", "its arguments and environment are too long for the system; pass them as input")
    default:
      // the error's own message may quote arguments and variables
      return fail("Other", `the system refused it (${code})`)
  }
}
