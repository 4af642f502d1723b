/**
 * Reads keys and certificates in any form. Pure.
 *
 * They may be PEM, the base64 between its lines, base64 of a whole file, or DER. Web
 * forms, environment variables and YAML join, indent, quote, escape (`\n`, `%0A`) or
 * encode the lines of PEM again; the reader undoes that if the base64 is complete. It
 * returns {@link Block}s with the labels of PEM.
 *
 * A text counts as a key only if its content proves it, and as a path only if no key
 * can look like it, because messages may show a path but not a key.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Result from "effect/Result"
import * as Der from "../../internal/der.ts"

/** A key, certificate or other object in a text or file. */
export interface Block {
  /** The label of PEM, as in `-----BEGIN PRIVATE KEY-----`. The bytes decide it if they can. */
  readonly label: string
  readonly der: Buffer
  /** The DEK-Info header of OpenSSL's older encrypted keys: `DES-EDE3-CBC,0123...`. */
  readonly encryption: string | undefined
}

/** The largest file, in bytes: more than all certificate authorities together. */
export const maxBytes = 1_048_576

// -----------------------------------------------------------------------------
// DER
// -----------------------------------------------------------------------------

const objectId = (hex: string) => Buffer.from(hex, "hex")

/** 1.2.840.113549.1.7.2: signed data, with or without a signer. */
const signedData = objectId("06092a864886f70d010702")

/** PKCS #12 (RFC 7292, section 4) starts with its version, 3. */
const pkcs12Version = Buffer.of(Der.tags.integer, 1, 3)

const startsWith = (bytes: Buffer, start: Buffer): boolean => bytes.subarray(0, start.length).equals(start)

/** A certificate has its version, or five parts after the serial number. A request has neither. */
const isCertificate = (content: Buffer): boolean => {
  const parts = Der.elements(content, 6)
  return parts[0]?.tag === Der.tags.version || parts.length === 6
}

/** The labels by the tags of the first elements: RFC 5208, 5280, 5915, 8017 and 2986. */
const shapes: Readonly<Record<string, string | ((first: Buffer) => string)>> = {
  "2,48,4": "PRIVATE KEY",
  "2,4": "EC PRIVATE KEY",
  "2,2,2": "RSA PRIVATE KEY",
  "2,2": "RSA PUBLIC KEY",
  "48,4": "ENCRYPTED PRIVATE KEY",
  "48,3": "PUBLIC KEY",
  "48,48,3": (first) => isCertificate(first) ? "CERTIFICATE" : "CERTIFICATE REQUEST"
}

/** The PEM label for some bytes. */
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

/** A block from DER, without what OpenSSL appends to trusted certificates. */
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

/** The BEGIN and END lines. Editors change their dashes, web forms lose some, and the next line may follow at once. */
const marker = /-{2,10}\s{0,9}(BEGIN|END)([A-Z0-9\s#+_]{1,60}?)\s{0,9}-{2,40}?(?=-{2,10}\s{0,9}BEGIN|[^-]|$)/gi

/** The escapes of JSON, shells, URLs, HTML and editors, in the order in which to undo them. */
const spellings: ReadonlyArray<readonly [RegExp, string | ((match: string, ...groups: Array<string>) => string)]> = [
  // Several backslashes count as one.
  [/\\(?=\\)/g, ""],
  [/(?:&#x|\\u(?=[0-9a-f]{4}))([0-9a-f]{1,4});?/gi, character(16)],
  [/(?:%|\\x)([0-9a-f]{2})/gi, character(16)],
  [/&#(\d{1,6});/g, character(10)],
  [/\\([0-3][0-7]{2})/g, character(8)],
  [/\\[rnt]|<br ?\/?>/gi, "\n"],
  [/\\/g, ""],
  // Byte order marks, direction marks, soft hyphens.
  [/\p{Cf}/gu, ""],
  [/[\p{Pd}\u2212]/gu, "-"],
  [marker, (_, word, label) => `${dashes}${word!.toUpperCase()} ${label!.trim().toUpperCase()}${dashes}`]
]

/** Undoes the escapes. It does not change base64. */
const meant = (text: string): string =>
  spellings.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement as string), text)

/** Decodes base64 of either alphabet, with spaces, quotes and separators between its lines. */
const fromBase64 = (text: string): Buffer | undefined => {
  const compact = text.replace(/[\s\x85"'`\u2018-\u201f,;|<>]+/g, "").replace(/^(?:data:[^,]{0,99}base64|base64:)/i, "")
  return /^(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}$/.test(compact) ? Buffer.from(compact, "base64") : undefined
}

/** The header of RFC 1421, section 4.6, as OpenSSL writes it: cipher and 8 or 16 bytes. Other lines may follow at once. */
const encryptionHeader =
  /^[\s\x85>;]*Proc-Type:[\s+]*4,ENCRYPTED[\s\x85>;]*DEK-Info:[\s+]*([A-Z0-9-]{1,40},(?:[0-9A-F]{32}|[0-9A-F]{16}))/i

/** Restores the spaces of a label. */
const spelled = (label: string): string =>
  label.replace(/[\s+_]+/g, "").replace(/(?=KEY$|PRIVATE|PUBLIC|REQUEST)/g, " ").trim()

const fromLines = (label: string, lines: string): Block | undefined => {
  const encryption = encryptionHeader.exec(lines)
  const der = fromBase64(lines.slice(encryption?.[0].length ?? 0))
  if (der === undefined) return undefined
  if (encryption !== null) return { label: spelled(label), der, encryption: encryption[1]! }
  return fromDer(der) ?? { label: spelled(label), der, encryption: undefined }
}

/** The blocks of unescaped PEM in their order, and whether some can't be read. */
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

/** Objects that are neither a key nor a certificate, and what to do about them. */
const others: Readonly<Record<string, string>> = {
  "CERTIFICATE REQUEST":
    "it is a certificate request: upload it in the developer account, and use the certificate that you get for it",
  PKCS7: "it is PKCS #7, certificates without a key: convert it with " +
    "`openssl pkcs7 -print_certs -in OLD.p7b -out push.pem` (add `-inform der` if the file is not text)",
  "PROVISIONING PROFILE": "it is a provisioning profile, which belongs to the app: use the key or the push " +
    "certificate from the developer account",
  "OPENSSH PRIVATE KEY":
    "it is an OpenSSH key: use the key of the certificate's request, or convert it with `ssh-keygen -p -m PKCS8`",
  "PUBLIC KEY": "it is a public key: use the file with the private key",
  "RSA PUBLIC KEY": "it is a public key: use the file with the private key"
}

/** Says which other object the blocks contain, and what to do about it. */
export const otherThan = (blocks: ReadonlyArray<Block>): string | undefined =>
  blocks.map(({ label }) => others[label]).find((words) => words !== undefined)

/** Reads all blocks of a file or a text. The failure says what is wrong and what to do. */
export const read = (bytes: Uint8Array): Result.Result<ReadonlyArray<Block>, string> => {
  if (bytes.length > maxBytes) {
    return Result.fail(`it has ${bytes.length} bytes; at most ${maxBytes} are read: check that it is the right file`)
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (isUtf16(buffer)) {
    return Result.fail("it is text in UTF-16: save it as UTF-8, or run `iconv -f UTF-16 -t UTF-8 OLD.pem > NEW.pem`")
  }
  const der = fromDer(buffer)
  if (der !== undefined) return Result.succeed([der])
  const text = meant(buffer.toString("utf8"))
  if (!isPem(text)) {
    const decoded = fromBase64(text)
    // The base64 may be encoded twice.
    return decoded === undefined ? Result.succeed([]) : read(decoded)
  }
  const { blocks, isDamaged } = fromPem(text)
  return blocks.length === 0 && isDamaged
    ? Result.fail("it is damaged: the text between its BEGIN and END lines is not base64")
    : Result.succeed(blocks)
}

/** Writes a block as PEM. */
export const toPem = ({ der, encryption, label }: Block): string => {
  const headers = encryption === undefined ? "" : `Proc-Type: 4,ENCRYPTED\nDEK-Info: ${encryption}\n\n`
  const lines = der.toString("base64").replace(/.{64}(?=.)/g, "$&\n")
  return `${dashes}BEGIN ${label}${dashes}\n${headers}${lines}\n${dashes}END ${label}${dashes}\n`
}

// -----------------------------------------------------------------------------
// Text or path
// -----------------------------------------------------------------------------

/** What a text without PEM lines should contain. */
export type Kind = "key" | "certificate"

/** The content of a text, as PEM or the bytes of PKCS #12; `undefined` if it certainly contains neither. */
export const contentIn = (text: string, kind: Kind): string | Uint8Array | undefined => {
  if (text.length > maxBytes) return undefined
  if (isPem(meant(text))) return text
  const found = read(Buffer.from(text))
  // The reader of the credential reports the fault.
  if (Result.isFailure(found)) return text
  const [block] = found.success
  if (block === undefined) return undefined
  return kind === "certificate" && block.label === "PKCS12" ? block.der : toPem(block)
}

/** Whether it has the ending of a file. Base64 has no dot. */
const hasEnding = (text: string): boolean => /\.(?:p8|p12|pfx|pem|crt|cer|der|key|txt)$/i.test(text)

const hasRoot = (text: string): boolean => /^(?:\.{0,2}\/|~\/|[A-Za-z]:[\\/])/.test(text)

/** Whether its parts can be file names. Longer parts may be lines of a key. */
const hasNames = (text: string): boolean => !/[+=]/.test(text) && text.split(/[\\/]/).every((name) => name.length < 48)

/** Whether it is a path, such as `/run/secrets/apns`, `./apns` or `AuthKey_ABC123DEFG.p8`, and certainly not a secret. */
export const isPath = (text: string): boolean =>
  !/[\r\n]/.test(text) && !isPem(meant(text)) && (hasEnding(text) || (hasRoot(text) && hasNames(text)))
