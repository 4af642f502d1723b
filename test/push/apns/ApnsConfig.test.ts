import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as ApnsConfig from "../../../src/push/apns/ApnsConfig.ts"
import * as Credential from "../../../src/push/apns/credential/Credential.ts"
import * as Key from "../../../src/testing/apns/Key.ts"

const load = (variables: Record<string, string>) =>
  ApnsConfig.load.pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
      env: Object.fromEntries(Object.entries(variables).map(([name, value]) => [`BACKQ_APNS_${name}`, value]))
    })))
  )

const key = { KEY: "keys/AuthKey.p8", KEY_ID: "ABC123DEFG", TEAM_ID: "DEF123GHIJ" }
const pem = "-----BEGIN PRIVATE KEY-----\\nMIGH...\\n-----END PRIVATE KEY-----"

describe("ApnsConfig", () => {
  it.effect("reads a key from a file, and the endpoint", () =>
    Effect.gen(function*() {
      const { credential, endpoint } = yield* load({
        ...key,
        TOPIC: "com.example.app",
        ENVIRONMENT: "sandbox",
        HOST: "localhost",
        PORT: "2197",
        CA: "ca.pem",
        PROXY: "http://me:p%40ss@proxy.example.com:3128"
      })
      assert.deepStrictEqual(credential, {
        key: { file: "keys/AuthKey.p8" },
        keyId: "ABC123DEFG",
        teamId: "DEF123GHIJ",
        topic: "com.example.app",
        ca: { file: "ca.pem" }
      })
      const { proxy, ...others } = endpoint
      assert.deepStrictEqual(others, { environment: "sandbox", host: "localhost", port: 2197 })
      assert.strictEqual(proxy!.username, "me")
      assert.strictEqual(Redacted.value(proxy!.password!), "p@ss")
      assert.notInclude(JSON.stringify(endpoint), "p@ss")
    }))

  it.effect("reads a key from the variable itself", () =>
    Effect.gen(function*() {
      const { credential } = yield* load({ ...key, KEY: pem })
      assert.isTrue("key" in credential && Redacted.isRedacted(credential.key))
      assert.notInclude(JSON.stringify(credential), "MIGH")
    }))

  it.effect("reads a key in base64", () =>
    Effect.gen(function*() {
      const made = yield* Key.makeKey()
      const base64 = Redacted.value(made.key).replace(/-----[^-]+-----|\s/g, "")
      const { credential } = yield* load({ ...key, KEY: base64 })
      assert.isTrue("key" in credential && Redacted.isRedacted(credential.key))
      assert.isDefined((yield* Credential.read(credential)).providerToken)
    }))

  it.effect.each(["KEY", "CERTIFICATE", "CERTIFICATE_KEY", "CA"])(
    "never shows the value of %s if it is neither a key nor a path",
    (name) =>
      Effect.gen(function*() {
        const made = yield* Key.makeKey()
        const base64 = Redacted.value(made.key).replace(/-----[^-]+-----|\s/g, "")
        const others = name === "KEY" || name === "CA" ? key : { CERTIFICATE: "push.pem" }
        for (const secret of [base64.slice(5), base64.slice(0, -5), `/${base64}`, "hunter2"]) {
          const error = yield* Effect.flip(load({ ...others, [name]: secret }))
          assert.match(error.message, new RegExp(`BACKQ_APNS_${name} must `))
          assert.notInclude(JSON.stringify(error) + error.message, secret)
        }
      })
  )

  it.effect("takes the key's id from the file name", () =>
    Effect.gen(function*() {
      const { credential } = yield* load({ KEY: "/keys/AuthKey_XYZ987WVUT.p8", TEAM_ID: "DEF123GHIJ" })
      assert.strictEqual("keyId" in credential ? credential.keyId : undefined, "XYZ987WVUT")
    }))

  it.effect("reads a certificate", () =>
    Effect.gen(function*() {
      const { credential } = yield* load({ CERTIFICATE: "push.p12", PASSPHRASE: "secret" })
      assert.deepInclude(credential, { certificate: { file: "push.p12" }, certificateKey: undefined })
      assert.notInclude(JSON.stringify(credential), "secret")
    }))

  it.effect.each<[string, Record<string, string>, RegExp]>([
    ["nothing", {}, /BACKQ_APNS_KEY is missing.*BACKQ_APNS_CERTIFICATE/],
    ["key and certificate", { ...key, CERTIFICATE: "push.p12" }, /not both/],
    ["no id of the key", { KEY: "key.p8", TEAM_ID: "DEF123GHIJ" }, /BACKQ_APNS_KEY_ID is missing.*key\.p8/],
    ["no team", { KEY: "key.p8", KEY_ID: "ABC123DEFG" }, /BACKQ_APNS_TEAM_ID is missing/],
    ["a proxy without a scheme", { ...key, PROXY: "me:hunter2@proxy:1" }, /BACKQ_APNS_PROXY.*http:\/\/proxy/],
    ["a proxy with a path", { ...key, PROXY: "http://me:hunter2@proxy:1/x" }, /without a path/],
    ["a proxy's password that isn't encoded", { ...key, PROXY: "http://me:hunter2%zz@proxy:1" }, /percent-encoded/],
    ["another environment", { ...key, ENVIRONMENT: "staging" }, /production.*sandbox/s],
    ["an invalid port", { ...key, PORT: "99999" }, /PORT/]
  ])("refuses %s", ([, variables, words]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(load(variables))
      assert.match(error.message, words)
      assert.notInclude(error.message, "hunter2")
    }))
})
