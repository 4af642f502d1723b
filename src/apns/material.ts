/**
 * Tells a key or certificate that is given as text from the name of its file,
 * and both from what is neither. Pure.
 *
 * Keys come as PEM, as the base64 between its lines, and as base64 of the whole
 * file. A text is taken for base64 only where what it holds proves it, and for
 * a path only where no key can look so: a path may be shown, a key must not be.
 */
// @effect-diagnostics nodeBuiltinImport:off

/** What a text without PEM lines is to hold. */
export type Kind = "key" | "certificate"

const isPem = (text: string): boolean => text.includes("-----BEGIN ")

/** The bytes of a text in base64, of either alphabet; environment variables may hold `\n` for line ends. */
const fromBase64 = (text: string): Buffer | undefined => {
  const compact = text.replaceAll("\\n", "").replace(/\s/g, "")
  return /^(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}$/.test(compact) ? Buffer.from(compact, "base64") : undefined
}

const tags = { integer: 0x02, sequence: 0x30 }

/** Where the content of a sequence begins that is all there is (X.690, 8.1.3); Apple's keychain leaves the length open. */
const contentOf = (bytes: Buffer): Buffer | undefined => {
  const first = bytes[1] ?? 0
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  if (bytes[0] !== tags.sequence || lengthBytes > 4 || bytes.length < 2 + lengthBytes) return undefined
  const content = bytes.subarray(2 + lengthBytes)
  if (first === 0x80) return content.subarray(-2).equals(Buffer.of(0, 0)) ? content : undefined
  return content.length === (lengthBytes === 0 ? first : bytes.readUIntBE(2, lengthBytes)) ? content : undefined
}

/** PKCS #12 (RFC 7292, section 4) begins with its version, which is 3. */
const isPkcs12 = (content: Buffer): boolean => content.subarray(0, 3).equals(Buffer.of(tags.integer, 1, 3))

const labelOf = (kind: Kind, content: Buffer): string =>
  kind === "certificate" ? "CERTIFICATE" : content[0] === tags.sequence ? "ENCRYPTED PRIVATE KEY" : "PRIVATE KEY"

const toPem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString("base64").replace(/.{64}(?=.)/g, "$&\n")}\n-----END ${label}-----\n`

/** What a text holds, as PEM or as the bytes of PKCS #12; `undefined` where it certainly holds neither. */
export const contentIn = (text: string, kind: Kind): string | Uint8Array | undefined => {
  if (isPem(text)) return text
  const bytes = fromBase64(text)
  if (bytes === undefined) return undefined
  const decoded = bytes.toString("utf8")
  if (isPem(decoded)) return decoded
  const content = contentOf(bytes)
  if (content === undefined || content.length === 0) return undefined
  return kind === "certificate" && isPkcs12(content) ? bytes : toPem(labelOf(kind, content), bytes)
}

/** Base64 has no dot. */
const hasEnding = (text: string): boolean => /\.(?:p8|p12|pfx|pem|crt|cer|der|key|txt)$/i.test(text)

const hasRoot = (text: string): boolean => /^(?:\.{0,2}\/|~\/|[A-Za-z]:[\\/])/.test(text)

/** Longer names are rather the lines of a key. */
const hasNames = (text: string): boolean => !/[+=]/.test(text) && text.split(/[\\/]/).every((name) => name.length < 48)

/** Is it a path, such as `/run/secrets/apns`, `./apns` or `AuthKey_ABC123DEFG.p8`, and nothing that is to stay secret? */
export const isPath = (text: string): boolean =>
  !/[\r\n]/.test(text) && !isPem(text) && (hasEnding(text) || (hasRoot(text) && hasNames(text)))
