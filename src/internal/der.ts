/**
 * As much of DER (X.690) as it takes to tell what some bytes are, and to read a
 * list in a certificate. Pure; whatever the bytes are, it takes linear time and
 * reads none beyond them.
 */
// @effect-diagnostics nodeBuiltinImport:off

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  version: 0xa0
}

/** An element: what it is, what is in it, and where the next one begins. */
export interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly end: number
}

/** The element that begins at an offset, if all of it is there. */
export const elementAt = (der: Buffer, at: number): Element | undefined => {
  if (at + 2 > der.length) return undefined
  const first = der[at + 1]!
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + lengthBytes
  if (first === 0x80 || lengthBytes > 4 || start > der.length) return undefined
  const end = start + (lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes))
  return end > der.length ? undefined : { tag: der[at]!, content: der.subarray(start, end), end }
}

/** Some bytes' elements, one after the other; what is cut off is left away. */
export const elements = (der: Buffer, most = Infinity): ReadonlyArray<Element> => {
  const found: Array<Element> = []
  for (let at = 0; found.length < most;) {
    const element = elementAt(der, at)
    if (element === undefined) break
    found.push(element)
    at = element.end
  }
  return found
}

/** The content of a sequence that begins the bytes. Apple's keychain leaves the length open (X.690, 8.1.3.6): then it is all that follows. */
export const sequenceIn = (der: Buffer): Buffer | undefined => {
  if (der[0] !== tags.sequence) return undefined
  if (der[1] === 0x80) return der.subarray(-2).equals(Buffer.of(0, 0)) ? der.subarray(2) : undefined
  return elementAt(der, 0)?.content
}
