/**
 * The folder with the sockets of a user's workers.
 *
 * Workers and followers use it only if it belongs to this user alone: it must be a folder
 * and not a link, owned by this user, closed to all others, and only this user and root
 * may replace it. So its content comes from this user or root, and others can't change it
 * between the check and the use.
 *
 * Limits: the check reads owners and permission bits, not access control lists. Node.js
 * does not report the user at the other end of a socket.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { tmpdir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { oneLine, safeLine, safeName } from "../internal/text.ts"

/**
 * The folder is not safe or not usable. Workers offer nothing there, and followers fail.
 *
 * @category errors
 * @since 0.1.0
 */
export class FolderUnusable extends Schema.TaggedError<FolderUnusable>()("FolderUnusable", {
  folder: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `the folder of the workers, ${safeName(this.folder)}, ${this.detail}`
  }
}

const uid = process.getuid?.() ?? 0

/**
 * The path of the folder: `backq` in `XDG_RUNTIME_DIR`, or `backq-UID` in the temporary
 * folder. An empty or relative variable counts as unset, as the XDG Base Directory
 * Specification says.
 */
export const path = (environment: NodeJS.ProcessEnv = process.env): string => {
  const runtime = environment["XDG_RUNTIME_DIR"]
  return runtime === undefined || !isAbsolute(runtime) ? join(tmpdir(), `backq-${uid}`) : join(runtime, "backq")
}

const another = "set XDG_RUNTIME_DIR to a folder that only you can access"
const advice = `remove it, or ${another}`

const modeOf = (info: FileSystem.File.Info): string => (info.mode & 0o7777).toString(8).padStart(4, "0")

const isOwner = (info: FileSystem.File.Info, ...owners: ReadonlyArray<number>): boolean =>
  owners.includes(Option.getOrElse(info.uid, () => uid))

/** The fault of the folder itself, or `undefined`. */
const faultOf = (info: FileSystem.File.Info): string | undefined =>
  info.type === "SymbolicLink"
    ? `must not be a link, which may belong to another user: ${advice}`
    : info.type !== "Directory"
    ? `must be a folder: ${advice}`
    : !isOwner(info, uid)
    ? `belongs to another user: ${another}`
    : (info.mode & 0o077) !== 0
    ? `is open to others (mode ${modeOf(info)}): run chmod 700 on it if it is yours, ${advice}`
    : (info.mode & 0o700) !== 0o700
    ? `is closed to its own user (mode ${modeOf(info)}): run chmod 700 on it, ${advice}`
    : undefined

/** Whether others can replace the content of a folder. The sticky bit prevents that. */
const isShared = (info: FileSystem.File.Info): boolean =>
  !isOwner(info, uid, 0) || ((info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0)

const above = (folder: string): ReadonlyArray<string> => {
  const parent = dirname(folder)
  return parent === folder ? [folder] : [folder, ...above(parent)]
}

const unusable = (folder: string) => (error: { readonly message: string }) =>
  new FolderUnusable({ folder, detail: `can't be used: ${safeLine(oneLine(error.message))}: ${advice}` })

/** The system's maximum for the path of a socket. See unix(7). */
const maxSocketBytes = process.platform === "linux" ? 107 : 103

/** A process number with the most digits. */
const longestPid = 9_999_999

/**
 * Checks that a folder belongs to this user alone, and returns its path without links. Call
 * it before each use of the folder. Returns none if the folder does not exist.
 */
export const verify = Effect.fnUntraced(function*(folder: string): Effect.fn.Return<
  Option.Option<string>,
  FolderUnusable,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  const info = yield* Effect.option(fs.lstat(folder))
  if (Option.isNone(info)) return Option.none()
  const fault = faultOf(info.value)
  if (fault !== undefined) return yield* new FolderUnusable({ folder, detail: fault })
  // Links above the folder are resolved here, and not used after this.
  const real = yield* Effect.mapError(fs.realPath(folder), unusable(folder))
  for (const place of above(real)) {
    const info = yield* Effect.mapError(fs.lstat(place), unusable(folder))
    const fault = place === real ? faultOf(info) : isShared(info)
      ? `is in ${safeName(place)}, where others can replace it (mode ${modeOf(info)}): ` +
        another
      : undefined
    if (fault !== undefined) return yield* new FolderUnusable({ folder, detail: fault })
  }
  const bytes = Buffer.byteLength(socketOf(real, longestPid))
  if (bytes > maxSocketBytes) {
    const detail =
      `has a path that is too long: with the name of a socket it has ${bytes} bytes; at most ${maxSocketBytes} are ` +
      "possible: set XDG_RUNTIME_DIR to a folder of yours with a shorter path"
    return yield* new FolderUnusable({ folder, detail })
  }
  return Option.some(real)
})

/** Creates the folder if it is missing, and returns the path of {@link verify}. */
export const open = Effect.fnUntraced(function*(folder: string): Effect.fn.Return<
  string,
  FolderUnusable,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  // Reports the fault of an existing one, for instance a broken link.
  const found = yield* verify(folder)
  if (Option.isSome(found)) return found.value
  yield* Effect.mapError(fs.makeDirectory(folder, { mode: 0o700, recursive: true }), unusable(folder))
  return Option.getOrElse(yield* verify(folder), () => folder)
})

const name = /^([1-9]\d{0,9})\.sock$/

/** The socket of a process. */
export const socketOf = (folder: string, pid: number): string => join(folder, `${pid}.sock`)

/** The processes with a socket in a folder, alive or dead. */
export const processes = (folder: string): Effect.Effect<ReadonlyArray<number>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
    return names.flatMap((file) => {
      const pid = name.exec(file)?.[1]
      return pid === undefined ? [] : [Number(pid)]
    })
  })

/** Identifies a socket, so that a later one of the same process differs. None if it is not a socket of this user. */
export const identityOf = (socket: string): Effect.Effect<Option.Option<string>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const info = yield* Effect.option(fs.lstat(socket))
    return Option.map(
      Option.filter(info, (info) => info.type === "Socket" && isOwner(info, uid)),
      ({ ino, mtime }) => `${Option.getOrElse(ino, () => 0)} ${Number(Option.getOrElse(mtime, () => 0))}`
    )
  })
