/**
 * The checks of APNs on the provider tokens of one connection.
 *
 * Source: Apple, "Establishing a token-based connection to APNs": a token is
 * signed with ES256, is at most one hour old, and is renewed at most once in 20
 * minutes; a connection uses one team and one key. The simulator measures the
 * renewal by the times of issue.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createPublicKey, type KeyObject, verify } from "node:crypto"
import type { Endpoint } from "../../push/apns/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A key that the simulator accepts. */
export interface PublicKey {
  readonly keyId: string
  readonly teamId: string
  /** The public key, PEM. */
  readonly publicKey: string
  /** The bundle ids of the apps that it may push to. Default: all apps of the team. */
  readonly bundleIds?: ReadonlyArray<string> | undefined
  /** The only environment that it may push to. Default: both. */
  readonly environment?: Endpoint.Environment | undefined
}

/** The last accepted token of a connection. */
export interface Shown {
  readonly teamId: string
  readonly keyId: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
}

/** Whether a token is accepted, or Apple's reason against it. */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly shown: Shown; readonly bundleIds: ReadonlyArray<string> | undefined }
  | {
    readonly _tag: "Refused"
    readonly reason:
      | "MissingProviderToken"
      | "InvalidProviderToken"
      | "ExpiredProviderToken"
      | "UnrelatedKeyIdInToken"
      | "BadEnvironmentKeyIdInToken"
      | "TooManyProviderTokenUpdates"
  }

/** Checks the `authorization` header of a push. `now` is in milliseconds since the epoch. */
export type Judge = (authorization: string | undefined, now: number, shown: Shown | undefined) => Verdict

// -----------------------------------------------------------------------------
// Reading a token
// -----------------------------------------------------------------------------

interface Token {
  readonly teamId: string
  readonly keyId: string
  readonly issuedAt: number
  readonly key: PublicKey | undefined
}

const decodeHeader = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ alg: Schema.Literal("ES256"), kid: Schema.String }))
)
const decodeClaims = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ iss: Schema.String, iat: Schema.Finite }))
)

const fromBase64Url = (text: string): string => Buffer.from(text, "base64url").toString()

interface KnownKey extends PublicKey {
  readonly object: KeyObject
}

/** Decodes a token and checks its signature. Without known keys every signature is accepted. */
const read = (jwt: string, keys: ReadonlyMap<string, KnownKey> | undefined): Token | undefined => {
  const parts = jwt.split(".")
  if (parts.length !== 3) return undefined
  const [header, claims, signature] = parts as [string, string, string]
  const both = Option.all([decodeHeader(fromBase64Url(header)), decodeClaims(fromBase64Url(claims))])
  if (Option.isNone(both)) return undefined
  const [{ kid }, { iat, iss }] = both.value
  const token = { teamId: iss, keyId: kid, issuedAt: iat }
  if (keys === undefined) return { ...token, key: undefined }
  const key = keys.get(kid)
  if (key === undefined || key.teamId !== iss) return undefined
  const good = verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key: key.object, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url")
  )
  return good ? { ...token, key } : undefined
}

// -----------------------------------------------------------------------------
// Judging it
// -----------------------------------------------------------------------------

const maxAgeMillis = 3_600_000
const minRenewalSeconds = 1200

/** Checking a signature is slow and tokens are few, so the last results are cached. */
const maxCachedTokens = 100

const refused = (reason: Extract<Verdict, { readonly _tag: "Refused" }>["reason"]): Verdict => ({
  _tag: "Refused",
  reason
})

/** Makes a check against these keys. Without keys it accepts every well-formed token. */
export const make = (
  publicKeys: ReadonlyArray<PublicKey> | undefined,
  environment: Endpoint.Environment
): Judge => {
  const keys = publicKeys === undefined ? undefined : new Map(
    publicKeys.map((key) => [key.keyId, { ...key, object: createPublicKey(key.publicKey) }])
  )
  const tokens = new Map<string, Token | undefined>()

  const lookUp = (jwt: string): Token | undefined => {
    if (tokens.has(jwt)) return tokens.get(jwt)
    if (tokens.size >= maxCachedTokens) tokens.delete(tokens.keys().next().value!)
    const token = read(jwt, keys)
    tokens.set(jwt, token)
    return token
  }

  return (authorization, now, shown) => {
    if (authorization === undefined) return refused("MissingProviderToken")
    const jwt = /^bearer (\S+)$/i.exec(authorization)?.[1]
    const token = jwt === undefined ? undefined : lookUp(jwt)
    if (token === undefined) return refused("InvalidProviderToken")
    const { issuedAt, key, keyId, teamId } = token
    if (shown !== undefined && shown.teamId !== teamId) return refused("InvalidProviderToken")
    if (shown !== undefined && shown.keyId !== keyId) return refused("UnrelatedKeyIdInToken")
    if (key?.environment !== undefined && key.environment !== environment) return refused("BadEnvironmentKeyIdInToken")
    const age = now - issuedAt * 1000
    if (age > maxAgeMillis) return refused("ExpiredProviderToken")
    if (age < -maxAgeMillis) return refused("InvalidProviderToken")
    const change = Math.abs(issuedAt - (shown?.issuedAt ?? issuedAt))
    if (change > 0 && change < minRenewalSeconds) return refused("TooManyProviderTokenUpdates")
    return { _tag: "Accepted", shown: { teamId, keyId, issuedAt }, bundleIds: key?.bundleIds }
  }
}
