/**
 * What a key or a certificate is, however it was written down. Pure.
 *
 * They come as PEM, as the base64 between its lines, as base64 of a whole file,
 * and as the bytes that base64 stands for (DER). On the way through forms,
 * variables and YAML the lines of PEM are joined, indented, quoted, written
 * with `\n` or `%0A`, or encoded twice; as long as the base64 is all there,
 * nothing is lost. All of it
 * becomes {@link Block}s: what is in it, by the label that PEM has for that.
 *
 * A text is taken for a key only where what it holds proves it, and for a path
 * only where no key can look so: a path may be shown, a key must not be.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Result from "effect/Result"
import * as Der from "../../../internal/der.ts"

/** One thing in a text or file. */
export interface Block {
  /** As in `-----BEGIN PRIVATE KEY-----`; by what it is, where its bytes tell that. */
  readonly label: string
  readonly der: Buffer
  /** How OpenSSL's older form of keys is encrypted, as its header says: `DES-EDE3-CBC,0123...`. */
  readonly encryption: string | undefined
}

/** More than any key has, and than the certificates of all authorities. */
export const maxBytes = 1_048_576

// -----------------------------------------------------------------------------
// DER
// -----------------------------------------------------------------------------

const objectId = (hex: string) => Buffer.from(hex, "hex")

/** 1.2.840.113549.1.7.2: signed data, also without a signer. */
const signedData = objectId("06092a864886f70d010702")

/** PKCS #12 (RFC 7292, section 4) begins with its version, which is 3. */
const pkcs12Version = Buffer.of(Der.tags.integer, 1, 3)

const startsWith = (bytes: Buffer, start: Buffer): boolean => bytes.subarray(0, start.length).equals(start)

/** A certificate names its version, or has the five parts that follow the serial number; a request has neither. */
const isCertificate = (content: Buffer): boolean => {
  const parts = Der.elements(content, 6)
  return parts[0]?.tag === Der.tags.version || parts.length === 6
}

/** By the tags of the first elements: RFC 5208 and 5280, 5915, 8017, 2986. */
const shapes: Readonly<Record<string, string | ((first: Buffer) => string)>> = {
  "2,48,4": "PRIVATE KEY",
  "2,4": "EC PRIVATE KEY",
  "2,2,2": "RSA PRIVATE KEY",
  "2,2": "RSA PUBLIC KEY",
  "48,4": "ENCRYPTED PRIVATE KEY",
  "48,3": "PUBLIC KEY",
  "48,48,3": (first) => isCertificate(first) ? "CERTIFICATE" : "CERTIFICATE REQUEST"
}

/** What the bytes are, in the words of PEM. */
const labelOf = (der: Buffer): string | undefined => {
  const content = Der.sequenceIn(der)
  if (content === undefined) return undefined
  if (startsWith(content, pkcs12Version)) return "PKCS12"
  if (startsWith(content, signedData)) return content.includes("<plist") ? "PROVISIONING PROFILE" : "PKCS7"
  const parts = Der.elements(content, 3)
  const given = parts.map(({ tag }) => tag)
  const shape = shapes[given.join(",")] ?? shapes[given.slice(0, 2).join(",")]
  return typeof shape === "function" ? shape(parts[0]!.content) : shape
}

/** All of the bytes, but for what OpenSSL appends to a certificate that it trusts. */
const fromDer = (bytes: Buffer): Block | undefined => {
  const label = labelOf(bytes)
  if (label === undefined) return undefined
  return { label, der: bytes.subarray(0, Der.elementAt(bytes, 0)?.end ?? bytes.length), encryption: undefined }
}

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

const dashes = "-----"

const character = (radix: number) => (_: string, digits: string): string => {
  const code = parseInt(digits, radix)
  return code <= 0x10ffff ? String.fromCodePoint(code) : ""
}

/** The lines around a block. Editors make other dashes of theirs, and forms lose some; what follows may be the next one. */
const marker = /-{2,10}\s{0,9}(BEGIN|END)([A-Z0-9\s#+_]{1,60}?)\s{0,9}-{2,40}?(?=-{2,10}\s{0,9}BEGIN|[^-]|$)/gi

/** How characters are written in JSON, shells, URLs, HTML and editors, one after the other. */
const spellings: ReadonlyArray<readonly [RegExp, string | ((match: string, ...groups: Array<string>) => string)]> = [
  // a run of backslashes is one
  [/\\(?=\\)/g, ""],
  [/(?:&#x|\\u(?=[0-9a-f]{4}))([0-9a-f]{1,4});?/gi, character(16)],
  [/(?:%|\\x)([0-9a-f]{2})/gi, character(16)],
  [/&#(\d{1,6});/g, character(10)],
  [/\\([0-3][0-7]{2})/g, character(8)],
  [/\\[rnt]|<br ?\/?>/gi, "\n"],
  [/\\/g, ""],
  // marks of order and direction, soft hyphens
  [/\p{Cf}/gu, ""],
  [/[\p{Pd}\u2212]/gu, "-"],
  [marker, (_, word, label) => `${dashes}${word!.toUpperCase()} ${label!.trim().toUpperCase()}${dashes}`]
]

/** The text that was meant, before it was escaped or set. No base64 changes. */
const meant = (text: string): string =>
  spellings.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement as string), text)

/** The bytes of base64, of either alphabet, with blanks, quotes and what stands between lines in it. */
const fromBase64 = (text: string): Buffer | undefined => {
  const compact = text.replace(/[\s\x85"'`\u2018-\u201f,;|<>]+/g, "").replace(/^(?:data:[^,]{0,99}base64|base64:)/i, "")
  return /^(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}$/.test(compact) ? Buffer.from(compact, "base64") : undefined
}

/** RFC 1421, section 4.6, as OpenSSL writes it: cipher and 8 or 16 bytes, after which its lines may be joined to the others. */
const encryptionHeader =
  /^[\s\x85>;]*Proc-Type:[\s+]*4,ENCRYPTED[\s\x85>;]*DEK-Info:[\s+]*([A-Z0-9-]{1,40},(?:[0-9A-F]{32}|[0-9A-F]{16}))/i

/** Blanks within a label may be lost, too. */
const spelled = (label: string): string =>
  label.replace(/[\s+_]+/g, "").replace(/(?=KEY$|PRIVATE|PUBLIC|REQUEST)/g, " ").trim()

const fromLines = (label: string, lines: string): Block | undefined => {
  const encryption = encryptionHeader.exec(lines)
  const der = fromBase64(lines.slice(encryption?.[0].length ?? 0))
  if (der === undefined) return undefined
  if (encryption !== null) return { label: spelled(label), der, encryption: encryption[1]! }
  return fromDer(der) ?? { label: spelled(label), der, encryption: undefined }
}

/** The blocks of PEM, as it was meant, in their order, and whether there are some that can't be read. */
const fromPem = (text: string): { readonly blocks: ReadonlyArray<Block>; readonly isDamaged: boolean } => {
  const blocks: Array<Block> = []
  let isDamaged = false
  const parts = text.split(dashes)
  for (let i = 0; i + 1 < parts.length; i++) {
    const label = /^\s*-*BEGIN([A-Z0-9\s#+_]{1,60})$/.exec(parts[i]!)?.[1]
    if (label === undefined) continue
    const block = fromLines(label, parts[++i]!)
    if (block === undefined) isDamaged = true
    else blocks.push(block)
  }
  return { blocks, isDamaged }
}

const isPem = (text: string): boolean => text.includes(`${dashes}BEGIN`)

const isUtf16 = (bytes: Buffer): boolean =>
  startsWith(bytes, Buffer.of(0xff, 0xfe)) || startsWith(bytes, Buffer.of(0xfe, 0xff)) ||
  bytes.includes("-\0-\0-\0B\0E\0G\0I\0N\0", 0, "latin1")

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/** What there is besides keys and certificates, and what to do with it. */
const others: Readonly<Record<string, string>> = {
  "CERTIFICATE REQUEST":
    "it is a certificate request: upload it in the developer account, and give the certificate that comes of it",
  PKCS7: "it is PKCS #7, certificates without a key: convert it with " +
    "`openssl pkcs7 -print_certs -in OLD.p7b -out push.pem` (and `-inform der`, where it is not text)",
  "PROVISIONING PROFILE": "it is a provisioning profile, which belongs into the app: give the key, or the push " +
    "certificate, from the developer account",
  "OPENSSH PRIVATE KEY":
    "it is a key of OpenSSH: give the one with which the certificate was requested, or convert it with `ssh-keygen -p -m PKCS8`",
  "PUBLIC KEY": "it is a public key: give the file with the private one",
  "RSA PUBLIC KEY": "it is a public key: give the file with the private one"
}

/** What is there instead of what was asked for, and what to do about it. */
export const otherThan = (blocks: ReadonlyArray<Block>): string | undefined =>
  blocks.map(({ label }) => others[label]).find((words) => words !== undefined)

/** Everything that stands in a file, or in a text in its place. The failure says what is wrong and what to do. */
export const read = (bytes: Uint8Array): Result.Result<ReadonlyArray<Block>, string> => {
  if (bytes.length > maxBytes) {
    return Result.fail(`it has ${bytes.length} bytes, and ${maxBytes} at most are read: is it the right file?`)
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (isUtf16(buffer)) {
    return Result.fail("it is text in UTF-16: save it as UTF-8, or `iconv -f UTF-16 -t UTF-8 OLD.pem > NEW.pem`")
  }
  const der = fromDer(buffer)
  if (der !== undefined) return Result.succeed([der])
  const text = meant(buffer.toString("utf8"))
  if (!isPem(text)) {
    const decoded = fromBase64(text)
    // some encode what is encoded already
    return decoded === undefined ? Result.succeed([]) : read(decoded)
  }
  const { blocks, isDamaged } = fromPem(text)
  return blocks.length === 0 && isDamaged
    ? Result.fail("it is damaged: between its BEGIN and END lines stands something else than base64")
    : Result.succeed(blocks)
}

/** A block as PEM. */
export const toPem = ({ der, encryption, label }: Block): string => {
  const headers = encryption === undefined ? "" : `Proc-Type: 4,ENCRYPTED\nDEK-Info: ${encryption}\n\n`
  const lines = der.toString("base64").replace(/.{64}(?=.)/g, "$&\n")
  return `${dashes}BEGIN ${label}${dashes}\n${headers}${lines}\n${dashes}END ${label}${dashes}\n`
}

// -----------------------------------------------------------------------------
// Text or path
// -----------------------------------------------------------------------------

/** What a text without PEM lines is to hold. */
export type Kind = "key" | "certificate"

/** What a text holds, as PEM or as the bytes of PKCS #12; `undefined` where it certainly holds neither. */
export const contentIn = (text: string, kind: Kind): string | Uint8Array | undefined => {
  if (text.length > maxBytes) return undefined
  if (isPem(meant(text))) return text
  const found = read(Buffer.from(text))
  // what is wrong with it is told by who reads it
  if (Result.isFailure(found)) return text
  const [block] = found.success
  if (block === undefined) return undefined
  return kind === "certificate" && block.label === "PKCS12" ? block.der : toPem(block)
}

/** Base64 has no dot. */
const hasEnding = (text: string): boolean => /\.(?:p8|p12|pfx|pem|crt|cer|der|key|txt)$/i.test(text)

const hasRoot = (text: string): boolean => /^(?:\.{0,2}\/|~\/|[A-Za-z]:[\\/])/.test(text)

/** Longer names are rather the lines of a key. */
const hasNames = (text: string): boolean => !/[+=]/.test(text) && text.split(/[\\/]/).every((name) => name.length < 48)

/** Is it a path, such as `/run/secrets/apns`, `./apns` or `AuthKey_ABC123DEFG.p8`, and nothing that is to stay secret? */
export const isPath = (text: string): boolean =>
  !/[\r\n]/.test(text) && !isPem(meant(text)) && (hasEnding(text) || (hasRoot(text) && hasNames(text)))
