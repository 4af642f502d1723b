/** Keys and certificates work after their line ends were changed. */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import * as ApnsConfig from "../../../src/push/apns/ApnsConfig.ts"
import * as Credential from "../../../src/push/apns/credential/Credential.ts"
import * as Material from "../../../src/push/credential/KeyMaterial.ts"
import * as TestCertificate from "../../../src/testing/push/Certificate.ts"
import { cpuMillis } from "../../support/cpu.ts"
import { allow, withManyCases } from "../../support/limits.ts"

allow(withManyCases)

const { privateKey } = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
const p8 = privateKey.export({ type: "pkcs8", format: "pem" }) as string
const ids = { keyId: "ABC123DEFG", teamId: "DEF123GHIJ" }

/** What happens to a text in forms, variables, YAML, JSON, editors and terminals. */
const ways: ReadonlyArray<readonly [string, (pem: string) => string]> = [
  ["as it is", (pem) => pem],
  ["in one line", (pem) => pem.replaceAll("\n", "")],
  ["in one line, with blanks", (pem) => pem.replaceAll("\n", " ")],
  ["indented", (pem) => pem.replace(/^/gm, "    ")],
  ["indented by tabs", (pem) => pem.replace(/^/gm, "\t")],
  ["with blanks at the ends of lines", (pem) => pem.replaceAll("\n", "  \n")],
  ["with CRLF", (pem) => pem.replaceAll("\n", "\r\n")],
  ["with CR alone", (pem) => pem.replaceAll("\n", "\r")],
  ["with \\n", (pem) => pem.replaceAll("\n", "\\n")],
  ["with \\r\\n", (pem) => pem.replaceAll("\n", "\\r\\n")],
  ["with \\\\n", (pem) => pem.replaceAll("\n", "\\\\n")],
  ["with \\\\r\\\\n", (pem) => pem.replaceAll("\n", "\\\\r\\\\n")],
  ["with \\u000a", (pem) => pem.replaceAll("\n", "\\u000a")],
  ["with \\n and line ends", (pem) => pem.replaceAll("\n", "\\n\n")],
  ["with \\ at the ends of lines", (pem) => pem.replaceAll("\n", "\\\n")],
  ["with blank lines", (pem) => pem.replaceAll("\n", "\n\n")],
  ["in double quotes", (pem) => `"${pem}"`],
  ["in quotes, as JSON", (pem) => JSON.stringify(pem)],
  ["in quotes, as JSON within JSON", (pem) => JSON.stringify(JSON.stringify(pem))],
  ["in single quotes", (pem) => `'${pem.trim()}'`],
  ["with a mark of byte order", (pem) => `\ufeff${pem}`],
  ["without its last line end", (pem) => pem.trimEnd()],
  ["without its last line", (pem) => pem.replace(/-----END[^]*$/, "")],
  ["without blanks", (pem) => pem.replace(/\s/g, "")],
  ["in lines of 76", (pem) => pem.replace(/\n(?!-)/g, "").replace(/([A-Za-z0-9+/=]{76})/g, "$1\n")],
  ["with text around it", (pem) => `Bag Attributes\n    friendlyName: me\n${pem}\nbye\n`],
  ["as base64 of the file", (pem) => Buffer.from(pem).toString("base64")],
  ["as base64 of the file in lines", (pem) => Buffer.from(pem).toString("base64").replace(/.{76}/g, "$&\r\n")],
  ["as base64 of the file in quotes", (pem) => `"${Buffer.from(pem).toString("base64")}"`],
  ["as JSON of .NET, with \\u002B for +", (pem) => JSON.stringify(pem).replaceAll("+", "\\u002B")],
  ["as JSON of PHP, with \\/ for /", (pem) => JSON.stringify(pem).replaceAll("/", "\\/")],
  ["with \\x0a and \\x2b", (pem) => pem.replaceAll("\n", "\\x0a").replaceAll("+", "\\x2b")],
  ["with \\012", (pem) => pem.replaceAll("\n", "\\012")],
  ["as a part of a URL", (pem) => encodeURIComponent(pem)],
  ["as a field of a form", (pem) => new URLSearchParams({ pem }).toString().slice(4)],
  ["with %0A alone", (pem) => pem.replaceAll("\n", "%0A")],
  ["as HTML", (pem) => pem.replaceAll("\n", "&#10;").replaceAll("+", "&#x2B;").replaceAll("=", "&#x3D;")],
  ["with <br>", (pem) => pem.replaceAll("\n", "<br>\n")],
  ["with em dashes", (pem) => pem.replaceAll("-----", "\u2014\u2014-")],
  ["with hyphens that don't break", (pem) => pem.replaceAll("-", "\u2011")],
  ["with four dashes", (pem) => pem.replaceAll("-----", "----")],
  ["with six dashes", (pem) => pem.replaceAll("-----", "------")],
  ["with blanks beside the dashes", (pem) => pem.replace(/-----(BEGIN|END)([^-]+)-----/g, "----- $1$2 -----")],
  ["with BEGIN and END in lower case", (pem) => pem.replace(/-----[^-]+-----/g, (line) => line.toLowerCase())],
  ["with blanks that don't break", (pem) => pem.replaceAll(" ", "\u00a0").replaceAll("\n", "\u00a0\n")],
  ["with marks of direction", (pem) => pem.replace(/^|$/gm, "\u200e")],
  ["with soft hyphens", (pem) => pem.replace(/.{30}/g, "$&\u00ad")],
  ["quoted in a letter", (pem) => pem.replace(/^/gm, "> ")],
  ["with semicolons", (pem) => pem.replaceAll("\n", ";")],
  ["with U+0085 at the ends of lines", (pem) => pem.replaceAll("\n", "\u0085")],
  ["as base64 of base64", (pem) => Buffer.from(Buffer.from(pem).toString("base64")).toString("base64")],
  ["as base64 of the file, with a prefix", (pem) => `base64:${Buffer.from(pem).toString("base64")}`],
  ["as a data URL", (pem) => `data:application/x-pem-file;base64,${Buffer.from(pem).toString("base64")}`],
  ["as base64 of the file in curly quotes", (pem) => `\u201c${Buffer.from(pem).toString("base64")}\u201d`],
  ["without BEGIN and END", (pem) => pem.replace(/-----[^-]+-----/g, "")],
  ["without BEGIN and END, with \\n", (pem) => pem.replace(/-----[^-]+-----/g, "").replaceAll("\n", "\\n")],
  ["without BEGIN and END, indented, in quotes", (pem) => `" ${pem.replace(/-----[^-]+-----/g, "")}"`]
]

const fromVariables = (variables: Record<string, string>) =>
  Effect.flatMap(ApnsConfig.load, ({ credential }) => Credential.read(credential)).pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables })))
  )

const isSame = (pem: Redacted.Redacted | undefined, key: string) =>
  Crypto.createPrivateKey(Redacted.value(pem!)).equals(Crypto.createPrivateKey(key))

describe("a key", () => {
  it.effect.each(ways)("is read %s", ([, way]) =>
    Effect.gen(function*() {
      const text = way(p8)
      for (const key of [Redacted.make(text), Redacted.make(Buffer.from(text))]) {
        assert.isDefined((yield* Credential.read({ key, ...ids })).providerToken)
      }
      const variables = { BACKQ_APNS_KEY: text, BACKQ_APNS_KEY_ID: ids.keyId, BACKQ_APNS_TEAM_ID: ids.teamId }
      assert.isDefined((yield* fromVariables(variables)).providerToken)
    }))

  it.effect("is read as DER", () =>
    Effect.gen(function*() {
      const key = Redacted.make(privateKey.export({ type: "pkcs8", format: "der" }))
      assert.isDefined((yield* Credential.read({ key, ...ids })).providerToken)
    }))
})

describe("a certificate with its key", () => {
  it.effect.each(ways)("is read %s", ([, way]) =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 0))
      const authority = yield* TestCertificate.makeAuthority
      const { cert, key } = yield* authority.issue({ topics: ["com.example.app"] })
      const credential = yield* Credential.read({
        certificate: Redacted.make(way(cert)),
        certificateKey: Redacted.make(way(key)),
        ca: way(authority.cert)
      })
      assert.strictEqual(credential.defaultTopic, "com.example.app")
      const { ca, cert: shown, key: used } = credential.tls as { ca: string; cert: string; key: Redacted.Redacted }
      assert.strictEqual(shown, cert)
      assert.strictEqual(ca, authority.cert)
      assert.isTrue(isSame(used, key))
      const both = yield* fromVariables({
        BACKQ_APNS_CERTIFICATE: way(cert),
        BACKQ_APNS_CERTIFICATE_KEY: way(key)
      })
      assert.deepStrictEqual(both.topics, ["com.example.app"])
    }))

  it.effect("is read from one text with its authority, in any order", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 0))
      const authority = yield* TestCertificate.makeAuthority
      const { cert, key } = yield* authority.issue({ topics: ["com.example.app"] })
      const parts = [authority.cert, cert, key]
      for (const [a, b, c] of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
        for (const separator of ["", "\n", " "]) {
          const text = [parts[a!], parts[b!], parts[c!]].map((part) => part!.trim()).join(separator)
          const { defaultTopic, tls } = yield* Credential.read({ certificate: Redacted.make(text) })
          assert.strictEqual(defaultTopic, "com.example.app")
          // the app's own comes first
          assert.strictEqual("cert" in tls ? tls.cert : "", cert + authority.cert)
          assert.isTrue(isSame("key" in tls ? tls.key : undefined, key))
        }
      }
    }))

  it.effect("is read with an encrypted key in any form", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 0))
      const { cert, key } = yield* (yield* TestCertificate.makeAuthority).issue()
      const passphrase = Redacted.make("secret")
      const cipher = { format: "pem", cipher: "aes-256-cbc", passphrase: "secret" } as const
      for (const type of ["pkcs8", "sec1"] as const) {
        const encrypted = Crypto.createPrivateKey(key).export({ ...cipher, type }) as string
        for (const [name, way] of ways) {
          // the older form has a header, and is no base64 alone
          if (type === "sec1" && name.startsWith("without BEGIN")) continue
          const credential = yield* Credential.read({
            certificate: Redacted.make(cert),
            certificateKey: Redacted.make(way(encrypted)),
            passphrase
          })
          assert.isTrue(isSame("key" in credential.tls ? credential.tls.key : undefined, key), `${type} ${name}`)
        }
      }
    }))
})

describe("incomplete content", () => {
  const body = p8.replace(/-----[^-]+-----|\s/g, "")

  it.effect.each<[string, string | Buffer, RegExp]>([
    [
      "cut short",
      `-----BEGIN PRIVATE KEY-----\n${body.slice(0, -40)}\n-----END PRIVATE KEY-----`,
      /damaged or incomplete/
    ],
    [
      "with something else in it",
      `-----BEGIN PRIVATE KEY-----\n${body.slice(0, 40)}…${body.slice(44)}`,
      /is not base64/
    ],
    ["empty", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", /damaged|neither PEM/],
    ["UTF-16", Buffer.from(p8, "utf16le"), /UTF-16.*iconv/],
    ["UTF-16 with its mark", Buffer.from(`\ufeff${p8}`, "utf16le"), /UTF-16/],
    ["UTF-16, the other way round", Buffer.from(`\ufeff${p8}`, "utf16le").swap16(), /UTF-16/],
    ["UTF-16 in base64", Buffer.from(p8, "utf16le").toString("base64"), /UTF-16/],
    ["too much", `${p8}${" ".repeat(Material.maxBytes)}`, /check that it is the right file/]
  ])("is reported as such: %s", ([, text, words]) =>
    Effect.gen(function*() {
      const given: Credential.KeyMaterial = Redacted.make(text)
      const key = yield* Effect.flip(Credential.read({ key: given, ...ids }))
      assert.match(key.message, words)
      assert.notInclude(key.message + JSON.stringify(key), body.slice(10, 30))
      const certificate = yield* Effect.flip(Credential.read({ certificate: given }))
      assert.strictEqual(certificate.reason._tag, "CertificateInvalid")
    }))

  it.effect("is reported even if only the dates of a certificate can't be read", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* (yield* TestCertificate.makeAuthority).issue()
      const der = Buffer.from(cert.replace(/-----[^-]+-----|\s/g, ""), "base64")
      der.write("209901", der.indexOf("200101000000Z"))
      const damaged: Credential.KeyMaterial = Redacted.make(der)
      const error = yield* Effect.flip(Credential.read({ certificate: damaged, certificateKey: Redacted.make(key) }))
      assert.match(error.message, /damaged/)
    }))

  it("is found in linear time", () => {
    const size = Material.maxBytes - 100
    const shapes = [
      "-----BEGIN A-----",
      "-----BEGIN ",
      "-----END A-----",
      "-",
      "\\",
      "\\n",
      "\\u00",
      "&#1",
      "%",
      "<br",
      "--",
      "-- ",
      "--BEGIN ",
      "--BEGIN A--",
      "\u2014",
      "\u200e",
      " ",
      "A",
      "A=",
      "-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: ",
      "Proc-Type:",
      "MIGTAgEA"
    ]
    for (const shape of shapes) {
      const text = shape.repeat(size / shape.length)
      const millis = cpuMillis(() => {
        Result.isSuccess(Material.read(Buffer.from(text)))
        Material.contentIn(text, "key")
        Material.isPath(text)
      })
      assert.isBelow(millis, 3000, shape)
    }
  })
})
