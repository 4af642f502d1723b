/**
 * The id of a push, made from the job and the device: the same in every
 * attempt, so that Apple's log shows two deliveries of one push as one.
 */
// @effect-diagnostics nodeBuiltinImport:off
import { createHash } from "node:crypto"

/** A UUID of version 5 (RFC 9562, section 5.5): a name's hash within a namespace. */
export const uuidV5 = (namespace: string, name: string): string => {
  const hash = createHash("sha1").update(Buffer.from(namespace.replaceAll("-", ""), "hex")).update(name).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x50
  hash[8] = (hash[8]! & 0x3f) | 0x80
  const hex = hash.toString("hex")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** An id that somebody gives a push, as Apple takes it: a UUID in lower case. `undefined` where it is none. */
export const canonical = (id: string): string | undefined => {
  const lower = typeof id === "string" ? id.toLowerCase() : ""
  return uuid.test(lower) ? lower : undefined
}

/** Any UUID will do, as long as it stays. */
const namespace = "0193f2c8-6d1e-7c4a-9b57-2f0a8e6d41b3"

/** The id of the push of a job to a device. */
export const pushId = (jobId: string, token: string): string => uuidV5(namespace, `${jobId} ${token}`)
