/** A wrong file instead of a key or certificate: the error names its format and the command that converts it. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { execFileSync } from "node:child_process"
import * as Crypto from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import * as Credential from "../../../src/push/apns/credential/Credential.ts"
import type { CredentialError } from "../../../src/push/apns/credential/CredentialError.ts"
import { allow, withMuchData } from "../../support/limits.ts"
import { certificates } from "./certificates.ts"

allow(withMuchData)

class Files extends Context.Service<Files, Effect.Success<typeof made>>()("test/Files") {}

const old = ["-provider", "legacy", "-provider", "default"]
const pass = ["-passout", "pass:secret"]

/** Beside `push.crt` and `push.key`: everything else that OpenSSL, Apple and Keychain Access make of them. */
const made = Effect.map(certificates, (files) => {
  const { at, read } = files
  const openssl = (...args: ReadonlyArray<string>) =>
    execFileSync("openssl", args, { stdio: "ignore", cwd: dirname(at("push.crt")) })
  const key = ["-in", "push.key", "-out"]
  openssl("pkcs8", "-topk8", ...key, "rc2.key", "-v1", "PBE-SHA1-RC2-40", ...pass, ...old)
  openssl("pkcs8", "-topk8", ...key, "rc4.key", "-v1", "PBE-SHA1-RC4-128", ...pass, ...old)
  openssl("pkcs8", "-topk8", ...key, "md5des.key", "-v1", "PBE-MD5-DES", ...pass, ...old)
  openssl("pkcs8", "-topk8", ...key, "v2des.key", "-v2", "des", ...pass, ...old)
  openssl("ec", "-des", ...key, "des.key", ...pass, ...old)
  openssl("ec", "-des3", ...key, "des3.key", ...pass)
  openssl("ec", ...key, "sec1.key")
  openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "der", ...key, "push.key.der")
  openssl("pkey", "-pubout", ...key, "public.key")
  openssl("pkey", "-pubout", "-outform", "der", ...key, "public.der")
  openssl("x509", "-in", "push.crt", "-outform", "der", "-out", "aps.cer")
  openssl("x509", "-in", "push.crt", "-trustout", "-addtrust", "clientAuth", "-out", "trusted.crt")
  writeFileSync(at("x509.crt"), read("push.crt").replaceAll("CERTIFICATE", "X509 CERTIFICATE"))
  openssl("crl2pkcs7", "-nocrl", "-certfile", "push.crt", "-out", "push.p7b")
  openssl("crl2pkcs7", "-nocrl", "-certfile", "push.crt", "-outform", "der", "-out", "push.p7b.der")
  openssl("req", "-new", "-key", "push.key", "-subj", "/CN=me", "-out", "push.csr")
  openssl("req", "-new", "-key", "push.key", "-subj", "/CN=me", "-outform", "der", "-out", "push.csr.der")
  openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "p384.sec1")
  openssl("pkcs8", "-topk8", "-nocrypt", "-in", "p384.sec1", "-out", "p384.key")
  openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key")
  openssl("rsa", "-traditional", "-in", "rsa.key", "-out", "pkcs1.key")
  openssl("ec", "-no_public", ...key, "half.sec1")
  openssl("pkcs8", "-topk8", "-nocrypt", "-in", "half.sec1", "-out", "half.key")
  openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit", "-out", "explicit.sec1")
  openssl("pkcs8", "-topk8", "-nocrypt", "-in", "explicit.sec1", "-out", "explicit.key")
  openssl("pkcs8", "-topk8", ...key, "aes.key", ...pass)
  writeFileSync(at("cut.key"), read("aes.key").replace(/\n[^\n]+\n[^\n]+\n(?=-----END)/, "\n"))
  openssl("pkcs8", "-topk8", ...key, "bf.key", "-v2", "bf-cbc", ...pass, ...old)
  writeFileSync(at("signed.pem"), read("push.p7b").replaceAll("PKCS7", "PKCS #7 SIGNED DATA"))
  const p12 = ["pkcs12", "-export", "-inkey", "push.key", ...pass]
  openssl(...p12, "-in", "push.crt", "-nomac", "-out", "nomac.p12")
  openssl(...p12, "-nocerts", "-out", "key.p12")
  openssl(...p12, "-in", "push.crt", "-nokeys", "-out", "crt.p12")
  for (const purpose of ["codeSigning", "serverAuth", "emailProtection", "clientAuth", "anyExtendedKeyUsage"]) {
    const use = ["-subj", "/UID=com.example.app/CN=me", "-addext", `extendedKeyUsage=${purpose}`]
    openssl("req", "-x509", "-key", "push.key", "-days", "30", ...use, "-out", `${purpose}.crt`)
  }
  openssl(...p12, "-in", "codeSigning.crt", "-out", "codeSigning.p12")
  writeFileSync(at("profile.plist"), "<?xml version=\"1.0\"?><!DOCTYPE plist><plist><dict/></plist>")
  openssl(
    "cms",
    "-sign",
    "-nodetach",
    "-binary",
    "-in",
    "profile.plist",
    "-signer",
    "push.crt",
    "-inkey",
    "push.key",
    "-outform",
    "der",
    "-out",
    "app.mobileprovision"
  )
  writeFileSync(at("chain.pem"), read("other.crt") + read("push.crt"))
  writeFileSync(at("all.pem"), read("other.crt") + read("push.key") + read("plain.crt") + read("push.crt"))
  writeFileSync(
    at("openssh.key"),
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n"
  )
  writeFileSync(at("page.html"), "<!DOCTYPE html><html>Sign in</html>")
  return { ...files, openssl }
})

const secret = Redacted.make("secret")

const today = Effect.suspend(() => TestClock.setTime(Date.now()))

layer(Layer.effect(Files, made), { timeout: "60 seconds" })("mistaken", (it) => {
  const readCertificate = (certificate: string, key?: string, passphrase?: Redacted.Redacted) =>
    Effect.flatMap(Files, ({ at }) =>
      Credential.read({
        certificate: { file: at(certificate) },
        certificateKey: key === undefined ? undefined : { file: at(key) },
        passphrase
      }))

  const readKey = (key: string) =>
    Effect.flatMap(
      Files,
      ({ at }) => Credential.read({ key: { file: at(key) }, keyId: "ABC123DEFG", teamId: "DEF123GHIJ" })
    )

  it.effect.each<[string, Parameters<typeof readCertificate>]>([
    ["DER, with its key beside it", ["aps.cer", "push.key"]],
    ["and key in DER", ["aps.cer", "push.key.der"]],
    ["TRUSTED CERTIFICATE", ["trusted.crt", "push.key"]],
    ["X509 CERTIFICATE", ["x509.crt", "push.key"]],
    ["its authority before it", ["chain.pem", "push.key"]],
    ["others and the key before it", ["all.pem"]],
    ["a key in the form of SEC 1", ["push.crt", "sec1.key"]],
    ["a key in 3DES", ["push.crt", "des3.key", secret]]
  ])("a certificate is read from %s", ([, names]) =>
    Effect.gen(function*() {
      yield* today
      const { read } = yield* Files
      const { defaultTopic, tls } = yield* readCertificate(...names)
      assert.strictEqual(defaultTopic, "com.example.app")
      assert.strictEqual(("cert" in tls ? tls.cert : "").slice(0, read("push.crt").length), read("push.crt"))
      const key = Redacted.value("key" in tls ? tls.key : secret)
      assert.isTrue(Crypto.createPrivateKey(key).equals(Crypto.createPrivateKey(read("push.key"))))
    }))

  type Tag = CredentialError["reason"]["_tag"]

  it.effect.each<[string, Parameters<typeof readCertificate>, Tag, RegExp]>([
    ["a key in RC2", ["push.crt", "rc2.key", secret], "KeyInvalid", /RC2.*openssl pkey -provider legacy/],
    ["a key in RC4", ["push.crt", "rc4.key", secret], "KeyInvalid", /RC4.*openssl pkey -provider legacy/],
    ["a key in DES, PKCS #5", ["push.crt", "md5des.key", secret], "KeyInvalid", /DES.*openssl pkey -provider legacy/],
    ["a key in DES, PBES2", ["push.crt", "v2des.key", secret], "KeyInvalid", /DES.*openssl pkey -provider legacy/],
    ["a key in DES, PEM", ["push.crt", "des.key", secret], "KeyInvalid", /DES-CBC.*openssl pkey -provider legacy/],
    [
      "a wrong passphrase in 3DES",
      ["push.crt", "des3.key", Redacted.make("no")],
      "PassphraseWrong",
      /does not decrypt/
    ],
    ["no passphrase in 3DES", ["push.crt", "des3.key"], "PassphraseWrong", /set its passphrase/],
    ["DER without a key", ["aps.cer"], "KeyInvalid", /no key.*\.p12.*openssl x509 -inform der -in aps\.cer/],
    ["a request", ["push.csr", "push.key"], "CertificateInvalid", /certificate request: upload it/],
    ["a request in DER", ["push.csr.der", "push.key"], "CertificateInvalid", /certificate request: upload it/],
    ["PKCS #7", ["push.p7b", "push.key"], "CertificateInvalid", /PKCS #7.*openssl pkcs7 -print_certs/],
    ["PKCS #7 in DER", ["push.p7b.der", "push.key"], "CertificateInvalid", /PKCS #7.*openssl pkcs7 -print_certs/],
    ["a profile", ["app.mobileprovision"], "CertificateInvalid", /provisioning profile/],
    ["a public key", ["push.crt", "public.key"], "KeyInvalid", /public key.*private/],
    ["a public key in DER", ["push.crt", "public.der"], "KeyInvalid", /public key.*private/],
    ["a request for the key", ["push.crt", "push.csr"], "KeyInvalid", /certificate request/],
    ["PKCS #12 for the key", ["push.crt", "push.p12", secret], "KeyInvalid", /PKCS #12: use it as the certificate/],
    ["a key of OpenSSH", ["push.crt", "openssh.key"], "KeyInvalid", /OpenSSH.*ssh-keygen/],
    ["another's key, and authorities", ["chain.pem", "plain.key"], "KeyMismatch", /does not belong/],
    ["a key for the certificate", ["push.key.der", "push.key"], "CertificateInvalid", /swapped/],
    ["a key in Blowfish", ["push.crt", "bf.key", secret], "KeyInvalid", /old cipher.*openssl pkey -provider legacy/],
    ["an encrypted key that is cut short", ["push.crt", "cut.key", secret], "KeyInvalid", /damaged/],
    ["PKCS #7 with its long name", ["signed.pem", "push.key"], "CertificateInvalid", /PKCS #7.*openssl pkcs7/],
    [
      "a wrong passphrase, no MAC",
      ["nomac.p12", undefined, Redacted.make("no")],
      "PassphraseWrong",
      /does not decrypt/
    ],
    ["no passphrase, no MAC", ["nomac.p12"], "PassphraseWrong", /set its passphrase/],
    ["PKCS #12 with a key alone", ["key.p12", undefined, secret], "CertificateInvalid", /a key and no certificate/],
    ["PKCS #12 without its key", ["crt.p12", undefined, secret], "CertificateInvalid", /no private key/],
    ["for signing code", ["codeSigning.crt", "push.key"], "CertificateInvalid", /signing code.*Apple Push Services/],
    ["the same as PKCS #12", ["codeSigning.p12", undefined, secret], "CertificateInvalid", /signing code/],
    ["a server's", ["serverAuth.crt", "push.key"], "CertificateInvalid", /for servers/],
    ["for mail", ["emailProtection.crt", "push.key"], "CertificateInvalid", /for mail/],
    ["a page", ["page.html"], "CertificateInvalid", /neither PEM nor PKCS #12/]
  ])("%s is recognised", ([, names, tag, words]) =>
    Effect.gen(function*() {
      yield* today
      const error = yield* Effect.flip(readCertificate(...names))
      assert.strictEqual(error.reason._tag, tag, error.message)
      assert.match(error.message, words)
    }))

  it.effect.each<[string, string, RegExp]>([
    ["SEC 1", "sec1.key", /SEC 1.*openssl pkcs8 -topk8 -nocrypt/],
    ["an encrypted one", "encrypted.key", /encrypted.*openssl pkcs8 -topk8 -nocrypt/],
    ["an encrypted one of the older form", "des3.key", /encrypted.*openssl pkcs8 -topk8 -nocrypt/],
    ["another curve", "p384.key", /secp384r1.*P-256/],
    ["RSA, PKCS #8", "rsa.key", /rsa.*P-256/],
    ["RSA, PKCS #1", "pkcs1.key", /RSA key/],
    ["a public key", "public.key", /public key/],
    ["a certificate", "push.crt", /it is a certificate/],
    ["a certificate in DER", "aps.cer", /it is a certificate/],
    ["PKCS #12", "push.p12", /PKCS #12.*use it as the certificate/],
    ["a request", "push.csr", /certificate request/],
    ["PKCS #7", "push.p7b", /PKCS #7/],
    ["a profile", "app.mobileprovision", /provisioning profile/],
    ["a page", "page.html", /neither PEM/]
  ])("instead of Apple's key, %s is recognised", ([, file, words]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(readKey(file))
      assert.strictEqual(error.reason._tag, "KeyInvalid")
      assert.match(error.message, words)
    }))

  it.effect("a certificate may be for clients or for any purpose", () =>
    Effect.gen(function*() {
      yield* today
      for (const name of ["clientAuth.crt", "anyExtendedKeyUsage.crt"]) yield* readCertificate(name, "push.key")
    }))

  it.effect("a key of another tool is read without its public key and with its curve expanded", () =>
    Effect.gen(function*() {
      for (const name of ["half.key", "explicit.key"]) {
        const { providerToken } = yield* readKey(name)
        assert.isDefined(yield* providerToken!.current)
      }
    }))

  it.effect("a directory is recognised", () =>
    Effect.gen(function*() {
      assert.match((yield* Effect.flip(readKey("."))).message, /it is a directory/)
    }))

  it.effect("the suggested commands work", () =>
    Effect.gen(function*() {
      yield* today
      const { at, openssl } = yield* Files
      const passwords = ["-passin", "pass:secret", "-passout", "pass:secret"]
      for (const name of ["rc2.key", "rc4.key", "md5des.key", "v2des.key", "des.key"]) {
        openssl(
          "pkey",
          "-provider",
          "legacy",
          "-provider",
          "default",
          "-in",
          name,
          "-aes256",
          "-out",
          "new.key",
          ...passwords
        )
        yield* readCertificate("push.crt", "new.key", secret)
      }
      for (const name of ["sec1.key", "encrypted.key", "des3.key"]) {
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", name, "-out", "AuthKey.p8", "-passin", "pass:secret")
        yield* readKey("AuthKey.p8")
      }
      openssl("x509", "-inform", "der", "-in", "aps.cer", "-out", "aps.pem")
      yield* readCertificate("aps.pem", "push.key")
      openssl("pkcs7", "-print_certs", "-in", "push.p7b", "-out", "push.pem")
      yield* readCertificate("push.pem", "push.key")
      openssl("pkcs7", "-print_certs", "-inform", "der", "-in", "push.p7b.der", "-out", "push.pem")
      yield* readCertificate("push.pem", "push.key")
      openssl("pkcs12", "-legacy", "-in", "legacy.p12", "-nodes", "-out", "push.pem", "-passin", "pass:secret")
      yield* readCertificate("push.pem")
      assert.isAbove(readFileSync(at("push.pem")).length, 0)
    }))

  it.effect("authorities are read from plain text, from bytes and in DER", () =>
    Effect.gen(function*() {
      yield* today
      const { at, read } = yield* Files
      const options = { certificate: { file: at("push.crt") }, certificateKey: { file: at("push.key") } }
      const authorities: ReadonlyArray<Credential.CommonOptions["ca"]> = [
        read("push.crt"),
        readFileSync(at("push.crt")),
        readFileSync(at("aps.cer")),
        Redacted.make(read("push.crt")),
        { file: at("aps.cer") },
        read("trusted.crt")
      ]
      for (const ca of authorities) {
        assert.strictEqual((yield* Credential.read({ ...options, ca })).tls.ca, read("push.crt"))
      }
      const error = yield* Effect.flip(Credential.read({ ...options, ca: readFileSync(at("crt.p12")) }))
      assert.match(error.message, /PKCS #12.*openssl pkcs12/)
      for (const ca of ["ca.pem", read("push.csr"), read("push.key"), new Uint8Array(0)]) {
        const error = yield* Effect.flip(Credential.read({ ...options, ca }))
        assert.match(error.message, /the given authority is not a usable certificate/)
      }
    }))
})
