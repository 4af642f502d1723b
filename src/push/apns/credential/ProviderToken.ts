/**
 * The provider token: the signed statement (JWT, ES256) with which a program
 * that has a key of a team proves who it is.
 *
 * Apple wants a token to be at most an hour old, and to be changed at most once
 * in 20 minutes. A {@link ProviderToken} is shared by all connections that use
 * its key, and keeps both rules:
 *
 * - its time of issue is the last full or half hour, so that workers which
 *   share a key, on any machine, change it together. Signatures of ES256 are
 *   random: the tokens of two workers have the same claims and differ in their
 *   last bytes;
 * - a token that Apple calls expired is followed by one with the exact time, and
 *   that one by one of the first full or half hour 20 minutes later;
 * - a token is used until it is 30 minutes old, and 50 at most, where a later one
 *   would be less than 20 minutes younger, or follow it within 20 minutes;
 * - whoever asks, and how often they ask, no two are made within 20 minutes, nor
 *   are their times of issue closer together.
 *   After TooManyProviderTokenUpdates nothing is to be done but to go on with
 *   the current one, which is what {@link ProviderToken.current} gives.
 *
 * Source: Apple, "Establishing a token-based connection to APNs".
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Clock from "effect/Clock"
import * as KeyFormat from "effect/crypto/KeyFormat"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Signature from "effect/crypto/Signature"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Crypto from "node:crypto"
import { safeName } from "../../../internal/text.ts"
import * as OptionRules from "../options.ts"
import * as CredentialError from "./CredentialError.ts"
import * as Material from "./keyMaterial.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A token as it goes into requests.
 *
 * @category models
 * @since 0.1.0
 */
export interface Token {
  readonly jwt: Redacted.Redacted
  /** When it was issued, by its own word: seconds since 1970. */
  readonly iat: number
  /** 1 for the first, then one more each. */
  readonly generation: number
  /** From then on {@link ProviderToken.current} gives another: milliseconds since 1970. */
  readonly until: number
}

/**
 * The token of one key.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProviderToken {
  /** The token to send now. Makes a new one when it is time. */
  readonly current: Effect.Effect<Token>
  /**
   * Apple called the token of this generation expired. Gives the token to try
   * again with: one that was made since, or now. When the last one is younger
   * than 20 minutes it is that one again, with the same generation: then the
   * machine's clock is wrong, and trying again is of no use.
   */
  readonly expired: (generation: number) => Effect.Effect<Token>
}

/**
 * Which key signs, and for whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The content of the `.p8` file: a P-256 private key, PEM, however its lines were joined; base64 or DER of it. */
  readonly key: Redacted.Redacted<string | Uint8Array>
  /** The key's id: 10 capital letters and digits, in the developer account and in the name of the file. */
  readonly keyId: string
  /** The team's id: 10 capital letters and digits. */
  readonly teamId: string
  /** Where the key came from, for errors. Default: `"the key"`. */
  readonly source?: string | undefined
}

// -----------------------------------------------------------------------------
// Time
// -----------------------------------------------------------------------------

/**
 * No two tokens are made within this time, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const minIntervalMillis: number = Duration.toMillis("20 minutes")

/**
 * Times of issue are multiples of this, in milliseconds. With {@link floor} it has to stay well under an hour.
 *
 * @category constants
 * @since 0.1.0
 */
export const issueIntervalMillis: number = Duration.toMillis("30 minutes")

/** The last point of the grid. */
const lastIssueTime = (now: number): number => Math.floor(now / issueIntervalMillis) * issueIntervalMillis

/** From when on a token that was made at `now` is replaced: the next one is on the grid, and not too close to it. */
const replaceAt = (now: number, issuedAt: number): number =>
  Math.max(
    Math.ceil((issuedAt + minIntervalMillis) / issueIntervalMillis) * issueIntervalMillis,
    now + minIntervalMillis
  )

// -----------------------------------------------------------------------------
// The key
// -----------------------------------------------------------------------------

const download = "give the .p8 file as it was downloaded from the developer account"

/** What is no PKCS #8 key, and what to do about it. */
const otherThanKey = (blocks: ReadonlyArray<Material.Block>): string => {
  const has = (label: string) => blocks.some((block) => block.label === label)
  if (blocks.length === 0) return `it is not PEM, nor base64 of a key: ${download}, with its BEGIN and END lines`
  if (has("ENCRYPTED PRIVATE KEY") || blocks.some(({ encryption }) => encryption !== undefined)) {
    return "it is encrypted: decrypt it with `openssl pkcs8 -topk8 -nocrypt -in ENCRYPTED.p8 -out AuthKey.p8`"
  }
  if (has("EC PRIVATE KEY")) {
    return "it is an EC key in the form of SEC 1: convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out AuthKey.p8`"
  }
  if (has("RSA PRIVATE KEY")) return `it is an RSA key, as certificates have one, and Apple's keys are EC: ${download}`
  if (has("PKCS12")) {
    return "it is PKCS #12, a certificate with its key: use it as certificate, or give the .p8 file of a key"
  }
  if (has("CERTIFICATE")) return "it is a certificate: use it as such, or give the .p8 file of a key"
  return Material.otherThan(blocks) ?? `it holds a ${safeName(blocks[0]!.label)}: ${download}`
}

/** Why a PKCS #8 key can't sign provider tokens. */
const unfit = (pem: string): string =>
  Result.match(Result.try(() => Crypto.createPrivateKey(pem)), {
    onSuccess: ({ asymmetricKeyDetails, asymmetricKeyType }) => {
      const curve = asymmetricKeyDetails?.namedCurve
      const kind = curve === undefined ? `a key of the kind ${asymmetricKeyType}` : `an EC key on the curve ${curve}`
      return `it is ${kind}, and Apple's keys are EC on the curve P-256: ${download}`
    },
    onFailure: () => "it is damaged, or cut short: copy all of it again, or download it again"
  })

/** As Apple writes a key, with its public half and the name of its curve: other tools leave one away, or spell the curve out. */
const asApple = (pem: string): string =>
  Result.getOrElse(
    Result.try(() => {
      const key = Crypto.createPrivateKey(pem)
      if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") return pem
      const plain = Crypto.createPrivateKey({ key: key.export({ format: "jwk" }), format: "jwk" })
      return plain.export({ type: "pkcs8", format: "pem" }) as string
    }),
    () => pem
  )

const keyFormat = KeyFormat.pem(KeyFormat.pkcs8)

const readKey = Effect.fnUntraced(function*({ key, source = "the key" }: Options) {
  const invalid = (detail: string) => CredentialError.make(new CredentialError.KeyInvalid({ source, detail }))
  const given = Redacted.value(key)
  const blocks = yield* Effect.mapError(
    Effect.fromResult(Material.read(typeof given === "string" ? Buffer.from(given) : given)),
    invalid
  )
  const found = blocks.find(({ label }) => label === "PRIVATE KEY")
  if (found === undefined) return yield* invalid(otherThanKey(blocks))
  const pem = Material.toPem(found)
  return yield* Effect.mapError(
    KeyFormat.decodePrivate(keyFormat, Signature.ecdsaP256, asApple(pem)),
    () => invalid(unfit(pem))
  )
})

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const checkId = (option: string, value: string) => {
  const rule = OptionRules.id(value)
  return rule === undefined
    ? Effect.void
    : Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option, rule })))
}

const utf8 = new TextEncoder()

const signer = Layer.provide(Signature.layerWebCrypto, SecureRandom.layerWebCrypto)

/**
 * Reads the key. Tokens are made when they are asked for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<ProviderToken, CredentialError.CredentialError, Signature.Signature> {
    yield* checkId("keyId", options.keyId)
    yield* checkId("teamId", options.teamId)
    const key = yield* readKey(options)
    const signature = yield* Signature.Signature
    const header = Base64Url.encode(JSON.stringify({ alg: "ES256", kid: options.keyId }))

    const sign = Effect.fnUntraced(function*(iat: number) {
      const signed = `${header}.${Base64Url.encode(JSON.stringify({ iss: options.teamId, iat }))}`
      const bytes = yield* Effect.orDie(signature.sign(key, utf8.encode(signed)))
      return Redacted.make(`${signed}.${Base64Url.encode(bytes)}`, { label: "provider token" })
    })

    let token: Token | undefined
    let madeAt = 0
    // a clock that was set back by more than this tells nothing about the token's age
    const isFresh = (token: Token, now: number) => now < token.until && now > madeAt - minIntervalMillis
    const makeNew = Effect.fnUntraced(function*(now: number, issuedAt: number) {
      const iat = Math.floor(issuedAt / 1000)
      const jwt = yield* sign(iat)
      madeAt = now
      return token = { jwt, iat, generation: (token?.generation ?? 0) + 1, until: replaceAt(now, issuedAt) }
    })

    const alone = Semaphore.makeUnsafe(1).withPermit
    const current = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      token !== undefined && isFresh(token, now)
        ? Effect.succeed(token)
        : alone(Effect.suspend(() =>
          token !== undefined && isFresh(token, now) ? Effect.succeed(token) : makeNew(now, lastIssueTime(now))
        )))

    // the exact time: one on the grid could be the one that Apple has just refused
    const expired = (generation: number) =>
      alone(
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          token === undefined || (token.generation === generation && Math.abs(now - madeAt) >= minIntervalMillis)
            ? makeNew(now, now)
            : Effect.succeed(token))
      )

    return { current, expired }
  },
  Effect.provide(signer)
)
