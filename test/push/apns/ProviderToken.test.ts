import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import * as ProviderToken from "../../../src/push/apns/credential/ProviderToken.ts"
import { allow, withMuchData } from "../../support/limits.ts"

allow(withMuchData)

const { privateKey, publicKey } = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
const pem = privateKey.export({ type: "pkcs8", format: "pem" }) as string

const make = (options: Partial<ProviderToken.Options> = {}) =>
  ProviderToken.make({ key: Redacted.make(pem), keyId: "ABC123DEFG", teamId: "DEF123GHIJ", ...options })

const parts = (token: ProviderToken.Token) => Redacted.value(token.jwt).split(".") as [string, string, string]
const decoded = (part: string): string => Buffer.from(part, "base64url").toString()

const verified = (token: ProviderToken.Token): boolean => {
  const [header, claims, signature] = parts(token)
  return Crypto.verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url")
  )
}

/** A day in 2023, at a full hour. */
const hour = 1_700_002_800_000

/**
 * A key as Apple hands it out: with the curve's name inside the EC key too,
 * which OpenSSL leaves away.
 */
const likeApples = (): string => {
  const { d, x, y } = privateKey.export({ format: "jwk" })
  const bytes = (value: string | undefined) => Buffer.from(value!, "base64url")
  const der = Buffer.concat([
    Buffer.from("308193020100301306072a8648ce3d020106082a8648ce3d030107047930770201010420", "hex"),
    bytes(d),
    Buffer.from("a00a06082a8648ce3d030107a14403420004", "hex"),
    bytes(x),
    bytes(y)
  ])
  return `-----BEGIN PRIVATE KEY-----\n${der.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----`
}

describe("ProviderToken", () => {
  it.effect("has the header, the claims and the signature that Apple asks for", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hour + 12 * 60_000 + 345)
      const token = yield* (yield* make()).current
      const [header, claims] = parts(token)
      assert.strictEqual(decoded(header), `{"alg":"ES256","kid":"ABC123DEFG"}`)
      assert.strictEqual(decoded(claims), `{"iss":"DEF123GHIJ","iat":1700002800}`)
      assert.isTrue(verified(token))
      assert.strictEqual(token.iat, 1_700_002_800)
      assert.strictEqual(token.generation, 1)
    }))

  it.effect.each(
    [
      ["as Apple's", likeApples()],
      ["with CRLF", pem.replaceAll("\n", "\r\n")],
      ["without the last line end", pem.trimEnd()],
      ["with \\n in place of line ends", pem.replaceAll("\n", "\\n")],
      ["with text around it", `Key ABC123DEFG\n${pem}\n\n`]
    ] as const
  )("reads a key %s", ([, key]) =>
    Effect.gen(function*() {
      assert.isTrue(verified(yield* (yield* make({ key: Redacted.make(key) })).current))
    }))

  it.effect("is the same for workers that start at different times", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hour + 1)
      const one = yield* (yield* make()).current
      yield* TestClock.adjust("25 minutes")
      const other = yield* (yield* make()).current
      assert.strictEqual(one.iat, other.iat)
    }))

  it.effect("is never older than 50 minutes, never changes within 20, and says when it changes", () =>
    Effect.gen(function*() {
      for (let start = 0; start < 30; start++) {
        const begin = hour + start * 60_000
        yield* TestClock.setTime(begin)
        const provider = yield* make()
        let last = yield* provider.current
        let changed = begin
        for (let minute = 1; minute <= 180; minute++) {
          const now = begin + minute * 60_000
          yield* TestClock.setTime(now)
          const token = yield* provider.current
          assert.isAtMost(now - token.iat * 1000, 50 * 60_000)
          assert.isAtLeast(now - token.iat * 1000, 0)
          assert.strictEqual(token.generation !== last.generation, now >= last.until)
          if (token.generation === last.generation) continue
          assert.isAtLeast(now - changed, 20 * 60_000)
          changed = now
          last = token
        }
        assert.isAtLeast(last.generation, 6)
      }
    }))

  it.effect("is made once for concurrent callers", () =>
    Effect.gen(function*() {
      const provider = yield* make()
      const tokens = yield* Effect.all(Array.from({ length: 1000 }, () => provider.current), { concurrency: 1000 })
      assert.strictEqual(new Set(tokens.map((token) => Redacted.value(token.jwt))).size, 1)
    }))

  it.effect("is made at most once in 20 minutes, however many answers call it expired", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hour + 60_000)
      const provider = yield* make()
      const first = yield* provider.current
      const madeAt = new Map<number, number>([[1, 0]])
      // what each of 1000 pushes does that Apple answers with ExpiredProviderToken, whatever the token
      const refused = Effect.flatMap(provider.current, (token) => provider.expired(token.generation))
      for (let minute = 0; minute < 90; minute++) {
        const tokens = yield* Effect.all(Array.from({ length: 1000 }, () => refused), { concurrency: 1000 })
        for (const { generation } of tokens) if (!madeAt.has(generation)) madeAt.set(generation, minute)
        yield* TestClock.adjust("1 minute")
      }
      assert.deepStrictEqual([...madeAt.values()], [0, 20, 40, 60, 80])
      assert.strictEqual(first.generation, 1)
    }))

  it.effect("is renewed with the exact time after Apple calls it expired", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hour + 60_000)
      const provider = yield* make()
      const first = yield* provider.current
      yield* TestClock.adjust("21 minutes")
      const second = yield* provider.expired(first.generation)
      assert.strictEqual(second.iat, hour / 1000 + 22 * 60)
      assert.isTrue(verified(second))
      // who comes later with the first gets the second
      assert.strictEqual(yield* provider.expired(first.generation), second)
      assert.strictEqual(yield* provider.current, second)
    }))

  it.effect("is issued at least 20 minutes after the last one, even after one with the exact time", () =>
    Effect.gen(function*() {
      for (let minute = 21; minute < 81; minute++) {
        yield* TestClock.setTime(hour + 60_000)
        const provider = yield* make()
        let last = yield* provider.current
        yield* TestClock.setTime(hour + minute * 60_000)
        if ((yield* provider.current).generation === last.generation) last = yield* provider.expired(last.generation)
        else last = yield* provider.current
        for (let later = minute; later < minute + 180; later++) {
          const now = hour + later * 60_000
          yield* TestClock.setTime(now)
          const token = yield* provider.current
          assert.isAtMost(now - token.iat * 1000, 50 * 60_000)
          if (token.generation === last.generation) continue
          assert.isAtLeast(token.iat - last.iat, 20 * 60)
          last = token
        }
        assert.strictEqual(last.iat % 1800, 0)
      }
    }))

  it.effect("is renewed when the clock was set back", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(hour + 24 * 3_600_000)
      const provider = yield* make()
      yield* provider.current
      yield* TestClock.setTime(hour)
      assert.strictEqual((yield* provider.current).iat, hour / 1000)
    }))

  it.effect("is never shown", () =>
    Effect.gen(function*() {
      const token = yield* (yield* make()).current
      assert.notInclude(JSON.stringify(token) + String(token.jwt), Redacted.value(token.jwt).slice(0, 20))
    }))

  const pkcs8 = (key: Crypto.KeyObject) => key.export({ type: "pkcs8", format: "pem" }) as string

  it.effect.each(
    [
      ["text that is no PEM", "AuthKey_ABC123DEFG.p8", /neither PEM/],
      ["nothing", "", /neither PEM/],
      ["an RSA key", pkcs8(Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey), /P-256/],
      ["a key on P-384", pkcs8(Crypto.generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey), /P-256/],
      ["an Ed25519 key", pkcs8(Crypto.generateKeyPairSync("ed25519").privateKey), /P-256/],
      ["a public key", publicKey.export({ type: "spki", format: "pem" }) as string, /public key/],
      [
        "an encrypted key",
        privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }) as string,
        /encrypted/
      ],
      ["a certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", /certificate/],
      ["half a key", `${pem.slice(0, 90)}\n-----END PRIVATE KEY-----`, /damaged/]
    ] as const
  )("refuses %s and names the file", ([, key, rule]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(make({ key: Redacted.make(key), source: "keys/AuthKey.p8" }))
      assert.strictEqual(error.reason._tag, "KeyInvalid")
      assert.include(error.message, "keys/AuthKey.p8")
      assert.match(error.message, rule)
      if (key.length > 100) assert.notInclude(JSON.stringify(error) + error.message, key.slice(40, 80))
    }))

  it.effect.each([{ keyId: "ABC" }, { keyId: "ABC123DEFG " }, { teamId: "" }, { teamId: "DEF-123GHI" }])(
    "refuses %j",
    (options) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(make(options))).reason._tag, "OptionInvalid")
      })
  )
})
