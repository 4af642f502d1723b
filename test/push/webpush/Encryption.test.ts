/** The encryption of messages, against the vector of RFC 8291 and a decoder of its own. */
import { assert, describe, it } from "@effect/vitest"
import * as Crypto from "node:crypto"
import { encrypt, maxBodyBytes, maxPlaintextBytes, sharedOf } from "../../../src/push/webpush/encryption/aes128gcm.ts"
import { Encryptor } from "../../../src/push/webpush/encryption/encryptor.ts"
import { browser, decrypt } from "./browser.ts"

const bytes = (text: string) => Buffer.from(text, "base64url")

/** RFC 8291, section 5 and appendix A. */
const vector = {
  plaintext: Buffer.from("When I grow up, I want to be a watermelon"),
  senderPrivate: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
  senderPublic: bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
  browserPrivate: bytes("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"),
  browserPublic: bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
  auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
  salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
  secret: "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs",
  ikm: "S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg",
  ciphertext: "8pfeW0KbunFT06SuDKoJH9Ql87S1QUrdirN6GcG7sFz1y1sqLgVi1VhjVkHsUoEsbI_0LpXMuGvnzQ"
}

describe("aes128gcm", () => {
  it("gives the body of RFC 8291", () => {
    const ecdh = Crypto.createECDH("prime256v1")
    ecdh.setPrivateKey(vector.senderPrivate)
    const secret = ecdh.computeSecret(vector.browserPublic)
    assert.strictEqual(secret.toString("base64url"), vector.secret)
    const shared = sharedOf(secret, { point: vector.browserPublic, auth: vector.auth }, vector.senderPublic)
    assert.strictEqual(shared.ikm.toString("base64url"), vector.ikm)
    const body = encrypt(shared, vector.salt, vector.plaintext)
    assert.strictEqual(body.length, 144)
    assert.deepStrictEqual(body.subarray(0, 16), vector.salt)
    assert.strictEqual(body.readUInt32BE(16), 4096)
    assert.strictEqual(body[20], 65)
    assert.deepStrictEqual(body.subarray(21, 86), vector.senderPublic)
    assert.strictEqual(body.subarray(86).toString("base64url"), vector.ciphertext)
  })

  it("the decoder of these tests reads the vector", () => {
    const ecdh = Crypto.createECDH("prime256v1")
    ecdh.setPrivateKey(vector.browserPrivate)
    const body = Buffer.concat([
      vector.salt,
      Buffer.of(0, 0, 16, 0, 65),
      vector.senderPublic,
      bytes(vector.ciphertext)
    ])
    assert.deepStrictEqual(decrypt({ ecdh, point: vector.browserPublic, auth: vector.auth }, body), vector.plaintext)
  })

  it("a browser reads messages of every length, and none is larger than a push service must accept", () => {
    const encryptor = new Encryptor(0, () => 0)
    const reusing = new Encryptor(60_000, () => 0)
    const own = browser()
    const text = Crypto.randomBytes(maxPlaintextBytes)
    for (let size = 0; size <= maxPlaintextBytes; size += 7) {
      const plaintext = text.subarray(0, size)
      const body = (size % 2 === 0 ? encryptor : reusing).encrypt(own, plaintext)
      assert.strictEqual(body.length, 86 + size + 17)
      assert.deepStrictEqual(decrypt(own, body), plaintext)
    }
    const largest = encryptor.encrypt(own, text)
    assert.strictEqual(largest.length, maxBodyBytes)
    assert.deepStrictEqual(decrypt(own, largest), text)
  })

  it("padding hides the length", () => {
    const own = browser()
    const encryptor = new Encryptor(0, () => 0)
    const bodies = ["", "a", "a longer text"].map((text) => encryptor.encrypt(own, Buffer.from(text), 100))
    assert.deepStrictEqual(bodies.map(({ length }) => length), [203, 203, 203])
    assert.deepStrictEqual(bodies.map((body) => decrypt(own, body).toString()), ["", "a", "a longer text"])
  })
})

describe("Encryptor", () => {
  const sender = (body: Buffer) => body.subarray(21, 86).toString("hex")
  const salt = (body: Buffer) => body.subarray(0, 16).toString("hex")

  it("takes a new key pair and a new salt for each message", () => {
    const encryptor = new Encryptor(0, () => 0)
    const own = browser()
    const bodies = Array.from({ length: 600 }, () => encryptor.encrypt(own, Buffer.from("text")))
    assert.strictEqual(new Set(bodies.map(sender)).size, 600)
    assert.strictEqual(new Set(bodies.map(salt)).size, 600)
    assert.strictEqual(encryptor.size, 0)
  })

  it("with reuse it takes a pair for each browser until its time has passed, and a new salt for each message", () => {
    let now = 0
    const encryptor = new Encryptor(1000, () => now)
    const [one, other] = [browser(), browser()]
    const send = (to: typeof one) => encryptor.encrypt(to, Buffer.from("text"))
    const [first, second, others] = [send(one), send(one), send(other)]
    assert.strictEqual(sender(first), sender(second))
    assert.notStrictEqual(sender(first), sender(others))
    assert.notStrictEqual(salt(first), salt(second))
    now = 1000
    const later = send(one)
    assert.notStrictEqual(sender(first), sender(later))
    assert.strictEqual(decrypt(one, later).toString(), "text")
    assert.strictEqual(encryptor.size, 2)
  })
})
