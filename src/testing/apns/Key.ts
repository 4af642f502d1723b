/**
 * Provider keys for tests, like those that Apple issues: an ES256 key pair with a
 * key id and a team id, and the provider tokens (RFC 7519) that it signs.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { generateKeyPairSync, randomBytes, sign } from "node:crypto"
import type { Endpoint } from "../../push/apns/index.ts"
import type { PublicKey } from "./providerTokens.ts"

/**
 * A provider's key. The simulator needs only its `PublicKey` part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key extends PublicKey {
  /** The private key in the form of a `.p8` file: PEM of PKCS #8. */
  readonly key: Redacted.Redacted
  /** The public key, PEM. */
  readonly publicKey: string
}

/**
 * The options of a key.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyOptions {
  /** The key id, ten letters or digits. Default: random. */
  readonly keyId?: string | undefined
  /** The team id, ten letters or digits. Default: random. */
  readonly teamId?: string | undefined
  /** The bundle ids of the apps that it may push to. Default: all apps of the team. */
  readonly bundleIds?: ReadonlyArray<string> | undefined
  /** The only environment that it may push to. Default: both. */
  readonly environment?: Endpoint.Environment | undefined
}

const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

const randomId = (): string => Array.from(randomBytes(10), (byte) => letters[byte % letters.length]).join("")

/**
 * Makes a key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeKey = (options: KeyOptions = {}): Effect.Effect<Key> =>
  Effect.sync(() => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" }
    })
    return {
      keyId: options.keyId ?? randomId(),
      teamId: options.teamId ?? randomId(),
      bundleIds: options.bundleIds,
      environment: options.environment,
      key: Redacted.make(privateKey),
      publicKey
    }
  })

const base64Url = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")

/**
 * Signs a provider token, for tests that send their own requests to the
 * simulator. `issuedAt` is in milliseconds since the epoch. Default: now.
 *
 * @category functions
 * @since 0.1.0
 */
export const signToken = (key: Key, issuedAt?: number): Effect.Effect<string> =>
  Effect.map(issuedAt === undefined ? Clock.currentTimeMillis : Effect.succeed(issuedAt), (at) => {
    const signed = `${base64Url({ alg: "ES256", kid: key.keyId })}.${
      base64Url({ iss: key.teamId, iat: Math.floor(at / 1000) })
    }`
    const signature = sign("sha256", Buffer.from(signed), {
      key: Redacted.value(key.key),
      dsaEncoding: "ieee-p1363"
    })
    return `${signed}.${signature.toString("base64url")}`
  })
