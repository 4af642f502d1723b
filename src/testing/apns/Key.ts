/**
 * Keys such as Apple gives to providers, for tests: an ES256 key pair with a
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
 * A provider's key. The simulator needs its `PublicKey` part only.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key extends PublicKey {
  /** The private key as a `.p8` file has it: PEM of PKCS #8. */
  readonly key: Redacted.Redacted
  /** PEM of the public key. */
  readonly publicKey: string
}

/**
 * What a key is to be.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyOptions {
  /** Ten letters or digits. Default: random ones. */
  readonly keyId?: string | undefined
  /** Ten letters or digits. Default: random ones. */
  readonly teamId?: string | undefined
  /** The apps that it may push to, by their bundle ids. Default: all of its team. */
  readonly bundleIds?: ReadonlyArray<string> | undefined
  /** Default: both environments. */
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
 * Signs a provider token, for tests that speak to the simulator by themselves.
 * `issuedAt` is in milliseconds since the epoch. Default: now.
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
