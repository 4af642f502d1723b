/**
 * Reads DER (X.690), as far as needed to recognize keys and certificates and to
 * read a list in a certificate. Pure. It takes linear time and never reads past
 * the end, whatever the bytes are.
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

/** An element: its tag, its content, and the offset of the next one. */
export interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly end: number
}

/** The element at an offset; `undefined` if it is incomplete. */
export const elementAt = (der: Buffer, at: number): Element | undefined => {
  if (at + 2 > der.length) return undefined
  const first = der[at + 1]!
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + lengthBytes
  if (first === 0x80 || lengthBytes > 4 || start > der.length) return undefined
  const end = start + (lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes))
  return end > der.length ? undefined : { tag: der[at]!, content: der.subarray(start, end), end }
}

/** The elements in a row, at most `max`. Stops before an incomplete one. */
export const elements = (der: Buffer, max = Infinity): ReadonlyArray<Element> => {
  const found: Array<Element> = []
  for (let at = 0; found.length < max;) {
    const element = elementAt(der, at)
    if (element === undefined) break
    found.push(element)
    at = element.end
  }
  return found
}

/** The content of the sequence at the start. Apple's keychain writes an indefinite length (X.690, 8.1.3.6): then it is all that follows. */
export const sequenceIn = (der: Buffer): Buffer | undefined => {
  if (der[0] !== tags.sequence) return undefined
  if (der[1] === 0x80) return der.subarray(-2).equals(Buffer.of(0, 0)) ? der.subarray(2) : undefined
  return elementAt(der, 0)?.content
}
