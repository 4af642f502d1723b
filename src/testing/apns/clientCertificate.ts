/** Reads the topics of a push certificate. */
// @effect-diagnostics nodeBuiltinImport:off
import type { X509Certificate } from "node:crypto"
import * as Der from "../../internal/der.ts"

/** The extension's object identifier, 1.2.840.113635.100.6.3.6, in DER. */
const topicsOid = Buffer.from("060a2a864886f76364060306", "hex")

/** The topics of a push certificate: those of Apple's extension, or the app in the subject's UID. */
export const topicsOf = (certificate: X509Certificate): ReadonlyArray<string> => {
  const at = certificate.raw.indexOf(topicsOid)
  if (at >= 0) {
    const octets = Der.elementAt(certificate.raw, at + topicsOid.length)
    const list = octets === undefined ? undefined : Der.sequenceIn(octets.content)
    // each topic is followed by a list of its kinds
    return list === undefined
      ? []
      : Der.elements(list).filter(({ tag }) => tag === Der.tags.utf8String).map(({ content }) => content.toString())
  }
  const uid = /^UID=(.+)$/m.exec(certificate.subject)?.[1]
  return uid === undefined ? [] : [uid]
}
