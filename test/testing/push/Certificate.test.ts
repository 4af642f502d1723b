/** openssl and Node.js accept the certificates. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Certificate from "../../../src/testing/push/Certificate.ts"

const openssl = (...args: ReadonlyArray<string>): string => execFileSync("openssl", args, { encoding: "utf8" })

/** A file with this content, until the scope ends. */
const file = (content: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-certificates-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      const path = join(folder, "file.pem")
      writeFileSync(path, content)
      return path
    }
  )

const issue = Effect.fnUntraced(function*(options?: Certificate.IssueOptions) {
  const authority = yield* Certificate.makeAuthority
  const identity = yield* authority.issue(options)
  return { authority, identity, x509: new X509Certificate(identity.cert) }
})

describe("Certificate", () => {
  it.effect("passes openssl's strict verification for servers and clients", () =>
    Effect.gen(function*() {
      const { authority, identity } = yield* issue()
      const ca = yield* file(authority.cert)
      const cert = yield* file(identity.cert)
      const key = yield* file(identity.key)
      for (const purpose of ["sslserver", "sslclient"]) {
        assert.include(
          openssl("verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "localhost", "-CAfile", ca, cert),
          "OK"
        )
      }
      assert.include(openssl("verify", "-x509_strict", "-verify_ip", "127.0.0.1", "-CAfile", ca, cert), "OK")
      assert.strictEqual(openssl("x509", "-in", cert, "-noout", "-pubkey"), openssl("pkey", "-in", key, "-pubout"))
    }))

  it.effect("is for localhost by default, or for the given names", () =>
    Effect.gen(function*() {
      const { authority, x509 } = yield* issue()
      assert.strictEqual(x509.checkHost("localhost"), "localhost")
      assert.strictEqual(x509.checkIP("127.0.0.1"), "127.0.0.1")
      assert.strictEqual(x509.checkIP("::1"), "::1")
      assert.isUndefined(x509.checkHost("example.com"))
      assert.isFalse(x509.ca)
      assert.isTrue(new X509Certificate(authority.cert).ca)
      assert.isTrue(x509.checkIssued(new X509Certificate(authority.cert)))

      const other = yield* issue({ names: ["api.push.example", "2001:db8::7:1"] })
      assert.isDefined(other.x509.checkHost("api.push.example"))
      assert.isDefined(other.x509.checkIP("2001:db8::7:1"))
      assert.isUndefined(other.x509.checkHost("localhost"))
    }))

  it.effect("an authority only verifies its own certificates", () =>
    Effect.gen(function*() {
      const { x509 } = yield* issue()
      const stranger = new X509Certificate((yield* Certificate.makeAuthority).cert)
      assert.isFalse(x509.verify(stranger.publicKey))
    }))

  it.effect("is valid at the given times, in this century and the next", () =>
    Effect.gen(function*() {
      const notBefore = new Date("2021-02-03T04:05:06Z")
      const notAfter = new Date("2101-12-31T23:59:59Z")
      const { x509 } = yield* issue({ notBefore, notAfter })
      assert.deepStrictEqual(x509.validFromDate, notBefore)
      assert.deepStrictEqual(x509.validToDate, notAfter)
    }))

  it.effect("a push certificate names its topics like Apple's", () =>
    Effect.gen(function*() {
      const { identity, x509 } = yield* issue({
        commonName: "Apple Push Services: com.example.app",
        topics: ["com.example.app", "com.example.app.voip"]
      })
      assert.include(x509.subject, "UID=com.example.app")
      const cert = yield* file(identity.cert)
      const text = openssl("x509", "-in", cert, "-noout", "-text")
      assert.match(text, /1\.2\.840\.113635\.100\.6\.3\.6/)
      assert.include(text, "com.example.app.voip")
    }))

  it.effect("writes lengths of one, two and three bytes", () =>
    Effect.gen(function*() {
      for (const count of [1, 10, 300]) {
        const names = Array.from({ length: count }, (_, index) => `host-${index}.example.com`)
        const { authority, x509 } = yield* issue({ names })
        assert.strictEqual(x509.subjectAltName, names.map((name) => `DNS:${name}`).join(", "))
        assert.isTrue(x509.verify(new X509Certificate(authority.cert).publicKey))
      }
    }))
})
