/** Service accounts: each mistake in their JSON is named with its field, and no key is quoted. */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { generateKeyPairSync } from "node:crypto"
import { parse } from "../../../src/push/fcm/credential/serviceAccount.ts"
import * as Fcm from "../../../src/push/fcm/Fcm.ts"
import * as FcmConfig from "../../../src/push/fcm/FcmConfig.ts"
import * as Account from "../../../src/testing/fcm/Account.ts"

const account = Effect.runSync(Account.makeAccount())

const json: Record<string, unknown> = JSON.parse(
  Redacted.value(Account.toJson(account, "https://oauth2.googleapis.com/token"))
)

const key = json["private_key"] as string

const otherKey = generateKeyPairSync("ec", {
  namedCurve: "P-256",
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" }
}).privateKey

const secret = key.split("\n")[1]!.slice(0, 20)

const wrongs: ReadonlyArray<readonly [what: string, content: string, expected: RegExp]> = [
  ["no JSON", "hello", /must be JSON/],
  ["a key alone", key, /a key alone: use the whole JSON file/],
  ["google-services.json", `{"project_info":{}}`, /google-services\.json, which belongs to the app/],
  ["the configuration of a web app", `{"apiKey":"a"}`, /configuration of a web app/],
  ["an OAuth client", `{"installed":{}}`, /OAuth client/],
  ["a refresh token", `{"type":"authorized_user"}`, /type authorized_user.*accessToken/],
  ["workload identity", `{"type":"external_account"}`, /google-auth-library/],
  ["another object", `{}`, /type must be service_account/],
  ...["client_email", "private_key_id", "private_key"].map((field) =>
    [`no ${field}`, JSON.stringify({ ...json, [field]: "" }), new RegExp(`${field} must be`)] as const
  ),
  ["a wrong project", JSON.stringify({ ...json, project_id: "My Project" }), /project_id must be the id of a project/],
  [
    "a plain token host",
    JSON.stringify({ ...json, token_uri: "http://example.com/token" }),
    /token_uri must be a URL that begins with https/
  ],
  ["a cut key", JSON.stringify({ ...json, private_key: key.slice(0, 400) }), /private_key/],
  [
    "an EC key",
    JSON.stringify({ ...json, private_key: otherKey }),
    /private_key must be an RSA key, not a key of the type ec/
  ],
  [
    "a public key",
    JSON.stringify({ ...json, private_key: account.publicKey }),
    /private_key must be the PEM of a private key/
  ]
]

describe("a service account", () => {
  it.each(wrongs)("is not %s", (_, content, expected) => {
    const result = parse(content, "account.json")
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      assert.match(result.failure.message, /^account\.json is not a usable service account/)
      assert.match(result.failure.message, expected)
      assert.notInclude(result.failure.message, secret)
    }
  })

  it.each([
    ["as downloaded", JSON.stringify(json, undefined, 2)],
    ["with the line ends of its key as \\n", JSON.stringify({ ...json, private_key: key.replaceAll("\n", "\\n") })],
    ["in base64", Buffer.from(JSON.stringify(json)).toString("base64")],
    ["with a byte order mark", `\ufeff${JSON.stringify(json)}`]
  ])("may be %s", (_, content) => {
    const { clientEmail, key: read, project } = Result.getOrThrow(parse(content, "account.json"))
    assert.deepStrictEqual([clientEmail, project], [account.clientEmail, "test-project"])
    assert.notInclude(JSON.stringify(read) + String(read), secret)
  })
})

describe("the configuration", () => {
  const load = (env: Record<string, string>) =>
    Effect.provideService(FcmConfig.load, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

  it.effect("reads a path, a text, and the variable of Google's tools", () =>
    Effect.gen(function*() {
      const path = yield* load({ BACKQ_FCM_SERVICE_ACCOUNT: "/run/secrets/fcm.json\n" })
      assert.deepStrictEqual(path.credential.serviceAccount, { file: "/run/secrets/fcm.json" })
      const text = yield* load({ BACKQ_FCM_SERVICE_ACCOUNT: JSON.stringify(json), BACKQ_FCM_PROJECT: "p-1" })
      assert.isTrue(Redacted.isRedacted(text.credential.serviceAccount))
      assert.strictEqual(text.credential.project, "p-1")
      const google = yield* load({ GOOGLE_APPLICATION_CREDENTIALS: "a.json" })
      assert.deepStrictEqual(google.credential.serviceAccount, { file: "a.json" })
    }))

  it.effect.each(
    [
      [{}, /BACKQ_FCM_SERVICE_ACCOUNT is missing/],
      [{ BACKQ_FCM_SERVICE_ACCOUNT: "a.json", BACKQ_FCM_PROJECT: "My Project" }, /BACKQ_FCM_PROJECT must be/],
      [{ BACKQ_FCM_SERVICE_ACCOUNT: "a.json", BACKQ_FCM_PORT: "x" }, /BACKQ_FCM_PORT must be a port/],
      [{ BACKQ_FCM_SERVICE_ACCOUNT: "a.json", BACKQ_FCM_HOST: "https://a" }, /BACKQ_FCM_HOST must be/],
      [{ BACKQ_FCM_SERVICE_ACCOUNT: "a.json", BACKQ_FCM_PROXY: "x" }, /BACKQ_FCM_PROXY must be a URL/]
    ] as const
  )("%j is refused", ([env, expected]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(load(env))
      assert.match(error.message, expected)
    }))

  it.effect.each([
    ["a key", key],
    ["a cut text", JSON.stringify(json).slice(1)],
    ["a text in quotes", `'${JSON.stringify(json)}'`],
    ["cut base64", Buffer.from(JSON.stringify(json)).toString("base64").slice(0, -50)]
  ])("takes %s for content, not for a path", ([, text]) =>
    Effect.gen(function*() {
      const { credential } = yield* load({ BACKQ_FCM_SERVICE_ACCOUNT: text! })
      const error = yield* Effect.flip(Effect.provide(Fcm.Fcm, Fcm.layer({ credential })))
      assert.match(error.message, /is not a usable service account/)
      assert.notInclude(error.message, secret)
    }))

  it.effect("a layer without a project fails", () =>
    Effect.gen(function*() {
      const withoutProject = Redacted.make(JSON.stringify({ ...json, project_id: undefined }))
      const layer = Fcm.layer({ credential: { serviceAccount: withoutProject } })
      const build = Effect.provide(Fcm.Fcm, layer)
      const none = ConfigProvider.fromEnv({ env: {} })
      const error = yield* Effect.flip(Effect.provideService(build, ConfigProvider.ConfigProvider, none))
      assert.match(error.message, /the FCM option project is missing/)
    }))
})
