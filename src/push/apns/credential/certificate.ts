/**
 * Reads a push certificate with its key, from PEM, DER or PKCS #12, and finds faults
 * before Apple does. The file may contain certificates of authorities in any order:
 * the app's certificate is the one that matches the key.
 *
 * Pure. It does not check the dates.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as DateTime from "effect/DateTime"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as NodeTls from "node:tls"
import { elementAt, elements, tags } from "../../../internal/der.ts"
import { KeyMaterial as Material } from "../../credential/index.ts"
import * as CredentialError from "./CredentialError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Bytes and their source. */
export interface Sourced {
  /** The file, or another name for errors. */
  readonly source: string
  readonly bytes: Redacted.Redacted<Uint8Array>
}

/** The certificate, its key and its passphrase. */
export interface Input {
  /** PEM, or PKCS #12 (`.p12`, `.pfx`) with the key in it. */
  readonly certificate: Sourced
  /** PEM. Default: the key in the certificate's file. */
  readonly key?: Sourced | undefined
  /** The passphrase of the key or the PKCS #12 file. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/** The TLS options of the client certificate. */
export type TlsIdentity =
  | {
    readonly cert: string
    readonly key: Redacted.Redacted
    readonly passphrase?: Redacted.Redacted
  }
  | { readonly pfx: Redacted.Redacted<Uint8Array>; readonly passphrase?: Redacted.Redacted }

/** A certificate that matches its key. */
export interface Certificate {
  readonly tls: TlsIdentity
  /** The bundle ids that it covers, some with the suffix of a push type. Empty if it does not say. */
  readonly topics: ReadonlyArray<string>
  readonly validFrom: DateTime.Utc
  readonly validTo: DateTime.Utc
}

type Read<A> = Result.Result<A, CredentialError.CredentialErrorReason>

// -----------------------------------------------------------------------------
// Topics
// -----------------------------------------------------------------------------

/** The object identifier 1.2.840.113635.100.6.3.6 in DER: Apple's extension with the list of topics. */
const topicsExtension = Buffer.from("060a2a864886f76364060306", "hex")

/** Reads the list of topics: a sequence of topics, each followed by a sequence with its kind. */
const listedTopics = (der: Buffer): ReadonlyArray<string> => {
  const at = der.indexOf(topicsExtension)
  if (at < 0) return []
  const value = elements(der.subarray(at + topicsExtension.length), 2).find(({ tag }) => tag !== tags.boolean)
  if (value?.tag !== tags.octetString) return []
  return elements(value.content)
    .filter(({ tag }) => tag === tags.sequence)
    .flatMap(({ content }) => elements(content))
    .flatMap(({ content, tag }) => tag === tags.utf8String ? [content.toString("utf8")] : [])
}

/** The topics of the extension, else the topic in the subject. */
const topicsOf = (x509: Crypto.X509Certificate): ReadonlyArray<string> => {
  const listed = listedTopics(x509.raw)
  const uid = /^UID=(.+)$/m.exec(x509.subject)?.[1]
  return listed.length > 0 || uid === undefined ? listed : [uid]
}

// -----------------------------------------------------------------------------
// Certificate and key
// -----------------------------------------------------------------------------

type Blocks = ReadonlyArray<Material.Block>

const isKey = ({ label }: Material.Block): boolean => label.endsWith("PRIVATE KEY") && !label.startsWith("OPENSSH")

const isCertificate = ({ label }: Material.Block): boolean => label.endsWith("CERTIFICATE")

const certificateInvalid = (source: string, detail: string) =>
  Result.fail(new CredentialError.CertificateInvalid({ source, detail }))

const keyInvalid = (source: string, detail: string) => Result.fail(new CredentialError.KeyInvalid({ source, detail }))

const noCertificate = (blocks: Blocks): string =>
  blocks.some(isKey)
    ? "it contains a key and no certificate: check whether certificate and key are swapped"
    : Material.otherThan(blocks) ?? (blocks.length === 0
      ? "it is neither PEM nor PKCS #12, or it is damaged: export it again"
      : "it contains no certificate: use the PEM file of the push certificate, or a .p12 file")

/** All certificates in their order: the app's and those of authorities. */
const readCertificates = (source: string, blocks: Blocks): Read<ReadonlyArray<Crypto.X509Certificate>> => {
  const found = blocks.filter(isCertificate)
  if (found.length === 0) return certificateInvalid(source, noCertificate(blocks))
  return Result.mapError(
    Result.try(() => found.map(({ der }) => new Crypto.X509Certificate(der))),
    () => new CredentialError.CertificateInvalid({ source, detail: "it is damaged: export it again" })
  )
}

const noKey = (blocks: Blocks, isOwnFile: boolean): string => {
  if (blocks.some(isCertificate)) {
    return isOwnFile
      ? "it contains a certificate and no key: check whether certificate and key are swapped"
      : "it contains a certificate and no key: check whether certificate and key are swapped, or the key is in another " +
        "file. Apple's download (aps.cer) has no key: export both as .p12 from Keychain Access, or convert it with " +
        "`openssl x509 -inform der -in aps.cer -out aps.pem` and set the key separately"
  }
  if (blocks.some(({ label }) => label === "PKCS12")) {
    return "it is PKCS #12: use it as the certificate, since it contains both"
  }
  return Material.otherThan(blocks) ?? "it contains no private key: use the PEM file of the certificate's key"
}

const codeOf = (thrown: unknown): unknown => Predicate.hasProperty(thrown, "code") ? thrown.code : undefined

/** OpenSSL 3 does not support RC2, RC4 and DES by default. */
const oldCipher = ({ encryption }: Material.Block): string =>
  `it is encrypted with ${
    encryption?.split(",")[0] ?? "an old cipher (such as DES, RC2 or RC4)"
  }, which OpenSSL 3 does not support. ` +
  "Convert it: `openssl pkey -provider legacy -provider default -in OLD.key -aes256 -out NEW.key`"

/** Whether the key is incomplete, so that no passphrase can decrypt it. */
const isCutShort = ({ der, encryption }: Material.Block): boolean =>
  encryption === undefined && elementAt(der, 0) === undefined

const keyFailure = (source: string, block: Material.Block, isEncrypted: boolean) => (thrown: unknown) => {
  if (!isEncrypted || isCutShort(block)) {
    return new CredentialError.KeyInvalid({ source, detail: "it is damaged: export it again" })
  }
  return codeOf(thrown) === "ERR_OSSL_EVP_UNSUPPORTED"
    ? new CredentialError.KeyInvalid({ source, detail: oldCipher(block) })
    : new CredentialError.PassphraseWrong({ source, given: true })
}

const readKey = (
  source: string,
  blocks: Blocks,
  passphrase: Redacted.Redacted | undefined,
  isOwnFile: boolean
): Read<Crypto.KeyObject> => {
  const block = blocks.find(isKey)
  if (block === undefined) return keyInvalid(source, noKey(blocks, isOwnFile))
  const isEncrypted = block.label.startsWith("ENCRYPTED") || block.encryption !== undefined
  if (isEncrypted && passphrase === undefined) {
    return Result.fail(new CredentialError.PassphraseWrong({ source, given: false }))
  }
  return Result.try({
    try: () =>
      Crypto.createPrivateKey({
        key: Material.toPem(block),
        ...(passphrase === undefined ? undefined : { passphrase: Redacted.value(passphrase) })
      }),
    catch: keyFailure(source, block, isEncrypted)
  })
}

/** The purposes of certificates (1.3.6.1.5.5.7.3): a push certificate's, and others. */
const clientAuth = "1.3.6.1.5.5.7.3.2"
const purposes: Readonly<Record<string, string>> = {
  "1.3.6.1.5.5.7.3.1": "for servers",
  "1.3.6.1.5.5.7.3.3": "for signing code, such as Apple Development and Apple Distribution",
  "1.3.6.1.5.5.7.3.4": "for mail",
  "1.3.6.1.5.5.7.3.8": "for time stamps"
}

/** The purpose of a certificate that is not for clients. A certificate without purposes is for any. */
const otherPurpose = ({ keyUsage }: Crypto.X509Certificate): string | undefined =>
  keyUsage === undefined || keyUsage.includes(clientAuth) || keyUsage.includes("2.5.29.37.0")
    ? undefined
    : keyUsage.map((id) => purposes[id]).find((words) => words !== undefined) ?? "for something else"

/** Makes the certificate. OpenSSL accepts one with damaged dates or names, so this may still fail. */
const certificateOf = (source: string, x509: Crypto.X509Certificate, tls: TlsIdentity): Read<Certificate> => {
  const purpose = otherPurpose(x509)
  if (purpose !== undefined) {
    return certificateInvalid(
      source,
      `it is a certificate ${purpose}, not for pushes: use a certificate of Apple Push Services`
    )
  }
  return Result.try({
    try: () => ({
      tls,
      topics: topicsOf(x509),
      // As text: validFromDate makes a wrong date of one that it can't read.
      validFrom: DateTime.makeUnsafe(x509.validFrom),
      validTo: DateTime.makeUnsafe(x509.validTo)
    }),
    catch: () => new CredentialError.CertificateInvalid({ source, detail: "it is damaged: export it again" })
  })
}

const belongTo = (key: Crypto.KeyObject) => (x509: Crypto.X509Certificate): boolean =>
  Result.getOrElse(Result.try(() => x509.checkPrivateKey(key)), () => false)

const fromBlocks = (
  { certificate: { source }, key: own, passphrase }: Input,
  blocks: Blocks,
  keyBlocks: Blocks
): Read<Certificate> =>
  Result.gen(function*() {
    const all = yield* readCertificates(source, blocks)
    const keySource = own?.source ?? source
    const key = yield* readKey(keySource, keyBlocks, passphrase, own !== undefined)
    // Authorities may come first.
    const x509 = all.find(belongTo(key))
    if (x509 === undefined) {
      return yield* Result.fail(new CredentialError.KeyMismatch({ certificate: source, key: keySource }))
    }
    return yield* certificateOf(source, x509, {
      cert: [x509, ...all.filter((other) => other !== x509)].map(String).join(""),
      key: Redacted.make(key.export({ type: "pkcs8", format: "pem" }) as string, { label: "private key" })
    })
  })

// -----------------------------------------------------------------------------
// PKCS #12
// -----------------------------------------------------------------------------

/** Explains the text of OpenSSL's error. */
const p12Failure = (source: string, given: boolean) => (thrown: unknown): CredentialError.CredentialErrorReason => {
  const words = thrown instanceof Error ? thrown.message : ""
  // "bad decrypt" is the error of a file without a MAC.
  if (/mac verify|bad decrypt/i.test(words)) return new CredentialError.PassphraseWrong({ source, given })
  const detail = /unsupported/i.test(words)
    ? "its encryption is too old for OpenSSL 3. Convert it: " +
      "`openssl pkcs12 -legacy -in OLD.p12 -nodes -out push.pem`, and use push.pem"
    : /private key/i.test(words)
    ? "it contains no private key: export certificate and key together"
    : /certificate/i.test(words)
    ? "it contains a key and no certificate: export certificate and key together"
    : "it is neither PEM nor PKCS #12, or it is damaged: export it again"
  return new CredentialError.CertificateInvalid({ source, detail })
}

/** The certificate of a TLS context, in DER. Node.js has no other way to read PKCS #12. */
interface Context {
  readonly getCertificate: () => Buffer | null
}

const secrets = (passphrase: Redacted.Redacted | undefined) => passphrase === undefined ? undefined : { passphrase }

const fromP12 = ({ certificate: { source }, key, passphrase }: Input, pfx: Buffer): Read<Certificate> => {
  if (key !== undefined) {
    return keyInvalid(key.source, `${source} is PKCS #12 and contains its key: remove the separate key`)
  }
  return Result.try({
    try: () => {
      const { context } = NodeTls.createSecureContext({
        pfx,
        ...(passphrase === undefined ? undefined : { passphrase: Redacted.value(passphrase) })
      })
      return new Crypto.X509Certificate((context as Context).getCertificate()!)
    },
    catch: p12Failure(source, passphrase !== undefined)
  }).pipe(
    Result.flatMap((x509) =>
      certificateOf(source, x509, { pfx: Redacted.make(pfx, { label: "certificate" }), ...secrets(passphrase) })
    )
  )
}

/** Reads a certificate with its key. */
export const read = (input: Input): Read<Certificate> =>
  Result.gen(function*() {
    const { certificate, key } = input
    const blocks = yield* Result.mapError(
      Material.read(Redacted.value(certificate.bytes)),
      (detail) => new CredentialError.CertificateInvalid({ source: certificate.source, detail })
    )
    const p12 = blocks.find(({ label }) => label === "PKCS12")
    if (p12 !== undefined) return yield* fromP12(input, p12.der)
    const keyBlocks = key === undefined ? blocks : yield* Result.mapError(
      Material.read(Redacted.value(key.bytes)),
      (detail) => new CredentialError.KeyInvalid({ source: key.source, detail })
    )
    return yield* fromBlocks(input, blocks, keyBlocks)
  })

/** The certificates of authorities, as PEM. */
export const readAuthorities = ({ bytes, source }: Sourced): Read<string> =>
  Result.gen(function*() {
    const blocks = yield* Result.mapError(
      Material.read(Redacted.value(bytes)),
      (detail) => new CredentialError.CertificateInvalid({ source, detail })
    )
    if (!blocks.some(isCertificate)) {
      const detail = Material.otherThan(blocks) ?? (blocks.some(({ label }) => label === "PKCS12")
        ? "it is PKCS #12: extract the authorities with `openssl pkcs12 -in OLD.p12 -nokeys -out ca.pem`"
        : "it contains no certificate: use the PEM of the authorities to trust")
      return yield* certificateInvalid(source, detail)
    }
    return (yield* readCertificates(source, blocks)).map(String).join("")
  })
