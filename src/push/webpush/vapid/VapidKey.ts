/**
 * The keys of an application server: VAPID, RFC 8292.
 *
 * A page subscribes with the public key, and only messages signed with that key reach
 * its subscription. So a new key is for new subscriptions, and old keys stay as long as
 * their subscriptions: give all of them to the layer.
 *
 * A private key may be written as 32 bytes in base64url, as PEM (PKCS #8 or SEC 1), as a
 * JSON Web Key, or as the JSON that {@link generate} and other libraries print. The
 * public key follows from it.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { parseJson } from "../../../internal/json.ts"
import { callSafely } from "../../../internal/thrown.ts"
import { KeyMaterial } from "../../credential/index.ts"
import * as SetupError from "./SetupError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A key of the application server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The id by which subscriptions name the key: see `Subscription.key`. Default: `"default"`. */
  readonly id?: string | undefined
  readonly privateKey: Redacted.Redacted<string | Uint8Array>
  /** The public key, in base64url, if you want it checked. It must belong to the private one. */
  readonly publicKey?: string | undefined
}

/**
 * A key that was read.
 *
 * @category models
 * @since 0.1.0
 */
export interface VapidKey {
  readonly id: string
  /** In base64url: the `applicationServerKey` of the page. */
  readonly publicKey: string
  /** PEM of PKCS #8. */
  readonly pem: Redacted.Redacted
}

/**
 * A new pair of keys, in base64url.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyPair {
  readonly publicKey: string
  readonly privateKey: Redacted.Redacted
}

/**
 * The id of a key without one.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultId = "default"

const curve = "prime256v1"
const privateBytes = 32

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const forms = "give 32 bytes in base64url, PEM, or a JSON Web Key; `backq vapid-keys` makes one"

/**
 * The bytes of a private key. Some libraries drop a zero at its beginning. But a word, or a
 * key of which characters are missing, must not become another key. Base64 that lost its
 * last character has bits left over, and nearly always some of them are set.
 */
const fromRaw = (text: string): Buffer | undefined => {
  const digits = /^([A-Za-z0-9+/_-]{2,44})={0,2}$/.exec(text)?.[1]
  if (digits === undefined) return undefined
  const bytes = Buffer.from(digits, "base64")
  const isWhole = bytes.toString("base64url") === digits.replaceAll("+", "-").replaceAll("/", "_")
  if (!isWhole || bytes.length > privateBytes || bytes.length < privateBytes - 1) return undefined
  return Buffer.concat([Buffer.alloc(privateBytes - bytes.length), bytes])
}

/** The public key that JSON has beside the private one, in base64url. */
const publicIn = ({ publicKey, x, y }: Readonly<Record<string, unknown>>): string | undefined => {
  if (typeof x === "string" && typeof y === "string") {
    return Buffer.concat([Buffer.of(4), Buffer.from(x, "base64"), Buffer.from(y, "base64")]).toString("base64url")
  }
  return typeof publicKey === "string" ? publicKey : undefined
}

const isPublicOf = (text: string, bytes: Buffer): boolean => {
  const point = publicOf(bytes)
  // The reader says what is wrong with a private key without a point.
  return Result.isFailure(point) || Buffer.from(text, "base64").equals(point.success)
}

/** A JSON Web Key, or an object with the private key in base64url. */
const fromJson = (text: string): Result.Result<Buffer, string> => {
  const json = parseJson(text)
  if (!Predicate.isObject(json)) return Result.fail("it is not JSON, although it begins with a brace")
  const { crv, d, privateKey } = json as Record<string, unknown>
  if (crv !== undefined && crv !== "P-256") return Result.fail("it is a key of another curve than P-256")
  const raw = typeof d === "string" ? d : privateKey
  const bytes = typeof raw === "string" ? fromRaw(raw) : undefined
  if (bytes === undefined) return Result.fail("it has no private key: a JSON Web Key of P-256 has it in d")
  const beside = publicIn(json as Record<string, unknown>)
  return beside === undefined || isPublicOf(beside, bytes)
    ? Result.succeed(bytes)
    : Result.fail("the public key in it belongs to another private key: give the pair")
}

const fromBlock = (block: KeyMaterial.Block): Result.Result<Buffer, string> =>
  Result.match(callSafely(() => Crypto.createPrivateKey(KeyMaterial.toPem(block))), {
    onSuccess: (key) =>
      key.asymmetricKeyDetails?.namedCurve === curve
        ? Result.succeed(fromRaw(key.export({ format: "jwk" }).d!)!)
        : Result.fail("it is not a key of the curve P-256"),
    onFailure: () => Result.fail("it is damaged or incomplete")
  })

const fromMaterial = (bytes: Uint8Array): Result.Result<Buffer, string> =>
  Result.flatMap(KeyMaterial.read(bytes), (blocks) => {
    const block = blocks.find(({ label }) => label === "PRIVATE KEY" || label === "EC PRIVATE KEY")
    if (block !== undefined) return fromBlock(block)
    if (blocks.some(({ label }) => label === "ENCRYPTED PRIVATE KEY")) {
      return Result.fail(
        "it is encrypted: decrypt it with `openssl pkcs8 -topk8 -nocrypt -in ENCRYPTED.pem -out key.pem`"
      )
    }
    return Result.fail(KeyMaterial.otherThan(blocks) ?? `it is no private key: ${forms}`)
  })

const privateOf = (given: unknown): Result.Result<Buffer, string> => {
  if (given instanceof Uint8Array && given.length === privateBytes) return Result.succeed(Buffer.from(given))
  if (given instanceof Uint8Array) return fromMaterial(given)
  if (typeof given !== "string") return Result.fail(`it must be a string or bytes: ${forms}`)
  const text = given.trim()
  if (text.startsWith("{")) return fromJson(text)
  const raw = fromRaw(text)
  return raw === undefined ? fromMaterial(Buffer.from(text)) : Result.succeed(raw)
}

/** The public key of a private one; fails for 0 and numbers beyond the curve. */
const publicOf = (bytes: Buffer): Result.Result<Buffer, string> =>
  Result.mapError(
    callSafely(() => {
      const ecdh = Crypto.createECDH(curve)
      ecdh.setPrivateKey(bytes)
      return ecdh.getPublicKey()
    }),
    () => "it is not a number of the curve P-256"
  )

const pemOf = (secret: Buffer, point: Buffer): string =>
  Crypto.createPrivateKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-256",
      d: secret.toString("base64url"),
      x: point.toString("base64url", 1, 33),
      y: point.toString("base64url", 33)
    }
  }).export({ type: "pkcs8", format: "pem" }) as string

/**
 * Reads a key, and checks that the public key belongs to it.
 *
 * @category functions
 * @since 0.1.0
 */
export const read = (options: Options): Effect.Effect<VapidKey, SetupError.SetupError> =>
  Effect.suspend(() => {
    const id = options?.id ?? defaultId
    const invalid = (detail: string) =>
      Effect.fail(SetupError.make(new SetupError.KeyInvalid({ source: `"${String(id).slice(0, 100)}"`, detail })))
    if (typeof id !== "string" || id.length === 0 || id.length > 100) {
      return Effect.fail(
        SetupError.make(
          new SetupError.OptionInvalid({ option: "keys.id", rule: "must be a text of 1 to 100 characters" })
        )
      )
    }
    if (!Redacted.isRedacted(options?.privateKey)) return invalid("its privateKey must be Redacted.make of the key")
    const secret = privateOf(Redacted.value(options.privateKey))
    if (Result.isFailure(secret)) return invalid(secret.failure)
    const point = publicOf(secret.success)
    if (Result.isFailure(point)) return invalid(point.failure)
    const given = options.publicKey
    if (given !== undefined && !(typeof given === "string" && Buffer.from(given, "base64").equals(point.success))) {
      return invalid("its publicKey belongs to another private key: give the pair, or leave the public key out")
    }
    return Effect.succeed({
      id,
      publicKey: point.success.toString("base64url"),
      pem: Redacted.make(pemOf(secret.success, point.success), { label: "VAPID key" })
    })
  })

/**
 * Makes a new pair of keys, for `backq vapid-keys`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const generate: Effect.Effect<KeyPair> = Effect.sync(() => {
  const ecdh = Crypto.createECDH(curve)
  const publicKey = ecdh.generateKeys("base64url")
  const bytes = ecdh.getPrivateKey()
  const padded = Buffer.concat([Buffer.alloc(privateBytes - bytes.length), bytes])
  return { publicKey, privateKey: Redacted.make(padded.toString("base64url"), { label: "VAPID key" }) }
})

// -----------------------------------------------------------------------------
// The contact
// -----------------------------------------------------------------------------

/** Names that are nobody's, which Apple refuses in a contact. */
const nobody = /(?:^|\.)(?:localhost|invalid|local|test)\.?$/i

/**
 * The rule that the contact of the application server breaks, or `undefined`. Apple
 * refuses all tokens whose contact is not real.
 *
 * @category functions
 * @since 0.1.0
 */
export const subjectRule = (subject: unknown): string | undefined => {
  const what = "must be a contact that push services can reach: mailto:ops@example.com or https://example.com/contact"
  if (typeof subject !== "string" || subject.length > 500) return what
  const address = /^mailto:[^\s<>@,?]+@([^\s<>@,?]+\.[^\s<>@,?.]+)$/i.exec(subject)
  if (address !== null) return nobody.test(address[1]!) ? `${what}, not an address of nobody` : undefined
  if (subject.includes("@") && !subject.includes(":")) return `${what}: write mailto: before the address`
  if (/^mailto:/i.test(subject)) return `${what}: without blanks and brackets`
  if (/\s/.test(subject) || !subject.startsWith("https://")) return what
  const host = URL.parse(subject)?.hostname
  return host === undefined || !host.includes(".") || nobody.test(host) ? `${what}, not a host of nobody` : undefined
}
