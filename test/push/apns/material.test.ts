import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import { readFileSync } from "node:fs"
import { contentIn, isPath } from "../../../src/push/credential/KeyMaterial.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import { certificates } from "./certificates.ts"

const bare = (pem: string): string => pem.replace(/-----[^-]+-----|\s/g, "")
const base64 = (text: string): string => Buffer.from(text).toString("base64")

/** The key, however it is written down. */
const isSame = (one: string, other: string): boolean =>
  Crypto.createPrivateKey(one).equals(Crypto.createPrivateKey(other))

describe("material", () => {
  it.effect("finds a key in PEM, in its base64 and in base64 of the file", () =>
    Effect.gen(function*() {
      const pem = Redacted.value((yield* Key.makeKey()).key)
      const url = bare(pem).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
      for (const text of [pem, bare(pem), bare(pem).replace(/.{64}/g, "$&\\n"), url, base64(pem), `${base64(pem)}\n`]) {
        const found = contentIn(text, "key")
        assert.isTrue(typeof found === "string" && isSame(found, pem), text)
      }
    }))

  it.effect("finds certificates and PKCS #12", () =>
    Effect.gen(function*() {
      const { at, read } = yield* certificates
      const pem = read("push.crt")
      const found = contentIn(bare(pem), "certificate")
      assert.strictEqual(new Crypto.X509Certificate(String(found)).raw.toString("base64"), bare(pem))
      const p12 = readFileSync(at("push.p12"))
      assert.deepStrictEqual(contentIn(p12.toString("base64"), "certificate"), p12)
      const key = contentIn(bare(read("encrypted.key")), "key")
      assert.match(String(key), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
    }))

  it.effect("does not mistake a part of a key for a key or a path", () =>
    Effect.gen(function*() {
      const pem = Redacted.value((yield* Key.makeKey()).key)
      const lines = pem.trim().split("\n")
      const whole = bare(pem)
      const parts = [
        whole.slice(4),
        whole.slice(0, -8),
        lines[1]!,
        lines.slice(1).join("\n"),
        `./${whole}`,
        `/${whole}`
      ]
      for (const text of [...parts, base64(pem).slice(9), "hunter2", "Correct.Horse/Battery", ""]) {
        assert.isUndefined(contentIn(text, "key"), text)
        assert.isFalse(isPath(text), text)
      }
    }))

  it.each(["AuthKey_ABC123DEFG.p8", "keys/push.P12", "/run/secrets/apns", "./apns", "../a/b", "~/push", "C:\\k\\apns"])(
    "accepts %s as a path",
    (path) => {
      assert.isTrue(isPath(path))
      assert.isUndefined(contentIn(path, "key"))
    }
  )
})
