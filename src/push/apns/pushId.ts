/**
 * The id of a push, made from the job and the device. It is the same in every attempt,
 * so that Apple's log shows two deliveries of a push as one.
 */
// @effect-diagnostics nodeBuiltinImport:off
import { createHash } from "node:crypto"

/** A UUID of version 5 (RFC 9562, section 5.5): the hash of a name in a namespace. */
export const uuidV5 = (namespace: string, name: string): string => {
  const hash = createHash("sha1").update(Buffer.from(namespace.replaceAll("-", ""), "hex")).update(name).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x50
  hash[8] = (hash[8]! & 0x3f) | 0x80
  const hex = hash.toString("hex")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The canonical form of a push's id for Apple, a UUID in lower case; `undefined` for other text. */
export const canonical = (id: string): string | undefined => {
  const lower = typeof id === "string" ? id.toLowerCase() : ""
  return uuid.test(lower) ? lower : undefined
}

/** Any UUID works, but it must never change. */
const namespace = "0193f2c8-6d1e-7c4a-9b57-2f0a8e6d41b3"

/** The id of the push of a job to a device. */
export const pushId = (jobId: string, token: string): string => uuidV5(namespace, `${jobId} ${token}`)
