import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { generateKeyPairSync } from "node:crypto"
import * as ApnsConfig from "../../src/push/apns/ApnsConfig.ts"
import * as Certificate from "../../src/push/apns/credential/certificate.ts"
import type { CredentialErrorReason } from "../../src/push/apns/credential/CredentialError.ts"
import * as ProviderToken from "../../src/push/apns/credential/ProviderToken.ts"
import * as Material from "../../src/push/credential/KeyMaterial.ts"
import * as TestCertificate from "../../src/testing/push/Certificate.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const authority = Effect.runSync(TestCertificate.makeAuthority)
const { cert, key } = Effect.runSync(authority.issue({ topics: ["com.example.app"] }))
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
const derOf = (pem: string): Uint8Array => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64")

const valid: ReadonlyArray<Uint8Array> = [
  ...[cert, key, authority.cert, authority.cert + key + cert].flatMap((pem) => [
    Hostile.bytesOf(pem),
    Hostile.bytesOf(pem.replaceAll("\n", "\\r\\n")),
    derOf(pem),
    Hostile.bytesOf(Buffer.from(pem).toString("base64")),
    Buffer.from(pem, "utf16le")
  ]),
  Hostile.bytesOf(privateKey.export({ type: "sec1", format: "pem" }) as string),
  Hostile.bytesOf(publicKey.export({ type: "spki", format: "pem" }) as string)
]

const bytes = (given: Uint8Array) => ({ source: "a file", bytes: Redacted.make(given) })

const good = { ...bytes(Hostile.bytesOf(cert)), key: bytes(Hostile.bytesOf(key)) }

/** An error contains no part of its input. */
const secret = Buffer.from(derOf(key)).toString("base64").slice(20, 44)
const checkSecret = <A, E extends { readonly message: string }>(result: Result.Result<A, E>): Result.Result<A, E> => {
  if (Result.isFailure(result) && result.failure.message.includes(secret)) throw new Error("a part of a key is shown")
  return result
}

const configured = (text: string) =>
  Effect.runSync(
    Effect.result(ApnsConfig.load).pipe(
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
        env: {
          BACKQ_APNS_KEY: text,
          BACKQ_APNS_KEY_ID: text.slice(0, 12),
          BACKQ_APNS_TEAM_ID: "DEF123GHIJ",
          BACKQ_APNS_TOPIC: text,
          BACKQ_APNS_HOST: text,
          BACKQ_APNS_PROXY: `http://${text}`
        }
      })))
    )
  )

const heads = ["", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", "-----BEGIN CERTIFICATE-----", "MIGTAgEA", "\ufeff"]

export const target = Fuzz.make<Uint8Array>({
  name: "credentials",
  about: "keys, certificates, and the variables with their options",
  rounds: 400,
  make: (random, size) =>
    random.chance(0.7)
      ? Hostile.mutate(random, random.pick(valid))
      : random.chance(0.5)
      ? Hostile.bytesOf(random.pick(heads) + Hostile.text(random, size))
      : Hostile.bytes(random, size),
  feed: (given) =>
    Effect.gen(function*() {
      const text = Buffer.from(given).toString()
      Material.contentIn(text, "key")
      Material.isPath(text)
      checkSecret(configured(text))
      const results: ReadonlyArray<Result.Result<unknown, CredentialErrorReason>> = [
        Certificate.read({ certificate: bytes(given) }),
        Certificate.read({ certificate: bytes(given), key: good.key }),
        Certificate.read({ certificate: good, key: bytes(given) }),
        Certificate.readAuthorities(bytes(given))
      ]
      for (const result of results) {
        checkSecret(result)
        if (Result.isFailure(result)) Fuzz.checkWords(result.failure.message)
      }
      const token = ProviderToken.make({ key: Redacted.make(given), keyId: "ABC123DEFG", teamId: "DEF123GHIJ" })
      return yield* Effect.fromResult(checkSecret(yield* Effect.result(token)))
    }),
  grow: [...heads, cert, key].flatMap((head) =>
    [...Hostile.runs, "A", "-----BEGIN A-----", "\\n"].map((run) => (size: number) =>
      Hostile.bytesOf(head + Hostile.fill(run, size))
    )
  )
})
