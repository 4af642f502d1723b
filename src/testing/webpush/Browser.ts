/**
 * Browsers of tests: keys, the subscriptions that they give, and the reading of messages.
 *
 * It decrypts by HKDF as RFC 8291 writes it, and shares no code with the encryption of
 * `backq/webpush`.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"

/**
 * The keys of a browser's subscription.
 *
 * @category models
 * @since 0.1.0
 */
export interface Browser {
  /** The public key, in base64url. */
  readonly p256dh: string
  /** The secret, in base64url. */
  readonly auth: string
  /** Reads a message; `undefined` if it is for other keys, or damaged. */
  readonly read: (body: Uint8Array) => Buffer | undefined
}

const hkdf = (ikm: Buffer, salt: Buffer, info: Buffer, length: number): Buffer =>
  Buffer.from(Crypto.hkdfSync("sha256", ikm, salt, info, length))

const publicBytes = 65
const tagBytes = 16

const decrypt = (ecdh: Crypto.ECDH, auth: Buffer, body: Uint8Array): Buffer => {
  const bytes = Buffer.from(body)
  const salt = bytes.subarray(0, 16)
  const sender = bytes.subarray(21, 21 + publicBytes)
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), ecdh.getPublicKey(), sender])
  const ikm = hkdf(ecdh.computeSecret(sender), auth, info, 32)
  const key = hkdf(ikm, salt, Buffer.from("Content-Encoding: aes128gcm\0"), 16)
  const nonce = hkdf(ikm, salt, Buffer.from("Content-Encoding: nonce\0"), 12)
  const record = bytes.subarray(21 + publicBytes)
  const decipher = Crypto.createDecipheriv("aes-128-gcm", key, nonce, { authTagLength: tagBytes })
  decipher.setAuthTag(record.subarray(-tagBytes))
  const plain = Buffer.concat([decipher.update(record.subarray(0, -tagBytes)), decipher.final()])
  return plain.subarray(0, plain.lastIndexOf(2))
}

/**
 * Makes the keys of a browser.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Browser> = Effect.sync(() => {
  const ecdh = Crypto.createECDH("prime256v1")
  const p256dh = ecdh.generateKeys("base64url")
  const auth = Crypto.randomBytes(16)
  return {
    p256dh,
    auth: auth.toString("base64url"),
    read: (body) => Result.getOrUndefined(Result.try(() => decrypt(ecdh, auth, body)))
  }
})
