/** Reads a file of a credential. The failure never quotes a path that may be the key itself, given by mistake. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as KeyMaterial from "./KeyMaterial.ts"

/** Why a file can't be read. */
export interface Unreadable {
  readonly file: string
  readonly detail: string
}

/** The content of a file. `name` says what is in it, for messages. */
export const readFile = Effect.fnUntraced(function*(file: string, name: string): Effect.fn.Return<
  Uint8Array,
  Unreadable,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  const isPath = KeyMaterial.isPath(file)
  const unreadable = (detail: string): Unreadable => ({ file: isPath ? file : `the file of the ${name}`, detail })
  const failed = ({ reason }: PlatformError) =>
    unreadable(reason._tag === "NotFound" ? "there is no such file" : isPath ? reason.message : reason._tag)
  const { size, type } = yield* Effect.mapError(fs.stat(file), failed)
  if (type === "CharacterDevice" || type === "BlockDevice") return yield* Effect.fail(unreadable("it is a device"))
  if (type === "Directory") return yield* Effect.fail(unreadable("it is a directory"))
  if (size > KeyMaterial.maxBytes) {
    return yield* Effect.fail(unreadable(`it has ${size} bytes; at most ${KeyMaterial.maxBytes} are read`))
  }
  return yield* Effect.mapError(fs.readFile(file), failed)
})
