/** The keys of application servers, their tokens, and the configuration. */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import { VapidKey, WebPush, WebPushConfig } from "../../../src/push/webpush/index.ts"
import * as Tokens from "../../../src/push/webpush/vapid/tokens.ts"

/** The key of RFC 8292, section 2.4; its private half is not published. */
const sample = {
  jwt: [
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9",
    "eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0",
    "i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA"
  ],
  k: "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
}

const verify = (jwt: ReadonlyArray<string>, k: string): boolean => {
  const point = Buffer.from(k, "base64url")
  const jwk = { kty: "EC", crv: "P-256", x: point.toString("base64url", 1, 33), y: point.toString("base64url", 33) }
  const key = Crypto.createPublicKey({ format: "jwk", key: jwk })
  const signature = Buffer.from(jwt[2]!, "base64url")
  return Crypto.verify("sha256", Buffer.from(`${jwt[0]}.${jwt[1]}`), { key, dsaEncoding: "ieee-p1363" }, signature)
}

/** A pair whose private key begins with a zero. */
const short = (() => {
  for (;;) {
    const ecdh = Crypto.createECDH("prime256v1")
    const publicKey = ecdh.generateKeys("base64url")
    const padded = Buffer.concat([Buffer.alloc(32), ecdh.getPrivateKey()]).subarray(-32)
    if (padded[0] === 0) return { publicKey, padded, bare: padded.subarray(1) }
  }
})()

const keyObject = Crypto.createPrivateKey({
  format: "jwk",
  key: {
    kty: "EC",
    crv: "P-256",
    d: short.padded.toString("base64url"),
    x: Buffer.from(short.publicKey, "base64url").toString("base64url", 1, 33),
    y: Buffer.from(short.publicKey, "base64url").toString("base64url", 33)
  }
})

const forms: ReadonlyArray<readonly [name: string, value: string | Uint8Array]> = [
  ["base64url", short.padded.toString("base64url")],
  ["base64", short.padded.toString("base64")],
  ["base64url without its first zero", short.bare.toString("base64url")],
  ["bytes", short.padded],
  ["PKCS #8", keyObject.export({ type: "pkcs8", format: "pem" }) as string],
  ["PKCS #8 in one line", (keyObject.export({ type: "pkcs8", format: "pem" }) as string).replaceAll("\n", "\\n")],
  ["SEC 1", keyObject.export({ type: "sec1", format: "pem" }) as string],
  ["DER", keyObject.export({ type: "pkcs8", format: "der" })],
  ["a JSON Web Key", JSON.stringify(keyObject.export({ format: "jwk" }))],
  [
    "JSON of other libraries",
    JSON.stringify({ publicKey: short.publicKey, privateKey: short.bare.toString("base64url") })
  ]
]

/** A key whose last characters matter. */
const whole = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"

const other = Crypto.generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey
const wrong: ReadonlyArray<readonly [rule: RegExp, value: unknown]> = [
  [/no private key/, ""],
  [/no private key/, "not a key"],
  [/a number of the curve/, Buffer.alloc(32).toString("base64url")],
  [/a number of the curve/, Buffer.alloc(32, 255).toString("base64url")],
  [/no private key/, Buffer.alloc(40, 1).toString("base64url")],
  [/P-256/, other.export({ type: "pkcs8", format: "pem" })],
  [/another curve/, JSON.stringify(other.export({ format: "jwk" }))],
  [/public key/, Crypto.createPublicKey(keyObject).export({ type: "spki", format: "pem" })],
  [/not JSON/, "{"],
  [/no private key/, JSON.stringify({ kty: "EC" })],
  [/a string or bytes/, 7],
  [/no private key/, "default"],
  [/no private key/, "hunter2hunter2"],
  [/no private key/, whole.slice(0, -1)],
  [/no private key/, whole.slice(0, -2)],
  [/no private key/, whole.slice(0, -3)],
  [/no private key/, JSON.stringify({ privateKey: whole.slice(0, -1) })],
  [/another private key/, JSON.stringify({ ...keyObject.export({ format: "jwk" }), d: whole })],
  [/another private key/, JSON.stringify({ publicKey: short.publicKey, privateKey: whole })],
  [/another private key/, JSON.stringify({ publicKey: "default", privateKey: whole })]
]

describe("VapidKey", () => {
  it.effect.each(forms)("reads %s", ([, value]) =>
    Effect.gen(function*() {
      const key = yield* VapidKey.read({ privateKey: Redacted.make(value), publicKey: short.publicKey })
      assert.strictEqual(key.publicKey, short.publicKey)
      assert.strictEqual(key.id, "default")
      assert.notInclude(JSON.stringify(key), "PRIVATE")
    }))

  it.effect.each(wrong)("refuses what is no key: %s", ([rule, value]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(VapidKey.read({ privateKey: Redacted.make(value as string) }))
      assert.match(error.message, rule)
    }))

  it.effect("refuses the public key of another pair", () =>
    Effect.gen(function*() {
      const { publicKey } = yield* VapidKey.generate
      const error = yield* Effect.flip(VapidKey.read({ privateKey: Redacted.make(short.padded), publicKey }))
      assert.match(error.message, /belongs to another private key/)
    }))

  it.effect("makes pairs that it reads", () =>
    Effect.gen(function*() {
      const { privateKey, publicKey } = yield* VapidKey.generate
      assert.strictEqual((yield* VapidKey.read({ privateKey })).publicKey, publicKey)
    }))

  const contacts: ReadonlyArray<readonly [subject: string, isGood: boolean]> = [
    ["mailto:ops@example.com", true],
    ["https://example.com/contact", true],
    ["ops@example.com", false],
    ["mailto: ops@example.com", false],
    ["mailto:<ops@example.com>", false],
    ["mailto:ops", false],
    ["mailto:ops@localhost", false],
    ["mailto:ops@example.invalid", false],
    ["https://localhost", false],
    ["https://localhost:8443/x", false],
    ["http://example.com", false],
    ["", false]
  ]

  it.each(contacts)("the contact %s is good: %s", (subject, isGood) => {
    assert.strictEqual(VapidKey.subjectRule(subject) === undefined, isGood)
  })

  it.effect("a layer refuses wrong options, and names them", () =>
    Effect.gen(function*() {
      const keys = { privateKey: Redacted.make(short.padded) }
      const good: WebPush.Options = { keys, subject: "mailto:ops@example.com" }
      const cases: ReadonlyArray<readonly [rule: RegExp, options: object]> = [
        [/subject must be a contact/, { subject: "ops@example.com" }],
        [/keys must be at least one/, { keys: [] }],
        [/keys must have an id each/, { keys: [keys, keys] }],
        [/allow must be/, { allow: ["https://example.com"] }],
        [/reuseKeys must be/, { reuseKeys: "31 minutes" }],
        [/maxOrigins must be/, { maxOrigins: 0 }],
        [/maxConnections must be/, { maxConnections: 0.5 }],
        [/queueTimeout must be/, { queueTimeout: -1 }]
      ]
      for (const [rule, options] of cases) {
        const error = yield* Effect.flip(
          Effect.scoped(Effect.provide(Effect.void, WebPush.layer({ ...good, ...options })))
        )
        assert.match(error.message, rule)
      }
    }))
})

describe("tokens", () => {
  it("the check of these tests accepts the sample of RFC 8292", () => {
    assert.isTrue(verify(sample.jwt, sample.k))
    assert.isFalse(verify([sample.jwt[0]!, `${sample.jwt[1]}x`, sample.jwt[2]!], sample.k))
  })

  const make = Effect.gen(function*() {
    const key = yield* VapidKey.read({ privateKey: Redacted.make(short.padded) })
    const tokens = yield* Tokens.make("mailto:ops@example.com", [key])
    return { key, of: (origin: string) => tokens.of(origin, key) }
  })

  it.effect("are signed, name the origin, and are valid for 12 hours", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const { key, of } = yield* make
      const { value } = yield* of("https://push.example.com").current
      const [, token, k] = /^vapid t=(\S+), k=(\S+)$/.exec(Redacted.value(value))!
      assert.strictEqual(k, key.publicKey)
      const parts = token!.split(".")
      assert.isTrue(verify(parts, key.publicKey))
      assert.deepStrictEqual(JSON.parse(Buffer.from(parts[0]!, "base64url").toString()), { typ: "JWT", alg: "ES256" })
      assert.deepStrictEqual(JSON.parse(Buffer.from(parts[1]!, "base64url").toString()), {
        aud: "https://push.example.com",
        exp: 1_700_000_000 + 43_200,
        sub: "mailto:ops@example.com"
      })
    }))

  it.effect("are made once for an origin and key, and again after 6 hours", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const { of } = yield* make
      const used = new Set<string>()
      const use = Effect.map(
        Effect.suspend(() => of("https://a.example").current),
        ({ value }) => void used.add(Redacted.value(value))
      )
      yield* Effect.repeat(use, { times: 9_999 })
      assert.strictEqual(used.size, 1)
      yield* TestClock.adjust("21599 seconds")
      yield* use
      assert.strictEqual(used.size, 1)
      yield* TestClock.adjust("2 seconds")
      yield* use
      assert.strictEqual(used.size, 2)
    }))

  it.effect("that are refused are replaced once, and then once an hour", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const { of } = yield* make
      const authorizer = of("https://a.example")
      const first = yield* authorizer.current
      const second = yield* authorizer.expired(first.generation)
      assert.strictEqual(second.generation, 2)
      // Another message that was sent with the first one uses the second.
      assert.strictEqual((yield* authorizer.expired(first.generation)).generation, 2)
      assert.strictEqual((yield* authorizer.expired(2)).generation, 2)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* authorizer.expired(2)).generation, 3)
    }))

  it.effect("are replaced when the clock was set back", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const { of } = yield* make
      const authorizer = of("https://a.example")
      yield* authorizer.current
      yield* TestClock.setTime(1_699_990_000_000)
      assert.strictEqual((yield* authorizer.current).generation, 2)
    }))
})

describe("WebPushConfig", () => {
  const load = (variables: Record<string, string>) =>
    WebPushConfig.load.pipe(
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
        env: Object.fromEntries(Object.entries(variables).map(([name, value]) => [`BACKQ_WEBPUSH_${name}`, value]))
      })))
    )

  it.effect("reads the variables", () =>
    Effect.gen(function*() {
      const secret = short.padded.toString("base64url")
      const config = yield* load({
        PRIVATE_KEY: `${secret}\n`,
        PUBLIC_KEY: short.publicKey,
        KEY_ID: "2026",
        SUBJECT: "mailto:ops@example.com\n",
        ALLOW: "push.example.com, *.example.org"
      })
      const { keys: { id, privateKey, publicKey }, ...others } = config
      assert.deepStrictEqual(others, {
        subject: "mailto:ops@example.com",
        allow: ["push.example.com", "*.example.org"]
      })
      assert.deepStrictEqual({ id, publicKey }, { id: "2026", publicKey: short.publicKey })
      assert.strictEqual(Redacted.value(privateKey), secret)
      assert.notInclude(JSON.stringify(config), secret)
    }))

  it.effect("names what is missing or wrong", () =>
    Effect.gen(function*() {
      const message = (variables: Record<string, string>) => Effect.map(Effect.flip(load(variables)), String)
      assert.match(yield* message({}), /BACKQ_WEBPUSH_PRIVATE_KEY is missing.*vapid-keys/)
      assert.match(yield* message({ PRIVATE_KEY: "x" }), /BACKQ_WEBPUSH_SUBJECT is missing/)
      assert.match(
        yield* message({ PRIVATE_KEY: "./no/such.pem", SUBJECT: "x" }),
        /BACKQ_WEBPUSH_PRIVATE_KEY must be a file that can be read/
      )
    }))
})
