/**
 * The credential of a program for APNs: the key of a team, which signs provider
 * tokens, or the certificate of an app.
 *
 * {@link read} reads and checks a credential. {@link watch} also keeps it up to date:
 * it reads changed files again, and replaces the credential if the new one is valid.
 * It logs a warning from 30 days before a certificate expires.
 *
 * ```ts
 * const key: Credential.Options = { key: { file: "AuthKey_ABC123DEFG.p8" }, keyId: "ABC123DEFG", teamId: "DEF123GHIJ" }
 * const certificate: Credential.Options = { certificate: { file: "push.p12" }, passphrase: Redacted.make("...") }
 * ```
 *
 * Source: Apple, "Establishing a token-based connection to APNs" and
 * "Establishing a certificate-based connection to APNs".
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import { readFile, watch as watchFiles } from "../../credential/index.ts"
import { table } from "../notification/PushType.ts"
import * as OptionRules from "../options.ts"
import * as Certificate from "./certificate.ts"
import * as CredentialError from "./CredentialError.ts"
import * as ProviderToken from "./ProviderToken.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A file, or its content: PEM, PKCS #12, DER, or base64 of one of them.
 *
 * @category models
 * @since 0.1.0
 */
export type KeyMaterial = { readonly file: string } | Redacted.Redacted<string | Uint8Array>

/**
 * The options that keys and certificates have in common.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommonOptions {
  /** The bundle id for notifications without a topic. Default: the first one of a certificate; none for a key. */
  readonly topic?: string | undefined
  /** The certificate authorities to trust: PEM or a file. Not a secret. Default: those that Node.js trusts. */
  readonly ca?: string | Uint8Array | KeyMaterial | undefined
}

/**
 * The key of a team, for all of its apps or for those that the key is limited to.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyOptions extends CommonOptions {
  /** The `.p8` file of the key. */
  readonly key: KeyMaterial
  /** The key's id: 10 characters. */
  readonly keyId: string
  /** The team's id: 10 characters. */
  readonly teamId: string
  /** The bundle ids that use this key, if there are other credentials. Default: any. */
  readonly topics?: ReadonlyArray<string> | undefined
}

/**
 * The certificate of an app.
 *
 * @category models
 * @since 0.1.0
 */
export interface CertificateOptions extends CommonOptions {
  /** PEM, or PKCS #12 (`.p12`) with the key in it. */
  readonly certificate: KeyMaterial
  /** The certificate's key, in PEM. Default: the key in the certificate's file. */
  readonly certificateKey?: KeyMaterial | undefined
  /** The passphrase of the key or the PKCS #12 file. Default: none. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * A key or a certificate.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = KeyOptions | CertificateOptions

/**
 * The TLS options: the authorities to trust, and the client certificate.
 *
 * @category models
 * @since 0.1.0
 */
export type Tls = { readonly ca?: string } & (Certificate.TlsIdentity | {})

/**
 * A valid credential.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credential {
  /** The provider token of a key; `undefined` for a certificate. */
  readonly providerToken: ProviderToken.ProviderToken | undefined
  readonly tls: Tls
  /** The bundle ids that it covers; those of a certificate may have the suffix of a push type. */
  readonly topics: ReadonlyArray<string> | "any"
  readonly defaultTopic: string | undefined
  /** When it expires; `undefined` for a key. */
  readonly validTo: DateTime.Utc | undefined
  /** The file, or another name of it for messages. */
  readonly source: string
}

// -----------------------------------------------------------------------------
// Files
// -----------------------------------------------------------------------------

type Fail<A, R = never> = Effect.Effect<A, CredentialError.CredentialError, R>

/** The key material of a credential, read. */
interface Loaded {
  readonly main: Certificate.Sourced
  readonly key: Certificate.Sourced | undefined
  readonly ca: Certificate.Sourced | undefined
}

const load = Effect.fnUntraced(function*(material: KeyMaterial, name: string): Effect.fn.Return<
  Certificate.Sourced,
  CredentialError.CredentialError,
  FileSystem.FileSystem
> {
  if (Redacted.isRedacted(material)) {
    const value = Redacted.value(material)
    const bytes = typeof value === "string" ? Buffer.from(value) : value
    return { source: `the given ${name}`, bytes: Redacted.make(bytes, { label: name }) }
  }
  const { file } = material
  const bytes = yield* Effect.mapError(readFile(file, name), CredentialError.make)
  return { source: file, bytes: Redacted.make(bytes, { label: name }) }
})

/** An authority is not a secret, so its PEM needs no Redacted. */
const authorityOf = (ca: CommonOptions["ca"]): KeyMaterial | undefined =>
  typeof ca === "string" || ca instanceof Uint8Array ? Redacted.make(ca) : ca

const hasKey = (options: object): boolean => "key" in options && options.key !== undefined

const hasCertificate = (options: object): boolean => "certificate" in options && options.certificate !== undefined

/**
 * Whether it is a key, not a certificate.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKey = (options: Options): options is KeyOptions => hasKey(options)

const loadAll = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<
  Loaded,
  CredentialError.CredentialError,
  FileSystem.FileSystem
> {
  const optional = (material: KeyMaterial | undefined, name: string) =>
    material === undefined ? Effect.undefined : load(material, name)
  return {
    main: yield* (isKey(options)
      ? load(options.key, "key")
      : load(options.certificate, "certificate")),
    key: yield* optional(isKey(options) ? undefined : options.certificateKey, "certificate's key"),
    ca: yield* optional(authorityOf(options.ca), "authority")
  }
})

const sameBytes = (a: Certificate.Sourced | undefined, b: Certificate.Sourced | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : Buffer.from(Redacted.value(a.bytes)).equals(Redacted.value(b.bytes))

const same = (a: Loaded, b: Loaded): boolean =>
  sameBytes(a.main, b.main) && sameBytes(a.key, b.key) && sameBytes(a.ca, b.ca)

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

type Rule = readonly [option: string, rule: string | undefined]

const materialRule = "must be { file: PATH }, or Redacted.make of the file's content"

/** A variable of the environment that is not there comes as `undefined`, whatever its type says. */
const material = (option: string, value: unknown): Rule => {
  const isGiven = Redacted.isRedacted(value)
    ? isContent(Redacted.value(value))
    : Predicate.hasProperty(value, "file") && typeof value.file === "string"
  return [option, isGiven ? undefined : materialRule]
}

const isContent = (value: unknown): boolean => typeof value === "string" || value instanceof Uint8Array

const keyRules = ({ key, topics }: KeyOptions): ReadonlyArray<Rule> => [
  material("key", key),
  [
    "topics",
    topics === undefined || Array.isArray(topics) && topics.length > 0
      ? undefined
      : "must be a list of at least one topic"
  ],
  ...(Array.isArray(topics) ? topics : []).map((topic): Rule => ["topics", OptionRules.topic(topic)])
]

const certificateRules = ({ certificate, certificateKey, passphrase }: CertificateOptions): ReadonlyArray<Rule> => [
  material("certificate", certificate),
  ...(certificateKey === undefined ? [] : [material("certificateKey", certificateKey)]),
  ["passphrase", passphrase === undefined || Redacted.isRedacted(passphrase) ? undefined : "must be Redacted"]
]

const rulesOf = (options: Options): ReadonlyArray<Rule> => {
  if (!Predicate.isObject(options) || !hasKey(options) && !hasCertificate(options)) {
    return [["credential", "must be a key, { key, keyId, teamId }, or a certificate, { certificate }"]]
  }
  const { ca, topic } = options
  return [
    [
      "certificate",
      hasKey(options) && hasCertificate(options) ? "must not be given with key: give one of them, not both" : undefined
    ],
    ["topic", topic === undefined ? undefined : OptionRules.defaultTopic(topic)],
    ...(isKey(options) ? keyRules(options) : certificateRules(options)),
    ...(ca === undefined || isContent(ca) ? [] : [material("ca", ca)])
  ]
}

/** Checks the options, so that a mistake fails the layer and not each push. `ProviderToken` checks the ids of a key. */
const check = (options: Options): Fail<void> => {
  for (const [option, rule] of rulesOf(options)) {
    if (rule !== undefined) {
      return Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option, rule })))
    }
  }
  return Effect.void
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const authorities = ({ ca }: Loaded): Fail<{ readonly ca?: string }> =>
  ca === undefined
    ? Effect.succeed({})
    : Effect.mapBoth(Effect.fromResult(Certificate.readAuthorities(ca)), {
      onSuccess: (ca) => ({ ca }),
      onFailure: CredentialError.make
    })

const fromKey = Effect.fnUntraced(function*(options: KeyOptions, loaded: Loaded): Effect.fn.Return<
  Credential,
  CredentialError.CredentialError
> {
  const { source } = loaded.main
  const providerToken = yield* ProviderToken.make({
    key: loaded.main.bytes,
    keyId: options.keyId,
    teamId: options.teamId,
    source
  })
  return {
    providerToken,
    tls: yield* authorities(loaded),
    topics: options.topics ?? "any",
    defaultTopic: options.topic ?? options.topics?.[0],
    validTo: undefined,
    source
  }
})

/** The bundle id in a certificate's topics: the first, without the suffix that the only topic of a VoIP certificate has. */
const appOf = ([first, ...others]: ReadonlyArray<string>): string | undefined =>
  first !== undefined && others.length === 0 && first.endsWith(table.voip.suffix)
    ? first.slice(0, -table.voip.suffix.length)
    : first

const fromCertificate = Effect.fnUntraced(function*(options: CertificateOptions, loaded: Loaded): Effect.fn.Return<
  Credential,
  CredentialError.CredentialError
> {
  const { source } = loaded.main
  const certificate = yield* Effect.mapError(
    Effect.fromResult(
      Certificate.read({ certificate: loaded.main, key: loaded.key, passphrase: options.passphrase })
    ),
    CredentialError.make
  )
  const { tls, topics, validFrom, validTo } = certificate
  if (!DateTime.between(yield* DateTime.now, { minimum: validFrom, maximum: validTo })) {
    return yield* CredentialError.make(new CredentialError.CertificateExpired({ source, validFrom, validTo }))
  }
  return {
    providerToken: undefined,
    tls: { ...(yield* authorities(loaded)), ...tls },
    topics: topics.length === 0 ? "any" : topics,
    defaultTopic: options.topic ?? appOf(topics),
    validTo,
    source
  }
})

const parse = (options: Options, loaded: Loaded): Fail<Credential> =>
  isKey(options) ? fromKey(options, loaded) : fromCertificate(options, loaded)

/**
 * Reads a credential once.
 *
 * @category functions
 * @since 0.1.0
 */
export const read = (options: Options): Fail<Credential> =>
  Effect.andThen(check(options), loadAll(options)).pipe(
    Effect.provide(NodeFileSystem.layer),
    Effect.flatMap((loaded) => parse(options, loaded))
  )

// -----------------------------------------------------------------------------
// Watching
// -----------------------------------------------------------------------------

/**
 * The options of {@link watch}.
 *
 * @category models
 * @since 0.1.0
 */
export interface WatchOptions {
  /** How often to check the files. Default: 1 minute. */
  readonly every?: Duration.Input | undefined
}

/** When the warnings about a certificate's end start, and how often they repeat. */
const warnBefore = Duration.days(30)
const warnEvery = Duration.days(1)

/** The warning about a certificate's end, if one is due. */
const endWarning = ({ source, validTo }: Credential, now: DateTime.Utc): string | undefined => {
  if (validTo === undefined) return undefined
  const left = DateTime.distance(now, validTo)
  if (Duration.isGreaterThan(left, warnBefore)) return undefined
  const until = DateTime.formatIsoDateUtc(validTo)
  return Duration.isPositive(left)
    ? `the push certificate (${source}) expires in ${Math.floor(Duration.toDays(left))} days, on ${until}: ` +
      `renew it in the developer account and replace the file`
    : `the push certificate (${source}) expired on ${until}: renew it and replace the file; pushes fail until then`
}

/**
 * Reads a credential, and reads it again when its files change, until the scope
 * closes. It logs an invalid or unreadable change, and keeps the old credential.
 *
 * @category functions
 * @since 0.1.0
 */
export const watch = Effect.fnUntraced(
  function*(options: Options, { every }: WatchOptions = {}): Effect.fn.Return<
    SubscriptionRef.SubscriptionRef<Credential>,
    CredentialError.CredentialError,
    FileSystem.FileSystem | Scope.Scope
  > {
    yield* check(options)
    let warned: DateTime.Utc | undefined
    const warn = Effect.fnUntraced(function*(credential: Credential) {
      const now = yield* DateTime.now
      if (warned !== undefined && Duration.isLessThan(DateTime.distance(warned, now), warnEvery)) return
      const warning = endWarning(credential, now)
      if (warning === undefined) return
      warned = now
      yield* Effect.logWarning(warning)
    })
    return yield* watchFiles({
      name: "APNs credential",
      every,
      load: loadAll(options),
      isSame: same,
      parse: (loaded) => parse(options, loaded),
      inspect: warn
    })
  },
  Effect.provide(NodeFileSystem.layer)
)
