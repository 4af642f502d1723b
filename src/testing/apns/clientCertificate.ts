/** The topics that a push certificate is for. */
// @effect-diagnostics nodeBuiltinImport:off
import type { X509Certificate } from "node:crypto"

/** The extension's object identifier, 1.2.840.113635.100.6.3.6, in DER. */
const topicsOid = Buffer.from("060a2a864886f76364060306", "hex")

interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly rest: Buffer
}

const readElement = (bytes: Buffer): Element => {
  const short = bytes[1]!
  const lengthSize = short < 128 ? 0 : short & 0x7f
  const start = 2 + lengthSize
  const end = start + (lengthSize === 0 ? short : bytes.readUIntBE(2, lengthSize))
  return { tag: bytes[0]!, content: bytes.subarray(start, end), rest: bytes.subarray(end) }
}

/** Topics and, after each, a list of its kinds. */
const readTopics = (list: Buffer): Array<string> => {
  const topics: Array<string> = []
  for (let left = list; left.length > 0;) {
    const { content, rest, tag } = readElement(left)
    if (tag === 0x0c) topics.push(content.toString())
    left = rest
  }
  return topics
}

/** The topics of a push certificate: those of Apple's extension, or the app in the subject's UID. */
export const topicsOf = (certificate: X509Certificate): ReadonlyArray<string> => {
  const at = certificate.raw.indexOf(topicsOid)
  if (at >= 0) {
    const octets = readElement(certificate.raw.subarray(at + topicsOid.length))
    return readTopics(readElement(octets.content).content)
  }
  const uid = /^UID=(.+)$/m.exec(certificate.subject)?.[1]
  return uid === undefined ? [] : [uid]
}
