/** Push certificates like Apple's, made on the spot. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { folder } from "../../support/folder.ts"

/** A subject with the app, and Apple's extension with what may be pushed to it. */
const configuration = (bundleId: string, extension: boolean) => `
[req]
distinguished_name = subject
prompt = no
${extension ? "x509_extensions = extensions" : ""}
[subject]
UID = ${bundleId}
CN = Apple Push Services: ${bundleId}
[extensions]
1.2.840.113635.100.6.3.6 = ASN1:SEQUENCE:topics
[topics]
a = UTF8:${bundleId}
b = SEQUENCE:app
c = UTF8:${bundleId}.voip
d = SEQUENCE:voip
[app]
a = UTF8:app
[voip]
a = UTF8:voip
`

/** What stands around the blocks of a PEM file that Keychain Access has exported. */
const bagAttributes = "Bag Attributes\n    friendlyName: Apple Push Services\nKey Attributes: <No Attributes>\n"

/** A folder with certificates, and how to make more of them. The passphrase is always `secret`. */
export const certificates = Effect.map(folder, (path) => {
  const at = (name: string) => join(path, name)
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "ignore", cwd: path })
  const pass = ["-passout", "pass:secret"]

  /** `NAME.crt` and `NAME.key`. */
  const make = (name: string, bundleId: string, { days = 365, extension = true } = {}) => {
    writeFileSync(at("openssl.cnf"), configuration(bundleId, extension))
    openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.crt`,
      "-days",
      String(days),
      "-config",
      "openssl.cnf"
    )
  }

  make("push", "com.example.app")
  make("other", "com.example.other")
  make("plain", "com.example.plain", { extension: false })
  openssl("pkcs8", "-topk8", "-in", "push.key", "-out", "encrypted.key", ...pass)
  const p12 = ["pkcs12", "-export", "-in", "push.crt"]
  openssl(...p12, "-inkey", "push.key", "-out", "push.p12", ...pass)
  openssl(...p12, "-inkey", "push.key", "-out", "open.p12", "-passout", "pass:")
  openssl(...p12, "-inkey", "push.key", "-out", "legacy.p12", "-legacy", ...pass)
  openssl(...p12, "-nokeys", "-out", "nokey.p12", ...pass)
  writeFileSync(
    at("both.pem"),
    bagAttributes + readFileSync(at("push.crt"), "utf8") + bagAttributes + readFileSync(at("push.key"), "utf8")
  )
  writeFileSync(at("text.txt"), "hello\n")
  return { at, make, read: (name: string) => readFileSync(at(name), "utf8") }
})
