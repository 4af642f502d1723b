/**
 * Reads a push certificate with its key, from PEM or PKCS #12, and finds what
 * is wrong with it before Apple does.
 *
 * Pure, but for the names of the sources, which are for errors. Times are not
 * looked at here.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as NodeTls from "node:tls"
import * as CredentialError from "./CredentialError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Bytes and where they came from. */
export interface Sourced {
  /** The file, or another name for errors. */
  readonly source: string
  readonly bytes: Redacted.Redacted<Uint8Array>
}

/** What is read. */
export interface Input {
  /** PEM, or PKCS #12 (`.p12`, `.pfx`) with the key in it. */
  readonly certificate: Sourced
  /** PEM. Default: it stands in the certificate's text. */
  readonly key?: Sourced | undefined
  /** Of the key, or the PKCS #12. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/** How a connection shows the certificate: a part of what TLS is told. */
export type TlsIdentity =
  | {
    readonly cert: string
    readonly key: Redacted.Redacted
    readonly passphrase?: Redacted.Redacted
  }
  | { readonly pfx: Redacted.Redacted<Uint8Array>; readonly passphrase?: Redacted.Redacted }

/** A certificate that belongs to its key. */
export interface Certificate {
  readonly tls: TlsIdentity
  /** What it may push to: bundle ids, some with the suffix of a push type. Empty where it doesn't say. */
  readonly topics: ReadonlyArray<string>
  readonly validFrom: DateTime.Utc
  readonly validTo: DateTime.Utc
}

type Read<A> = Result.Result<A, CredentialError.CredentialErrorReason>

// -----------------------------------------------------------------------------
// Topics
// -----------------------------------------------------------------------------

/** The object identifier 1.2.840.113635.100.6.3.6 in DER: Apple's list of topics. */
const topicsExtension = Buffer.from("060a2a864886f76364060306", "hex")

const tags = { boolean: 0x01, octetString: 0x04, utf8String: 0x0c, sequence: 0x30 }

interface Element {
  readonly tag: number
  readonly content: Buffer
}

/** The DER elements of some bytes, one after the other; what is cut off is left away. */
const elements = (der: Buffer): ReadonlyArray<Element> => {
  const found: Array<Element> = []
  let at = 0
  while (at + 2 <= der.length) {
    const first = der[at + 1]!
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f
    const start = at + 2 + lengthBytes
    if (lengthBytes > 4 || start > der.length) break
    const length = lengthBytes === 0 ? first & 0x7f : der.readUIntBE(at + 2, lengthBytes)
    if (start + length > der.length) break
    found.push({ tag: der[at]!, content: der.subarray(start, start + length) })
    at = start + length
  }
  return found
}

/** The list is a sequence of topics, each followed by a sequence with its kind. */
const listedTopics = (der: Buffer): ReadonlyArray<string> => {
  const at = der.indexOf(topicsExtension)
  if (at < 0) return []
  const value = elements(der.subarray(at + topicsExtension.length)).find(({ tag }) => tag !== tags.boolean)
  if (value?.tag !== tags.octetString) return []
  return elements(value.content)
    .filter(({ tag }) => tag === tags.sequence)
    .flatMap(({ content }) => elements(content))
    .flatMap(({ content, tag }) => tag === tags.utf8String ? [content.toString("utf8")] : [])
}

/** The topics of the extension; else the one in the subject. */
const topicsOf = (x509: Crypto.X509Certificate): ReadonlyArray<string> => {
  const listed = listedTopics(x509.raw)
  const uid = /^UID=(.+)$/m.exec(x509.subject)?.[1]
  return listed.length > 0 || uid === undefined ? listed : [uid]
}

// -----------------------------------------------------------------------------
// PEM
// -----------------------------------------------------------------------------

const isPem = (bytes: Uint8Array): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes("-----BEGIN ")

/** Environment variables may hold `\n` for line ends. */
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8").replaceAll("\\n", "\n")

const has = (pem: string, label: RegExp): boolean => new RegExp(`-----BEGIN (?:${label.source})-----`).test(pem)

const keyLabel = /[A-Z ]*PRIVATE KEY/

const certificateInvalid = (source: string, detail: string) =>
  Result.fail(new CredentialError.CertificateInvalid({ source, detail }))

const keyInvalid = (source: string, detail: string) => Result.fail(new CredentialError.KeyInvalid({ source, detail }))

const readX509 = (source: string, pem: string): Read<Crypto.X509Certificate> => {
  if (!has(pem, /CERTIFICATE/)) {
    return certificateInvalid(
      source,
      has(pem, keyLabel)
        ? "it holds a key and no certificate: are certificate and key swapped?"
        : "there is no certificate in it: give the PEM file of the push certificate, or a .p12 file"
    )
  }
  return Result.mapError(
    Result.try(() => new Crypto.X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE-----")))),
    () => new CredentialError.CertificateInvalid({ source, detail: "it is damaged: export it again" })
  )
}

const readKey = (source: string, pem: string, passphrase: Redacted.Redacted | undefined): Read<Crypto.KeyObject> => {
  if (!has(pem, keyLabel)) {
    return keyInvalid(
      source,
      has(pem, /CERTIFICATE/)
        ? "it holds a certificate and no key: are certificate and key swapped, or does the key stand in another file?"
        : "there is no private key in it: give the PEM file of the certificate's key"
    )
  }
  const encrypted = pem.includes("ENCRYPTED")
  if (encrypted && passphrase === undefined) {
    return Result.fail(new CredentialError.PassphraseWrong({ source, given: false }))
  }
  const key = new RegExp(`-----BEGIN (${keyLabel.source})-----[^]*?-----END \\1-----`).exec(pem)?.[0] ?? ""
  return Result.mapError(
    Result.try(() =>
      Crypto.createPrivateKey({
        key,
        ...(passphrase === undefined ? undefined : { passphrase: Redacted.value(passphrase) })
      })
    ),
    () =>
      encrypted
        ? new CredentialError.PassphraseWrong({ source, given: true })
        : new CredentialError.KeyInvalid({ source, detail: "it is damaged: export it again" })
  )
}

const secrets = (passphrase: Redacted.Redacted | undefined) => passphrase === undefined ? undefined : { passphrase }

const certificateOf = (x509: Crypto.X509Certificate, tls: TlsIdentity): Certificate => ({
  tls,
  topics: topicsOf(x509),
  validFrom: DateTime.fromDateUnsafe(x509.validFromDate),
  validTo: DateTime.fromDateUnsafe(x509.validToDate)
})

const fromPem = ({ certificate, key = certificate, passphrase }: Input): Read<Certificate> => {
  const cert = textOf(Redacted.value(certificate.bytes))
  const keyPem = textOf(Redacted.value(key.bytes))
  const x509 = readX509(certificate.source, cert)
  if (Result.isFailure(x509)) return Result.fail(x509.failure)
  const privateKey = readKey(key.source, keyPem, passphrase)
  if (Result.isFailure(privateKey)) return Result.fail(privateKey.failure)
  return x509.success.checkPrivateKey(privateKey.success)
    ? Result.succeed(certificateOf(x509.success, {
      // without the key, which may stand in the same text
      cert: cert.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g)!.join("\n"),
      key: Redacted.make(keyPem, { label: "private key" }),
      ...secrets(passphrase)
    }))
    : Result.fail(new CredentialError.KeyMismatch({ certificate: certificate.source, key: key.source }))
}

// -----------------------------------------------------------------------------
// PKCS #12
// -----------------------------------------------------------------------------

/** From the words of OpenSSL. */
const p12Failure = (source: string, given: boolean) => (thrown: unknown): CredentialError.CredentialErrorReason => {
  const words = thrown instanceof Error ? thrown.message : ""
  if (/mac verify/i.test(words)) return new CredentialError.PassphraseWrong({ source, given })
  const detail = /unsupported/i.test(words)
    ? "it is encrypted in a way that OpenSSL 3 has given up. Convert it: " +
      "`openssl pkcs12 -legacy -in OLD.p12 -nodes -out push.pem`, and give push.pem"
    : /private key/i.test(words)
    ? "it holds no private key: export certificate and key together"
    : "it is neither PEM nor PKCS #12, or it is damaged: export it again"
  return new CredentialError.CertificateInvalid({ source, detail })
}

/** A context's certificate, in DER. Node.js has no other way to look into PKCS #12. */
interface Context {
  readonly getCertificate: () => Buffer | null
}

const fromP12 = ({ certificate: { bytes, source }, key, passphrase }: Input): Read<Certificate> => {
  if (key !== undefined) {
    return keyInvalid(key.source, `${source} is PKCS #12 and holds its key: leave the separate key away`)
  }
  return Result.try({
    try: () => {
      const pfx = Buffer.from(Redacted.value(bytes))
      const { context } = NodeTls.createSecureContext({
        pfx,
        ...(passphrase === undefined ? undefined : { passphrase: Redacted.value(passphrase) })
      })
      return new Crypto.X509Certificate((context as Context).getCertificate()!)
    },
    catch: p12Failure(source, passphrase !== undefined)
  }).pipe(Result.map((x509) => certificateOf(x509, { pfx: bytes, ...secrets(passphrase) })))
}

/** Reads a certificate with its key. */
export const read = (input: Input): Read<Certificate> =>
  isPem(Redacted.value(input.certificate.bytes)) ? fromPem(input) : fromP12(input)
