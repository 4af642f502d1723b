/**
 * X.509 certificates for tests: an authority, and the certificates that it issues
 * for servers and clients. It works in this process, without openssl.
 *
 * Keys are EC P-256, signatures ecdsa-with-SHA256. By default a certificate is
 * valid from 2020 to the end of 2049, whatever the clock says, so that a test on
 * a TestClock can connect.
 *
 * Not for production: the keys are plain text, and there is no revocation.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto"
import { isIP } from "node:net"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A certificate and its private key, both in PEM.
 *
 * @category models
 * @since 0.1.0
 */
export interface Identity {
  readonly cert: string
  readonly key: string
}

/**
 * The options of a certificate.
 *
 * @category models
 * @since 0.1.0
 */
export interface IssueOptions {
  /** The subject's common name. Default: the first of `names`, or `"localhost"`. */
  readonly commonName?: string | undefined
  /** The host names and IP addresses that it is valid for. Default: `localhost`, `127.0.0.1` and `::1`. */
  readonly names?: ReadonlyArray<string> | undefined
  /**
   * The topics of a push certificate. The first one, the app's bundle id, is also
   * the subject's UID, as in Apple's certificates. Default: none.
   */
  readonly topics?: ReadonlyArray<string> | undefined
  /** The start of its validity. Default: the beginning of 2020. */
  readonly notBefore?: Date | undefined
  /** The end of its validity. Default: the end of 2049. */
  readonly notAfter?: Date | undefined
}

/**
 * An authority that issues certificates.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authority {
  /** The certificate to trust, PEM. */
  readonly cert: string
  /** Issues a key pair and a certificate for servers and clients. */
  readonly issue: (options?: IssueOptions) => Effect.Effect<Identity>
}

// -----------------------------------------------------------------------------
// DER (X.690)
// -----------------------------------------------------------------------------

const length = (size: number): ReadonlyArray<number> => {
  if (size < 128) return [size]
  const bytes: Array<number> = []
  for (let rest = size; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff)
  return [0x80 | bytes.length, ...bytes]
}

const der = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Uint8Array => {
  const content = Buffer.concat(contents)
  return Buffer.concat([Uint8Array.of(tag, ...length(content.length)), content])
}

const sequence = (...contents: ReadonlyArray<Uint8Array>) => der(0x30, ...contents)
const set = (...contents: ReadonlyArray<Uint8Array>) => der(0x31, ...contents)
const boolean = (value: boolean) => der(0x01, Uint8Array.of(value ? 0xff : 0))
const integer = (bytes: Uint8Array) => der(0x02, bytes)
const bitString = (bytes: Uint8Array, unusedBits = 0) => der(0x03, Uint8Array.of(unusedBits), bytes)
const octetString = (bytes: Uint8Array) => der(0x04, bytes)
const utf8String = (text: string) => der(0x0c, Buffer.from(text))
const explicit = (index: number, content: Uint8Array) => der(0xa0 | index, content)
const implicit = (index: number, content: Uint8Array) => der(0x80 | index, content)

const base128 = (value: number): ReadonlyArray<number> => {
  const bytes = [value & 0x7f]
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.unshift(0x80 | (rest & 0x7f))
  }
  return bytes
}

const oid = (dotted: string): Uint8Array => {
  const [first, second, ...rest] = dotted.split(".").map(Number)
  return der(0x06, Uint8Array.from([first! * 40 + second!, ...rest].flatMap(base128)))
}

/** RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
const time = (date: Date): Uint8Array => {
  const digits = date.toISOString().replace(/\.\d+Z$/, "Z").replace(/[-:T]/g, "")
  return digits < "2050" ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}

// -----------------------------------------------------------------------------
// X.509 (RFC 5280)
// -----------------------------------------------------------------------------

const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"))
const commonNameOid = oid("2.5.4.3")
const userIdOid = oid("0.9.2342.19200300.100.1.1")

const name = (...attributes: ReadonlyArray<readonly [type: Uint8Array, value: string]>): Uint8Array =>
  sequence(...attributes.map(([type, value]) => set(sequence(type, utf8String(value)))))

const extension = (id: string, value: Uint8Array, critical = false): Uint8Array =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value))

const ipv6Bytes = (address: string): Uint8Array => {
  const [head, tail] = address.split("::").map((part) => part === "" ? [] : part.split(":"))
  const missing = 8 - head!.length - (tail?.length ?? 0)
  const groups = tail === undefined ? head! : [...head!, ...Array<string>(missing).fill("0"), ...tail]
  return Uint8Array.from(groups.flatMap((group) => {
    const value = Number.parseInt(group, 16)
    return [value >>> 8, value & 0xff]
  }))
}

/** A host name or an IP address, but no IPv4 address within an IPv6 address. */
const generalName = (host: string): Uint8Array => {
  switch (isIP(host)) {
    case 4:
      return implicit(7, Uint8Array.from(host.split(".").map(Number)))
    case 6:
      return implicit(7, ipv6Bytes(host))
    default:
      return implicit(2, Buffer.from(host))
  }
}

/** Apple's extension with the topics of a push certificate, each with a list of its kinds. */
const topicsExtension = (topics: ReadonlyArray<string>): Uint8Array =>
  extension(
    "1.2.840.113635.100.6.3.6",
    sequence(...topics.flatMap((topic) => [utf8String(topic), sequence(utf8String("app"))]))
  )

const spkiOf = (key: KeyObject): Uint8Array => key.export({ type: "spki", format: "der" })

const keyIdentifier = (key: KeyObject): Uint8Array => createHash("sha1").update(spkiOf(key)).digest()

interface ToBeSigned {
  readonly issuer: Uint8Array
  readonly issuerKeys: KeyPair
  readonly subject: Uint8Array
  readonly publicKey: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  readonly extensions: ReadonlyArray<Uint8Array>
}

/** A random, positive serial number of 16 bytes, without a leading zero. */
const serialNumber = (): Uint8Array => {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return integer(bytes)
}

const toPem = (label: string, bytes: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${
    Buffer.from(bytes).toString("base64").replace(/.{64}(?=.)/g, "$&\n")
  }\n-----END ${label}-----\n`

const certificate = (options: ToBeSigned): string => {
  const tbs = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    serialNumber(),
    ecdsaWithSha256,
    options.issuer,
    sequence(time(options.notBefore), time(options.notAfter)),
    options.subject,
    spkiOf(options.publicKey),
    explicit(
      3,
      sequence(
        ...options.extensions,
        extension("2.5.29.14", octetString(keyIdentifier(options.publicKey))),
        extension("2.5.29.35", sequence(implicit(0, keyIdentifier(options.issuerKeys.publicKey))))
      )
    )
  )
  const signature = sign("sha256", tbs, options.issuerKeys.privateKey)
  return toPem("CERTIFICATE", sequence(tbs, ecdsaWithSha256, bitString(signature)))
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

const generateKeys = (): KeyPair => generateKeyPairSync("ec", { namedCurve: "P-256" })

// @effect-diagnostics-next-line globalDate:off
const beginning = new Date("2020-01-01T00:00:00Z")
// @effect-diagnostics-next-line globalDate:off
const end = new Date("2049-12-31T23:59:59Z")

/** Server and client authentication. */
const extendedKeyUsage = extension(
  "2.5.29.37",
  sequence(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))
)

const issue = (authority: { readonly name: Uint8Array; readonly keys: KeyPair }, options: IssueOptions): Identity => {
  const keys = generateKeys()
  const names = options.names ?? ["localhost", "127.0.0.1", "::1"]
  const topics = options.topics ?? []
  const commonName = [commonNameOid, options.commonName ?? names[0] ?? "localhost"] as const
  const cert = certificate({
    issuer: authority.name,
    issuerKeys: authority.keys,
    subject: topics.length === 0 ? name(commonName) : name([userIdOid, topics[0]!], commonName),
    publicKey: keys.publicKey,
    notBefore: options.notBefore ?? beginning,
    notAfter: options.notAfter ?? end,
    extensions: [
      extension("2.5.29.19", sequence(), true),
      // digitalSignature
      extension("2.5.29.15", bitString(Uint8Array.of(0x80), 7), true),
      extendedKeyUsage,
      ...(names.length === 0 ? [] : [extension("2.5.29.17", sequence(...names.map(generalName)))]),
      ...(topics.length === 0 ? [] : [topicsExtension(topics)])
    ]
  })
  return { cert, key: keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string }
}

/**
 * Makes a new authority.
 *
 * **Example**
 *
 * ```ts
 * const authority = yield* Certificate.makeAuthority
 * const server = yield* authority.issue()
 * const expired = yield* authority.issue({ notAfter: new Date("2021-01-01") })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeAuthority: Effect.Effect<Authority> = Effect.sync(() => {
  const keys = generateKeys()
  const subject = name([commonNameOid, "backq test authority"])
  const cert = certificate({
    issuer: subject,
    issuerKeys: keys,
    subject,
    publicKey: keys.publicKey,
    notBefore: beginning,
    notAfter: end,
    extensions: [
      extension("2.5.29.19", sequence(boolean(true)), true),
      // keyCertSign and cRLSign
      extension("2.5.29.15", bitString(Uint8Array.of(0x06), 1), true)
    ]
  })
  return { cert, issue: (options = {}) => Effect.sync(() => issue({ name: subject, keys }, options)) }
})
