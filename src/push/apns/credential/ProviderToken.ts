/**
 * The provider token: a signed JWT (ES256) that proves which team and key a program
 * uses.
 *
 * Apple requires a token to be at most an hour old, and to change at most once in 20
 * minutes. All connections that use a key share its {@link ProviderToken}, which keeps
 * both rules:
 *
 * - Its time of issue is the last full or half hour, so that workers on any machine
 *   that share a key change it together. ES256 signatures are random: the tokens of
 *   two workers have the same claims and differ in their last bytes.
 * - After Apple calls a token expired, the next has the exact time. The one after that
 *   has the first full or half hour at least 20 minutes later.
 * - A token is used for 30 minutes. It is used for at most 50 minutes if the next would
 *   otherwise be less than 20 minutes younger, or follow it within 20 minutes.
 * - Two tokens are made at least 20 minutes apart, and so are their times of issue,
 *   however often callers ask. After TooManyProviderTokenUpdates keep using
 *   {@link ProviderToken.current}, which is the current token.
 *
 * Source: Apple, "Establishing a token-based connection to APNs".
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Clock from "effect/Clock"
import type * as Signature from "effect/crypto/Signature"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Crypto from "node:crypto"
import { safeName } from "../../../internal/text.ts"
import { Es256, KeyMaterial as Material } from "../../credential/index.ts"
import * as OptionRules from "../options.ts"
import * as CredentialError from "./CredentialError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A token for requests.
 *
 * @category models
 * @since 0.1.0
 */
export interface Token {
  readonly jwt: Redacted.Redacted
  /** Its time of issue (the claim `iat`), in seconds since 1970. */
  readonly iat: number
  /** 1 for the first token; each new token adds 1. */
  readonly generation: number
  /** When {@link ProviderToken.current} replaces it, in milliseconds since 1970. */
  readonly until: number
}

/**
 * The provider tokens of one key.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProviderToken {
  /** The token to send now. Makes a new one when the last expires. */
  readonly current: Effect.Effect<Token>
  /**
   * Call this when Apple says that the token of this generation has expired. Returns
   * the token for the retry: one that was made since, or a new one. If the last one is
   * younger than 20 minutes it returns that, with the same generation. Then the
   * machine's clock is wrong, and a retry does not help.
   */
  readonly expired: (generation: number) => Effect.Effect<Token>
}

/**
 * The key, its id and the team's id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The content of the `.p8` file: a P-256 private key in PEM (line breaks may be lost), base64 or DER. */
  readonly key: Redacted.Redacted<string | Uint8Array>
  /** The key's id: 10 capital letters and digits, in the developer account and in the name of the file. */
  readonly keyId: string
  /** The team's id: 10 capital letters and digits. */
  readonly teamId: string
  /** The name of the key's source, for errors. Default: `"the key"`. */
  readonly source?: string | undefined
}

// -----------------------------------------------------------------------------
// Time
// -----------------------------------------------------------------------------

/**
 * The minimum time between two tokens, in milliseconds: 20 minutes.
 *
 * @category constants
 * @since 0.1.0
 */
export const minIntervalMillis: number = Duration.toMillis("20 minutes")

/**
 * Times of issue are multiples of this, in milliseconds: 30 minutes. Its sum with {@link minIntervalMillis} must be well
 * under an hour.
 *
 * @category constants
 * @since 0.1.0
 */
export const issueIntervalMillis: number = Duration.toMillis("30 minutes")

/** The last full or half hour. */
const lastIssueTime = (now: number): number => Math.floor(now / issueIntervalMillis) * issueIntervalMillis

/** When to replace a token that was made at `now`: at a full or half hour, and not too soon. */
const replaceAt = (now: number, issuedAt: number): number =>
  Math.max(
    Math.ceil((issuedAt + minIntervalMillis) / issueIntervalMillis) * issueIntervalMillis,
    now + minIntervalMillis
  )

// -----------------------------------------------------------------------------
// The key
// -----------------------------------------------------------------------------

const download = "use the .p8 file as downloaded from the developer account"

/** Says what the content is instead of a PKCS #8 key, and what to do. */
const otherThanKey = (blocks: ReadonlyArray<Material.Block>): string => {
  const has = (label: string) => blocks.some((block) => block.label === label)
  if (blocks.length === 0) return `it is neither PEM nor base64 of a key: ${download}, with its BEGIN and END lines`
  if (has("ENCRYPTED PRIVATE KEY") || blocks.some(({ encryption }) => encryption !== undefined)) {
    return "it is encrypted: decrypt it with `openssl pkcs8 -topk8 -nocrypt -in ENCRYPTED.p8 -out AuthKey.p8`"
  }
  if (has("EC PRIVATE KEY")) {
    return "it is an EC key in SEC 1 format: convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out AuthKey.p8`"
  }
  if (has("RSA PRIVATE KEY")) {
    return `it is an RSA key, like those of certificates, but Apple's keys are EC: ${download}`
  }
  if (has("PKCS12")) {
    return "it is PKCS #12, a certificate with its key: use it as the certificate, or use the .p8 file of a key"
  }
  if (has("CERTIFICATE")) return "it is a certificate: use it as the certificate, or use the .p8 file of a key"
  return Material.otherThan(blocks) ?? `it contains a ${safeName(blocks[0]!.label)}: ${download}`
}

/** Says why a PKCS #8 key can't sign provider tokens. */
const unfit = (pem: string): string =>
  Result.match(Result.try(() => Crypto.createPrivateKey(pem)), {
    onSuccess: ({ asymmetricKeyDetails, asymmetricKeyType }) => {
      const curve = asymmetricKeyDetails?.namedCurve
      const kind = curve === undefined ? `a key of type ${asymmetricKeyType}` : `an EC key on the curve ${curve}`
      return `it is ${kind}, but Apple's keys are EC on the curve P-256: ${download}`
    },
    onFailure: () => "it is damaged or incomplete: copy the whole key again, or download it again"
  })

/** Rewrites a key as Apple writes it, with its public key and the name of its curve. Other tools omit or expand them. */
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
    Es256.readKey(asApple(pem)),
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

/**
 * Reads the key. The first call of {@link ProviderToken.current} makes the first token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<ProviderToken, CredentialError.CredentialError, Signature.Signature> {
    yield* checkId("keyId", options.keyId)
    yield* checkId("teamId", options.teamId)
    const key = yield* readKey(options)
    const sign = yield* Es256.signer(key, { alg: "ES256", kid: options.keyId }, "provider token")

    let token: Token | undefined
    let madeAt = 0
    // If the clock was set back by more than this, it does not tell the token's age.
    const isFresh = (token: Token, now: number) => now < token.until && now > madeAt - minIntervalMillis
    const makeNew = Effect.fnUntraced(function*(now: number, issuedAt: number) {
      const iat = Math.floor(issuedAt / 1000)
      const jwt = yield* sign({ iss: options.teamId, iat })
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

    // The exact time: a token of the last full or half hour may be the one that Apple has just refused.
    const expired = (generation: number) =>
      alone(
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          token === undefined || (token.generation === generation && Math.abs(now - madeAt) >= minIntervalMillis)
            ? makeNew(now, now)
            : Effect.succeed(token))
      )

    return { current, expired }
  },
  Effect.provide(Es256.layer)
)
