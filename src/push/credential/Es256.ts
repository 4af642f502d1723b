/**
 * Signed tokens (JWT, RFC 7519) with keys of the curve P-256: ES256 of RFC 7518.
 *
 * They are made seldom, so they use Effect's services, which also run elsewhere.
 */
import * as KeyFormat from "effect/crypto/KeyFormat"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

const keyFormat = KeyFormat.pem(KeyFormat.pkcs8)

/** Reads a private key in PEM of PKCS #8, with its public key and the name of its curve. */
export const readKey = (pem: string) => KeyFormat.decodePrivate(keyFormat, Signature.ecdsaP256, pem)

/** A key that signs. */
export type Key = Effect.Success<ReturnType<typeof readKey>>

const utf8 = new TextEncoder()

/** Makes the function that signs claims. `label` names the token where it is shown redacted. */
export const signer = (key: Key, header: object, label: string) =>
  Effect.map(Signature.Signature, (signature) => {
    const start = Base64Url.encode(JSON.stringify(header))
    return Effect.fnUntraced(function*(claims: object) {
      const signed = `${start}.${Base64Url.encode(JSON.stringify(claims))}`
      const bytes = yield* Effect.orDie(signature.sign(key, utf8.encode(signed)))
      return Redacted.make(`${signed}.${Base64Url.encode(bytes)}`, { label })
    })
  })

/** The service that {@link readKey} and {@link signer} need. */
export const layer = Layer.provide(Signature.layerWebCrypto, SecureRandom.layerWebCrypto)
