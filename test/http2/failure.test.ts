/** What may pass by itself and what somebody has to mend, and what of a peer's words is shown. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import type * as Net from "node:net"
import * as Connection from "../../src/http2/Connection.ts"
import { connectFailure, cutDetail, lookupFailure, plain, tlsFailure } from "../../src/http2/dial/failure.ts"
import { certificates } from "../support/certificates.ts"
import * as Servers from "../support/http2Servers.ts"
import { scripted } from "../support/network.ts"

const coded = (code: string, message = code): Error => Object.assign(new Error(message), { code })

describe("a handshake", () => {
  const alert = (number: number) => Buffer.from([0x15, 3, 3, 0, 2, 2, number])

  const peers: ReadonlyArray<readonly [string, (socket: Net.Socket) => void, string]> = [
    ["closes", (socket) => socket.end(), "Unreachable"],
    ["resets", (socket) => socket.resetAndDestroy(), "Unreachable"],
    ["closes within a record", (socket) => socket.end(Buffer.from([0x16, 3, 3, 0, 90, 2, 0])), "Unreachable"],
    ["says good-bye", (socket) => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 1, 0])), "Unreachable"],
    ["fails (80)", (socket) => socket.write(alert(80)), "Unreachable"],
    ["gives up (90)", (socket) => socket.write(alert(90)), "Unreachable"],
    ["got other bytes (20)", (socket) => socket.write(alert(20)), "Unreachable"],
    ["has no cipher in common (40)", (socket) => socket.write(alert(40)), "TlsRejected Handshake"],
    ["has no version in common (70)", (socket) => socket.write(alert(70)), "TlsRejected Handshake"],
    ["does not know the name (112)", (socket) => socket.write(alert(112)), "TlsRejected Handshake"],
    ["refuses the certificate (42)", (socket) => socket.write(alert(42)), "TlsRejected ClientCertificate"],
    ["has revoked it (44)", (socket) => socket.write(alert(44)), "TlsRejected ClientCertificate"],
    ["finds it expired (45)", (socket) => socket.write(alert(45)), "TlsRejected ClientCertificate"],
    ["does not know its authority (48)", (socket) => socket.write(alert(48)), "TlsRejected ClientCertificate"],
    ["wants one (116)", (socket) => socket.write(alert(116)), "TlsRejected ClientCertificate"],
    ["refuses h2 (120)", (socket) => socket.write(alert(120)), "NotHttp2"]
  ]

  it.live.each(peers)("of a peer that %s", ([, script, expected]) =>
    Effect.gen(function*() {
      const port = yield* scripted((socket) => socket.once("data", () => script(socket)))
      const { reason } = yield* Effect.flip(Effect.scoped(
        Connection.make({ host: "127.0.0.1", port, connectTimeout: "5 seconds" })
      ))
      const kind = reason._tag === "TlsRejected" ? ` ${reason.kind}` : ""
      assert.strictEqual(`${reason._tag}${kind}`, expected)
    }))

  it.each([
    "ERR_SSL_UNEXPECTED_EOF_WHILE_READING",
    "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "ERR_SSL_LENGTH_MISMATCH",
    "ECONNRESET",
    "EPIPE",
    "ETIMEDOUT"
  ])("that fails with %s is transient", (code) => {
    assert.strictEqual(tlsFailure("s", coded(code)).reason._tag, "Unreachable")
  })

  it.each([
    ["CERT_HAS_EXPIRED", "Expired"],
    ["CERT_NOT_YET_VALID", "Expired"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "Untrusted"],
    ["INVALID_PURPOSE", "Untrusted"],
    ["INVALID_CA", "Untrusted"],
    ["CERT_REVOKED", "Untrusted"],
    ["PATH_LENGTH_EXCEEDED", "Untrusted"],
    ["HOSTNAME_MISMATCH", "WrongHost"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "WrongHost"],
    ["ERR_SSL_UNSUPPORTED_PROTOCOL", "Handshake"]
  ])("that fails with %s is permanent", (code, kind) => {
    const { reason } = tlsFailure("s", coded(code))
    assert.strictEqual(reason._tag === "TlsRejected" ? String(reason.kind) : reason._tag, kind)
  })
})

describe("a certificate", () => {
  it.live("for clients only is reported as that, and is permanent", () =>
    Effect.gen(function*() {
      const certs = yield* certificates
      const cwd = certs.path(".")
      writeFileSync(certs.path("usage.cnf"), "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:localhost")
      const args = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -out only.crt -days 2 -extfile usage.cnf"
      execFileSync("openssl", args.split(" "), { cwd, stdio: "ignore" })
      const cert = readFileSync(certs.path("only.crt"), "utf8")
      const port = yield* Servers.scriptedTls({ cert, key: certs.server.key }, () => {})
      const { reason } = yield* Effect.flip(Effect.scoped(
        Connection.make({ host: "localhost", port, tls: { ca: certs.ca }, connectTimeout: "5 seconds" })
      ))
      assert.deepInclude({ ...reason }, { _tag: "TlsRejected", kind: "Untrusted" })
      assert.include(reason.message, "serverAuth")
    }))
})

describe("a name", () => {
  it.each([
    ["ENOTFOUND", "the name does not exist"],
    ["EAI_AGAIN", "the name server did not answer"],
    ["ETIMEOUT", "ETIMEOUT"],
    ["ESERVFAIL", "ESERVFAIL"]
  ])("that fails with %s is transient, with a reason of its own", (code, what) => {
    const { reason } = lookupFailure("api.example.org", coded(code))
    assert.strictEqual(reason._tag, "HostNotFound")
    assert.include(reason.message, what)
  })
})

describe("text of a peer in an error", () => {
  const hostile = "a\u001b[31m\r\nERROR forged\u202e\u009b\u0007"
  const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

  it("is escaped and short, in the message and in the cause", () => {
    const errors: ReadonlyArray<{ readonly message: string; readonly cause: unknown }> = [
      ...[
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "CERT_HAS_EXPIRED",
        "ERR_SSL_X",
        "SELF_SIGNED_CERT_IN_CHAIN",
        "EOTHER",
        hostile
      ]
        .map((code) => tlsFailure("s", coded(code, hostile.repeat(10_000))).reason),
      lookupFailure("h", coded(hostile, hostile.repeat(10_000))).reason,
      connectFailure("s", coded("EOTHER", hostile.repeat(10_000))).reason
    ].map((reason) => ({ message: reason.message, cause: "cause" in reason ? reason.cause : undefined }))
    for (const { cause, message } of errors) {
      assert.notMatch(message, unsafe)
      assert.isBelow(message.length, 5000)
      const text = cause instanceof Error ? `${cause.message} ${cause.stack}` : String(cause ?? "")
      assert.notMatch(text.replaceAll("\n", ""), unsafe)
      assert.isBelow(text.length, 10_000)
    }
    assert.notMatch(cutDetail(coded(hostile, hostile)), unsafe)
  })

  it("is read safely, even if it throws or is missing", () => {
    const unreadable = new Proxy(new Error("x"), {
      get: (target, key) => {
        if (key === "message") throw new Error("no")
        return Reflect.get(target, key)
      }
    })
    assert.include(tlsFailure("s", unreadable).message, "can't be read")
    for (const cause of [undefined, null, 7, "text", {}, Object.create(null), Symbol("s")]) {
      assert.isString(tlsFailure("s", cause).message)
      assert.isString(cutDetail(cause))
      plain(cause)
    }
  })

  it("does not carry the peer's certificate", () => {
    const cause = Object.assign(coded("ERR_TLS_CERT_ALTNAME_INVALID"), { cert: { subject: { CN: hostile } } })
    assert.notProperty(plain(cause), "cert")
    assert.propertyVal(plain(cause), "code", "ERR_TLS_CERT_ALTNAME_INVALID")
  })
})
