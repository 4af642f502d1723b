/** Reads a file of a credential. The failure never quotes a path that may be the key itself, given by mistake. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as KeyMaterial from "./KeyMaterial.ts"
import { FileUnreadable } from "./Reasons.ts"

/** The content of a file. `name` says what is in it, for messages. */
export const readFile = Effect.fnUntraced(function*(file: string, name: string): Effect.fn.Return<
  Uint8Array,
  FileUnreadable,
  FileSystem.FileSystem
> {
  const fs = yield* FileSystem.FileSystem
  const isPath = KeyMaterial.isPath(file)
  const unreadable = (detail: string) => new FileUnreadable({ file: isPath ? file : `the file of the ${name}`, detail })
  const failed = ({ reason }: PlatformError) =>
    unreadable(reason._tag === "NotFound" ? "there is no such file" : isPath ? reason.message : reason._tag)
  const { size, type } = yield* Effect.mapError(fs.stat(file), failed)
  if (type === "CharacterDevice" || type === "BlockDevice") return yield* unreadable("it is a device")
  if (type === "Directory") return yield* unreadable("it is a directory")
  if (size > KeyMaterial.maxBytes) {
    return yield* unreadable(`it has ${size} bytes; at most ${KeyMaterial.maxBytes} are read`)
  }
  return yield* Effect.mapError(fs.readFile(file), failed)
})
