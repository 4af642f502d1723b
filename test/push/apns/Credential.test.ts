import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import { copyFileSync, rmSync, writeFileSync } from "node:fs"
import * as NodeTls from "node:tls"
import * as Credential from "../../../src/push/apns/credential/Credential.ts"
import type { CredentialError } from "../../../src/push/apns/credential/CredentialError.ts"
import { allow, withMuchData } from "../../support/limits.ts"
import { certificates } from "./certificates.ts"

allow(withMuchData)

class Files extends Context.Service<Files, Effect.Success<typeof certificates>>()("test/Files") {}

const secret = Redacted.make("secret")
const wrong = Redacted.make("hunter2")

const p8 = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem"
}) as string

const keyOptions = { keyId: "ABC123DEFG", teamId: "DEF123GHIJ" }

/** A certificate's options by the names of files. */
const files = (certificate: string, certificateKey?: string, passphrase?: Redacted.Redacted) =>
  Effect.map(Files, ({ at }): Credential.Options => ({
    certificate: { file: at(certificate) },
    certificateKey: certificateKey === undefined ? undefined : { file: at(certificateKey) },
    passphrase
  }))

const read = (...names: Parameters<typeof files>) => Effect.flatMap(files(...names), Credential.read)

/** Whether TLS works with it. */
const tlsTakes = ({ tls }: Credential.Credential) => {
  const value = (u: unknown): any => Redacted.isRedacted(u) ? Redacted.value(u) : u
  const options = Object.fromEntries(Object.entries(tls).map(([name, u]) => [name, value(u)]))
  return NodeTls.createSecureContext(options) !== undefined
}

const today = Effect.suspend(() => TestClock.setTime(Date.now()))

const captured = () => {
  const lines: Array<string> = []
  return { lines, layer: Logger.layer([Logger.make(({ message }) => lines.push(String(message)))]) }
}

layer(Layer.effect(Files, certificates), { timeout: "30 seconds" })("Credential", (it) => {
  describe("of a key", () => {
    it.effect("signs and covers every topic", () =>
      Effect.gen(function*() {
        const { at } = yield* Files
        writeFileSync(at("AuthKey.p8"), p8)
        for (const key of [{ file: at("AuthKey.p8") }, Redacted.make(p8), Redacted.make(Buffer.from(p8))]) {
          const credential = yield* Credential.read({ key, ...keyOptions })
          assert.match(Redacted.value((yield* credential.providerToken!.current).jwt), /^ey/)
          assert.strictEqual(credential.topics, "any")
          assert.deepStrictEqual(credential.tls, {})
        }
      }))

    it.effect("covers the given topics", () =>
      Effect.gen(function*() {
        const topics = ["com.example.a", "com.example.b"]
        const credential = yield* Credential.read({ key: Redacted.make(p8), ...keyOptions, topics })
        assert.deepStrictEqual(credential.topics, topics)
        assert.strictEqual(credential.defaultTopic, "com.example.a")
      }))

    it.effect("names the file that is missing or is not a key", () =>
      Effect.gen(function*() {
        const { at } = yield* Files
        const readKey = (name: string) => Effect.flip(Credential.read({ key: { file: at(name) }, ...keyOptions }))
        const missing = yield* readKey("none.p8")
        assert.strictEqual(missing.reason._tag, "FileUnreadable")
        assert.include(missing.message, at("none.p8"))
        const certificate = yield* readKey("push.crt")
        assert.strictEqual(certificate.reason._tag, "KeyInvalid")
        assert.include(certificate.message, at("push.crt"))
      }))

    it.effect("is not read from a device or a file that is too large", () =>
      Effect.gen(function*() {
        const { at } = yield* Files
        writeFileSync(at("large.p8"), Buffer.alloc(2_000_000))
        for (const [file, words] of [["/dev/zero", /device/], [at("large.p8"), /2000000 bytes/]] as const) {
          const error = yield* Effect.flip(Credential.read({ key: { file }, ...keyOptions }))
          assert.strictEqual(error.reason._tag, "FileUnreadable")
          assert.match(error.message, words)
        }
      }))

    it.effect("is read from base64, and never shown when it is mistaken for a file", () =>
      Effect.gen(function*() {
        const base64 = p8.replace(/-----[^-]+-----|\s/g, "")
        assert.isDefined((yield* Credential.read({ key: Redacted.make(base64), ...keyOptions })).providerToken)
        const error = yield* Effect.flip(Credential.read({ key: { file: base64 }, ...keyOptions }))
        assert.strictEqual(error.reason._tag, "FileUnreadable")
        assert.notInclude(JSON.stringify(error) + error.message, base64.slice(20, 40))
      }))
  })

  describe("of a certificate", () => {
    it.effect.each(
      [
        ["two PEM files", "push.crt", "push.key", undefined],
        ["one PEM file with text around it", "both.pem", undefined, undefined],
        ["an encrypted key", "push.crt", "encrypted.key", secret],
        ["a key that isn't encrypted, and a passphrase", "push.crt", "push.key", secret],
        ["PKCS #12", "push.p12", undefined, secret],
        ["PKCS #12 with an empty passphrase", "open.p12", undefined, Redacted.make("")]
      ] as const
    )("is read from %s", ([, certificate, key, passphrase]) =>
      Effect.gen(function*() {
        yield* today
        const credential = yield* read(certificate, key, passphrase)
        assert.deepStrictEqual(credential.topics, ["com.example.app", "com.example.app.voip"])
        assert.strictEqual(credential.defaultTopic, "com.example.app")
        assert.isUndefined(credential.providerToken)
        assert.isTrue(tlsTakes(credential))
        assert.notInclude(JSON.stringify(credential), "PRIVATE KEY")
      }))

    it.effect("is read from values", () =>
      Effect.gen(function*() {
        yield* today
        const file = yield* Files
        const credential = yield* Credential.read({
          // as in an environment variable
          certificate: Redacted.make(file.read("push.crt").replaceAll("\n", "\\n")),
          certificateKey: Redacted.make(file.read("push.key"))
        })
        assert.isTrue(tlsTakes(credential))
      }))

    it.effect("takes the topic from the subject without a list", () =>
      Effect.gen(function*() {
        yield* today
        assert.deepStrictEqual((yield* read("plain.crt", "plain.key")).topics, ["com.example.plain"])
      }))

    it.effect("trusts the given authority", () =>
      Effect.gen(function*() {
        yield* today
        const file = yield* Files
        const options = yield* files("push.crt", "push.key")
        const credential = yield* Credential.read({ ...options, ca: { file: file.at("other.crt") } })
        assert.strictEqual(credential.tls.ca, file.read("other.crt"))
        const error = yield* Effect.flip(Credential.read({ ...options, ca: { file: file.at("text.txt") } }))
        assert.include(error.message, file.at("text.txt"))
      }))

    type Tag = CredentialError["reason"]["_tag"]

    it.effect.each<[string, Parameters<typeof files>, Tag, string, RegExp]>([
      ["swapped files", ["push.key", "push.crt"], "CertificateInvalid", "push.key", /swapped/],
      ["a certificate for a key", ["push.crt", "push.crt"], "KeyInvalid", "push.crt", /swapped/],
      ["no key", ["push.crt"], "KeyInvalid", "push.crt", /another file/],
      ["another's key", ["push.crt", "other.key"], "KeyMismatch", "other.key", /does not belong/],
      [
        "a wrong passphrase",
        ["push.crt", "encrypted.key", wrong],
        "PassphraseWrong",
        "encrypted.key",
        /does not decrypt/
      ],
      ["no passphrase", ["push.crt", "encrypted.key"], "PassphraseWrong", "encrypted.key", /set its passphrase/],
      [
        "a wrong passphrase of PKCS #12",
        ["push.p12", undefined, wrong],
        "PassphraseWrong",
        "push.p12",
        /does not decrypt/
      ],
      ["no passphrase of PKCS #12", ["push.p12"], "PassphraseWrong", "push.p12", /set its passphrase/],
      ["PKCS #12 without key", ["nokey.p12", undefined, secret], "CertificateInvalid", "nokey.p12", /together/],
      ["old PKCS #12", ["legacy.p12", undefined, secret], "CertificateInvalid", "legacy.p12", /-legacy/],
      ["PKCS #12 and a key", ["push.p12", "push.key", secret], "KeyInvalid", "push.key", /contains its key/],
      ["neither", ["text.txt"], "CertificateInvalid", "text.txt", /neither PEM nor PKCS #12/],
      ["a missing file", ["none.crt"], "FileUnreadable", "none.crt", /no such file/]
    ])("refuses %s", ([, names, tag, file, words]) =>
      Effect.gen(function*() {
        yield* today
        const { at } = yield* Files
        const error = yield* Effect.flip(read(...names))
        assert.strictEqual(error.reason._tag, tag)
        assert.include(error.message, at(file))
        assert.match(error.message, words)
        assert.notInclude(error.message + JSON.stringify(error), "hunter2")
      }))

    it.effect("refuses a certificate that has expired or is not valid yet", () =>
      Effect.gen(function*() {
        for (const time of [Date.now() + 366 * 86_400_000, Date.now() - 86_400_000]) {
          yield* TestClock.setTime(time)
          const error = yield* Effect.flip(read("push.crt", "push.key"))
          assert.strictEqual(error.reason._tag, "CertificateExpired")
        }
      }))
  })

  describe("that is watched", () => {
    /** Lets time pass until something is there: files are read outside of the TestClock. */
    const until = (done: () => boolean) =>
      Effect.gen(function*() {
        while (!done()) {
          yield* TestClock.adjust("1 minute")
          yield* TestClock.withLive(Effect.sleep(2))
        }
      })

    it.effect("is read again when its files have changed and are valid", () => {
      const { layer, lines } = captured()
      return Effect.gen(function*() {
        yield* today
        const { at, make } = yield* Files
        copyFileSync(at("push.crt"), at("live.crt"))
        copyFileSync(at("push.key"), at("live.key"))
        const live = yield* Effect.flatMap(files("live.crt", "live.key"), Credential.watch)
        assert.strictEqual((yield* SubscriptionRef.get(live)).defaultTopic, "com.example.app")
        const second = yield* Effect.forkChild(
          Stream.runHead(Stream.filter(SubscriptionRef.changes(live), ({ topics }) => topics[0] === "com.example.new"))
        )

        make("new", "com.example.new")
        yield* today
        copyFileSync(at("new.crt"), at("live.crt"))
        yield* until(() => lines.length > 0)
        assert.match(lines[0]!, /the old one stays in use.*live\.key.*does not belong/)
        assert.strictEqual((yield* SubscriptionRef.get(live)).defaultTopic, "com.example.app")
        rmSync(at("live.key"))
        yield* until(() => lines.length > 1)
        assert.match(lines[1]!, /live\.key can't be read/)

        copyFileSync(at("new.key"), at("live.key"))
        yield* until(() => lines.length > 2)
        assert.match(lines[2]!, /has changed, and the new one is in use/)
        yield* Fiber.join(second)
        assert.strictEqual((yield* SubscriptionRef.get(live)).defaultTopic, "com.example.new")
      }).pipe(Effect.provide(layer))
    })

    it.effect("warns once a day from 30 days before its end", () => {
      const { layer, lines } = captured()
      return Effect.gen(function*() {
        const file = yield* Files
        file.make("ending", "com.example.ending", { days: 31 })
        yield* today
        yield* Credential.watch({
          certificate: Redacted.make(file.read("ending.crt")),
          certificateKey: Redacted.make(file.read("ending.key"))
        })
        assert.deepStrictEqual(lines, [])
        yield* TestClock.adjust("71 hours")
        assert.lengthOf(lines, 2)
        assert.match(lines[0]!, /\(the given certificate\) expires in (29|30) days, on \d{4}-/)
        assert.match(lines[1]!, /expires in (28|29) days/)
      }).pipe(Effect.provide(layer))
    })
  })
})
