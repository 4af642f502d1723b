/**
 * The folder in which the workers of a user leave their sockets. Nobody else
 * may enter it, so whoever reaches a socket is that user, or root.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Others could enter the folder: nothing is offered there. */
export class FolderUnsafe extends Schema.TaggedError<FolderUnsafe>()("FolderUnsafe", { folder: Schema.String }) {
  override get message() {
    return `${this.folder} belongs to somebody else, or others may enter it: remove it, or set XDG_RUNTIME_DIR`
  }
}

const uid = process.getuid?.() ?? 0

/** Where the folder is: below `XDG_RUNTIME_DIR`, or in the temporary folder under the user's number. */
export const path = (environment: NodeJS.ProcessEnv = process.env): string =>
  environment["XDG_RUNTIME_DIR"] === undefined
    ? join(tmpdir(), `backq-${uid}`)
    : join(environment["XDG_RUNTIME_DIR"], "backq")

/** Makes the folder where there is none, and checks that it is this user's alone. */
export const open = Effect.fnUntraced(function*(folder: string): Effect.fn.Return<
  string,
  FolderUnsafe | PlatformError.PlatformError,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory(folder, { mode: 0o700, recursive: true })
  const isLink = Option.isSome(yield* Effect.option(fs.readLink(folder)))
  const { mode, type, uid: owner } = yield* fs.stat(folder)
  const isPrivate = (mode & 0o077) === 0 && Option.getOrElse(owner, () => uid) === uid
  return !isLink && type === "Directory" && isPrivate ? folder : yield* new FolderUnsafe({ folder })
})

const name = /^([1-9]\d*)\.sock$/

/** The socket of a process. */
export const socketOf = (folder: string, pid: number): string => join(folder, `${pid}.sock`)

/** The processes that left a socket, alive or not. */
export const processes = (folder: string): Effect.Effect<ReadonlyArray<number>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
    return names.flatMap((file) => {
      const pid = name.exec(file)?.[1]
      return pid === undefined ? [] : [Number(pid)]
    })
  })
