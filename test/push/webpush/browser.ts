/** Browsers of tests: subscriptions with the private key that reads their messages. */
import * as Crypto from "node:crypto"
import type { Subscription } from "../../../src/push/webpush/index.ts"

export interface Browser {
  readonly ecdh: Crypto.ECDH
  readonly point: Buffer
  readonly auth: Buffer
}

/** Makes the keys of a browser. */
export const browser = (): Browser => {
  const ecdh = Crypto.createECDH("prime256v1")
  return { ecdh, point: ecdh.generateKeys(), auth: Crypto.randomBytes(16) }
}

/** The subscription of a browser. */
export const subscribe = (
  { auth, point }: Browser,
  endpoint: string,
  key?: string
): Subscription.Subscription => ({
  endpoint,
  keys: { p256dh: point.toString("base64url"), auth: auth.toString("base64url") },
  ...(key === undefined ? {} : { key })
})

const hkdf = (ikm: Buffer, salt: Buffer, info: Buffer, length: number): Buffer =>
  Buffer.from(Crypto.hkdfSync("sha256", ikm, salt, info, length))

/** Reads a message with the keys of the browser, by HKDF as RFC 8291 writes it. */
export const decrypt = ({ auth, ecdh, point }: Browser, body: Uint8Array): Buffer => {
  const bytes = Buffer.from(body)
  const salt = bytes.subarray(0, 16)
  const sender = bytes.subarray(21, 21 + bytes[20]!)
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), point, sender])
  const ikm = hkdf(ecdh.computeSecret(sender), auth, info, 32)
  const key = hkdf(ikm, salt, Buffer.from("Content-Encoding: aes128gcm\0"), 16)
  const nonce = hkdf(ikm, salt, Buffer.from("Content-Encoding: nonce\0"), 12)
  const record = bytes.subarray(21 + bytes[20]!)
  const decipher = Crypto.createDecipheriv("aes-128-gcm", key, nonce)
  decipher.setAuthTag(record.subarray(-16))
  const plain = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()])
  return plain.subarray(0, plain.lastIndexOf(2))
}
