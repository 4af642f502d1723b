/**
 * Finds programs, and explains why one could not start.
 *
 * It looks up programs itself, because the system call would use the PATH of the new
 * process. The `env` of a payload must not decide which file an allowed name means.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { display, ProcessError, SpawnFailed } from "./ProcessError.ts"

/** The system's error of a failed start. */
export interface SystemError {
  /** The error code, for instance `ENOENT`; see errno(3). */
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

/** The absolute directories of a PATH, without relative ones, which would depend on `cwd`. */
const directories = (path: string | undefined): ReadonlyArray<string> =>
  (path ?? "/usr/local/bin:/usr/bin:/bin").split(":").filter(NodePath.posix.isAbsolute)

/** The file of a program: the name itself if it has a slash, else the first executable of that name on the PATH. */
export const findProgram = (program: string, path: string | undefined): string | undefined =>
  program.includes("/")
    ? program
    : directories(path).map((directory) => NodePath.posix.join(directory, program)).find(isExecutable)

const temporary = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ETXTBSY"])

/** Turns a failed start into an error that says what to do. It checks the files again, since one code has many reasons. */
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
    return fail("Temporary", `the machine lacks resources now (${code}); retry later, or run fewer processes at once`)
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
    return fail("NotFound", "the program is not on the worker's PATH; install it there, or publish an absolute path")
  }
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      if (!exists(file)) return fail("NotFound", "the file does not exist; install it on the worker's machine")
      return isExecutable(file)
        ? fail("NotFound", `the interpreter in its first line does not exist`)
        : fail("NotExecutable", `${display([file])} is not executable; run chmod +x on it`)
    case "EACCES":
    case "EPERM":
    case "ENOEXEC":
    case "EISDIR":
      return cwd !== undefined && isExecutable(file)
        ? fail("BadCwd", `the worker may not enter its working directory ${place} (${code})`)
        : fail(
          "NotExecutable",
          `the worker may not execute ${display([file])}; check it, or run chmod +x on it`
        )
    case "E2BIG":
      return fail("Other", "its arguments and environment are too long for the system; pass data as input")
    default:
      // The system's message may quote arguments and variables.
      return fail("Other", `the system refused to start it (${code})`)
  }
}
