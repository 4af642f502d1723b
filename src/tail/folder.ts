/**
 * The folder in which the workers of a user leave their sockets.
 *
 * Workers and those who follow them use it only while it is this user's alone:
 * a folder and no link, owned by this user, closed to all others, and below
 * folders in which nobody but this user and root can put another in its place.
 * So what is found in it is from this user, or from root, and stays so between
 * a look at it and its use: what others can't change needs no second look.
 *
 * Limits: owners and permission bits are looked at, access control lists are
 * not. Node.js does not tell who is at the other end of a socket.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { tmpdir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { oneLine, safeLine, safeName } from "../internal/text.ts"

/**
 * The folder can't be trusted, or can't be used: nothing is offered there, and nobody followed.
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
 * Where the folder is: below `XDG_RUNTIME_DIR`, or in the temporary folder under
 * the user's number. As its specification says, a variable that is empty, or no
 * absolute path, counts as unset.
 */
export const path = (environment: NodeJS.ProcessEnv = process.env): string => {
  const runtime = environment["XDG_RUNTIME_DIR"]
  return runtime === undefined || !isAbsolute(runtime) ? join(tmpdir(), `backq-${uid}`) : join(runtime, "backq")
}

const another = "set XDG_RUNTIME_DIR to a folder that is yours alone"
const advice = `remove it, or ${another}`

const modeOf = (info: FileSystem.File.Info): string => (info.mode & 0o7777).toString(8).padStart(4, "0")

const isOwner = (info: FileSystem.File.Info, ...owners: ReadonlyArray<number>): boolean =>
  owners.includes(Option.getOrElse(info.uid, () => uid))

/** What is wrong with the folder itself. */
const faultOf = (info: FileSystem.File.Info): string | undefined =>
  info.type === "SymbolicLink"
    ? `is a link, and perhaps belongs to somebody else: ${advice}`
    : info.type !== "Directory"
    ? `is no folder: ${advice}`
    : !isOwner(info, uid)
    ? `belongs to somebody else: ${another}`
    : (info.mode & 0o077) !== 0
    ? `is open, others may enter it (mode ${modeOf(info)}): chmod 700 it if it is yours, ${advice}`
    : (info.mode & 0o700) !== 0o700
    ? `is closed to its own user (mode ${modeOf(info)}): chmod 700 it, ${advice}`
    : undefined

/** Can others put something else in the place of what is in a folder? In one with the sticky bit they can't. */
const isShared = (info: FileSystem.File.Info): boolean =>
  !isOwner(info, uid, 0) || ((info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0)

const above = (folder: string): ReadonlyArray<string> => {
  const parent = dirname(folder)
  return parent === folder ? [folder] : [folder, ...above(parent)]
}

const unusable = (folder: string) => (error: { readonly message: string }) =>
  new FolderUnusable({ folder, detail: `can't be used: ${safeLine(oneLine(error.message))}: ${advice}` })

/** The longest path of a socket; the system takes no longer one. See unix(7). */
const maxSocketBytes = process.platform === "linux" ? 107 : 103

/** No process has a number of more digits. */
const longestPid = 9_999_999

/**
 * Checks that a folder is this user's alone, and returns its path without
 * links: nothing is to be done in it before. With none there is nothing to
 * return.
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
  // links further up count by where they lead, and by nothing after this
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
      `is too long a path: with the name of a socket it has ${bytes} bytes, and ${maxSocketBytes} at most ` +
      "can be used: set XDG_RUNTIME_DIR to a folder of yours with a shorter one"
    return yield* new FolderUnusable({ folder, detail })
  }
  return Option.some(real)
})

/** Makes the folder where there is none, and returns the path that {@link verify} returns. */
export const open = Effect.fnUntraced(function*(folder: string): Effect.fn.Return<
  string,
  FolderUnusable,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  // says what is wrong with one that is there, a link that leads nowhere for instance
  const found = yield* verify(folder)
  if (Option.isSome(found)) return found.value
  yield* Effect.mapError(fs.makeDirectory(folder, { mode: 0o700, recursive: true }), unusable(folder))
  return Option.getOrElse(yield* verify(folder), () => folder)
})

const name = /^([1-9]\d{0,9})\.sock$/

/** The socket of a process. */
export const socketOf = (folder: string, pid: number): string => join(folder, `${pid}.sock`)

/** The processes that left a socket in a folder, alive or not. */
export const processes = (folder: string): Effect.Effect<ReadonlyArray<number>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
    return names.flatMap((file) => {
      const pid = name.exec(file)?.[1]
      return pid === undefined ? [] : [Number(pid)]
    })
  })

/** What tells one socket of a process from its next; none where there is no socket of this user. */
export const identityOf = (socket: string): Effect.Effect<Option.Option<string>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const info = yield* Effect.option(fs.lstat(socket))
    return Option.map(
      Option.filter(info, (info) => info.type === "Socket" && isOwner(info, uid)),
      ({ ino, mtime }) => `${Option.getOrElse(ino, () => 0)} ${Number(Option.getOrElse(mtime, () => 0))}`
    )
  })
