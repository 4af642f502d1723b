/**
 * UUIDs of version 7 (RFC 9562, section 5.7), drawn from a pool of secure
 * random bytes: a draw of its own for each would cost more than the rest of an
 * envelope.
 */
import * as SecureRandom from "effect/crypto/SecureRandom"

const randomPerUuid = 10
const pool: { bytes: Uint8Array; offset: number } = { bytes: new Uint8Array(0), offset: 0 }

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const start = { time: Number.NaN, text: "" }

/** The part that says the time. Many are drawn in one millisecond, so the last one is kept. */
const startOf = (time: number): string => {
  if (time !== start.time) {
    const text = Math.floor(time).toString(16).padStart(12, "0")
    start.time = time
    start.text = `${text.slice(0, 8)}-${text.slice(8)}-`
  }
  return start.text
}

/** A new UUID v7 for a time in milliseconds since the epoch. */
export const v7 = (now: number): string => {
  if (pool.offset + randomPerUuid > pool.bytes.length) {
    pool.bytes = SecureRandom.randomBytesUnsafe(randomPerUuid * 512)
    pool.offset = 0
  }
  const { bytes, offset } = pool
  pool.offset = offset + randomPerUuid
  const at = (index: number) => hex[bytes[offset + index]!]!
  const version = hex[0x70 | (bytes[offset]! & 0x0f)]!
  const variant = hex[0x80 | (bytes[offset + 2]! & 0x3f)]!
  return `${startOf(now)}${version}${at(1)}-${variant}${at(3)}-${at(4)}${at(5)}${at(6)}${at(7)}${at(8)}${at(9)}`
}
