/**
 * Encrypts a message for one browser: RFC 8291 over the coding `aes128gcm` of RFC 8188,
 * in one record.
 *
 * It uses node:crypto synchronously. The Web Crypto API takes 4 to 9 times the CPU,
 * because each of its steps goes through a thread.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Crypto from "node:crypto"

/** The largest body that every push service accepts: RFC 8030, section 7.2. */
export const maxBodyBytes = 4096

const saltBytes = 16
const tagBytes = 16
const publicBytes = 65

/** Salt, record size, the length of the sender's key, and the key. */
const headerBytes = saltBytes + 4 + 1 + publicBytes

/** The largest plaintext: a body has a header, the end mark of the record, and a tag. */
export const maxPlaintextBytes = maxBodyBytes - headerBytes - 1 - tagBytes

/** The mark of the last record: RFC 8188, section 2. */
const endMark = 2

/** HKDF's expansions of one block end with a byte 1: RFC 5869. */
const info = (text: string): Buffer => Buffer.from(`${text}\0\x01`, "latin1")

const webPushInfo = Buffer.from("WebPush: info\0", "latin1")
const keyInfo = info("Content-Encoding: aes128gcm")
const nonceInfo = info("Content-Encoding: nonce")

/** A key as an object: node:crypto takes 10 to 17 us more for a key in a buffer. */
const keyOf = (bytes: Buffer): Crypto.KeyObject => Crypto.createSecretKey(bytes)

const hmac = (key: Crypto.KeyObject, data: Buffer): Buffer => Crypto.createHmac("sha256", key).update(data).digest()

/** What the sender and a browser share. It does not depend on the message. */
export interface Shared {
  /** The sender's public key. */
  readonly sender: Buffer
  /** The input keying material. */
  readonly ikm: Buffer
}

/** Derives the shared keying material from the secret of ECDH. RFC 8291, section 3.4. */
export const sharedOf = (
  secret: Buffer,
  browser: { readonly point: Buffer; readonly auth: Buffer },
  sender: Buffer
): Shared => {
  const keyData = Buffer.allocUnsafe(webPushInfo.length + 2 * publicBytes + 1)
  webPushInfo.copy(keyData)
  browser.point.copy(keyData, webPushInfo.length)
  sender.copy(keyData, webPushInfo.length + publicBytes)
  keyData[keyData.length - 1] = 1
  return { sender, ikm: hmac(keyOf(hmac(keyOf(browser.auth), secret)), keyData) }
}

/** The record: the plaintext, the end mark, and zeros up to `padTo` bytes of plaintext. */
const recordOf = (plaintext: Uint8Array, padTo: number): Buffer => {
  const record = Buffer.allocUnsafe(Math.max(plaintext.length, padTo) + 1)
  record.set(plaintext)
  record[plaintext.length] = endMark
  return record.fill(0, plaintext.length + 1)
}

/** Encrypts a plaintext of at most {@link maxPlaintextBytes}. The salt must be new for each message. */
export const encrypt = ({ ikm, sender }: Shared, salt: Buffer, plaintext: Uint8Array, padTo = 0): Buffer => {
  const prk = keyOf(hmac(keyOf(salt), ikm))
  const key = keyOf(hmac(prk, keyInfo).subarray(0, 16))
  const nonce = hmac(prk, nonceInfo).subarray(0, 12)
  const cipher = Crypto.createCipheriv("aes-128-gcm", key, nonce)
  const encrypted = cipher.update(recordOf(plaintext, padTo))
  cipher.final()
  const body = Buffer.allocUnsafe(headerBytes + encrypted.length + tagBytes)
  salt.copy(body)
  body.writeUInt32BE(maxBodyBytes, saltBytes)
  body[saltBytes + 4] = publicBytes
  sender.copy(body, saltBytes + 5)
  encrypted.copy(body, headerBytes)
  cipher.getAuthTag().copy(body, headerBytes + encrypted.length)
  return body
}
