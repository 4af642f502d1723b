/** Reads and checks the tokens of application servers: RFC 8292. */
// @effect-diagnostics nodeBuiltinImport:off
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { parseJson } from "../../internal/json.ts"
import type { Refusal } from "./Personality.ts"

/** The key of a token that is good, or why it is refused. */
export type Judged = { readonly publicKey: string } | { readonly refusal: Refusal }

const bad: Judged = { refusal: "BadToken" }

/** The longest time until a token expires, with a minute for clocks: RFC 8292, section 2. */
const maxAheadSeconds = 86_460

const hasSubject = (sub: unknown): boolean =>
  typeof sub === "string" && /^(?:mailto:[^\s<>]+@[^\s<>]+\.[^\s<>]+|https:\/\/\S+)$/.test(sub) &&
  !/localhost|\.invalid/.test(sub)

const json = (text: string): Record<string, unknown> | undefined => {
  const value = parseJson(Buffer.from(text, "base64url").toString())
  return Predicate.isObject(value) ? value as Record<string, unknown> : undefined
}

const verify = (jwt: ReadonlyArray<string>, point: Buffer): boolean =>
  Result.getOrElse(
    Result.try(() =>
      Crypto.verify("sha256", Buffer.from(`${jwt[0]}.${jwt[1]}`), {
        key: Crypto.createPublicKey({
          format: "jwk",
          key: {
            kty: "EC",
            crv: "P-256",
            x: point.toString("base64url", 1, 33),
            y: point.toString("base64url", 33)
          }
        }),
        dsaEncoding: "ieee-p1363"
      }, Buffer.from(jwt[2]!, "base64url"))
    ),
    () => false
  )

interface Verified {
  readonly publicKey: string
  readonly claims: Record<string, unknown>
}

const read = (authorization: string): Verified | undefined => {
  const parts = /^vapid t=([\w-]+)\.([\w-]+)\.([\w-]+), ?k=([\w-]+)$/.exec(authorization)
  if (parts === null) return undefined
  const point = Buffer.from(parts[4]!, "base64url")
  const header = json(parts[1]!)
  const claims = json(parts[2]!)
  if (header?.["alg"] !== "ES256" || claims === undefined || point.length !== 65) return undefined
  return verify(parts.slice(1, 4), point) ? { publicKey: parts[4]!, claims } : undefined
}

/** The tokens that were verified: a client sends the same one for hours. */
const maxKnown = 100

/** Makes the judge of one simulator. `now` returns milliseconds since 1970. */
export const make = (
  { checksSubject, now, origin }: {
    readonly origin: () => string
    readonly checksSubject: boolean
    readonly now: () => number
  }
): (authorization: string | undefined) => Judged => {
  const known = new Map<string, Verified | undefined>()
  const verified = (authorization: string): Verified | undefined => {
    if (!known.has(authorization)) {
      if (known.size >= maxKnown) known.clear()
      known.set(authorization, read(authorization))
    }
    return known.get(authorization)
  }
  return (authorization) => {
    if (authorization === undefined) return { refusal: "MissingToken" }
    const token = verified(authorization)
    if (token === undefined) return bad
    const { aud, exp, sub } = token.claims
    const left = typeof exp === "number" ? exp - now() / 1000 : Number.NaN
    if (aud !== origin() || !(left > 0 && left <= maxAheadSeconds)) return bad
    return checksSubject && !hasSubject(sub) ? { refusal: "BadSubject" } : { publicKey: token.publicKey }
  }
}
