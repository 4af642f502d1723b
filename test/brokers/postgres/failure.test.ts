/** What each failure of the server means: its reason, its fate, what to do, and what the broker does. */
import { assert, describe, it } from "@effect/vitest"
import { DriverError, errorOfClient } from "../../../src/brokers/postgres/driver.ts"
import {
  failure,
  isDemoted,
  isSettingsRefused,
  isUndone,
  isWorthWaiting,
  tooOld
} from "../../../src/brokers/postgres/failure.ts"
import { objectionTo } from "../../../src/brokers/postgres/servers.ts"

type Does = "waits" | "stops" | "leaves the server" | "sends it again"

const asked = (phase: "connect" | "query", code: string | undefined, detail = "text", cause: unknown = undefined) =>
  new DriverError({ phase, code, detail, cause })

const doneAbout = (error: DriverError): Does => {
  if (isDemoted(error)) return "leaves the server"
  if (isUndone(error)) return "sends it again"
  return isWorthWaiting(failure("pg", "jobs", error)) ? "waits" : "stops"
}

const network = (code: string) => Object.assign(new Error(code), { code })

describe("a failure of the network", () => {
  it.each(["EPIPE", "ECONNRESET", "EPERM", "ENOMEM", "EPROTO"])("%s is no answer of the server", (code) => {
    const error = errorOfClient(network(code))
    assert.isUndefined(error.code)
    assert.include(failure("pg", "jobs", error).reason, { _tag: "Unavailable", fate: "Unknown" })
  })

  it.each(["40001", "57P01", "XX000", "HV00B", "P0001"])("%s is an answer of the server", (code) => {
    assert.strictEqual(errorOfClient(network(code)).code, code)
  })
})

describe("a failure of PostgreSQL", () => {
  const table: ReadonlyArray<
    readonly [is: string, error: DriverError, reason: string, fate: string | undefined, does: Does, says: RegExp]
  > = [
    ["57P01 while asked", asked("query", "57P01"), "Unavailable", "Unknown", "waits", /text/],
    ["57P01 at connect", asked("connect", "57P01"), "Unavailable", "NotSent", "waits", /text/],
    ["57P02", asked("query", "57P02"), "Unavailable", "Unknown", "waits", /text/],
    ["57P03", asked("connect", "57P03"), "Unavailable", "NotSent", "waits", /starts, stops or recovers/],
    ["57P04", asked("query", "57P04"), "Unavailable", "Unknown", "waits", /text/],
    ["57P05", asked("query", "57P05"), "Unavailable", "Unknown", "waits", /text/],
    ["25006", asked("query", "25006"), "Unavailable", "NotSent", "leaves the server", /standby or read-only.*hosts/],
    ["53300", asked("connect", "53300"), "Unavailable", "NotSent", "waits", /up to 3 connections.*max_connections/],
    ["53400", asked("connect", "53400"), "Unavailable", "NotSent", "waits", /up to 3 connections/],
    ["53100", asked("query", "53100"), "OutOfMemory", undefined, "waits", /free space/],
    ["53200", asked("query", "53200"), "OutOfMemory", undefined, "waits", /free space/],
    ["40001", asked("query", "40001"), "Unavailable", "NotSent", "sends it again", /text/],
    ["40P01", asked("query", "40P01"), "Unavailable", "NotSent", "sends it again", /text/],
    [
      "42501",
      asked("query", "42501", "permission denied for schema jobs"),
      "Unsupported",
      undefined,
      "stops",
      /GRANT USAGE ON SCHEMA "jobs" TO ROLE/
    ],
    [
      "42501 of a database",
      asked("query", "42501", "permission denied for database app"),
      "Unsupported",
      undefined,
      "stops",
      /GRANT CREATE ON DATABASE/
    ],
    [
      "42501 of an owner",
      asked("query", "42501", "must be owner of table job"),
      "Unsupported",
      undefined,
      "stops",
      /backq migrate --print/
    ],
    ["3F000", asked("query", "3F000"), "Unsupported", undefined, "stops", /backq migrate/],
    ["42P01", asked("query", "42P01"), "Unsupported", undefined, "stops", /backq migrate/],
    ["28P01", asked("connect", "28P01"), "Unavailable", "NotSent", "stops", /user and password/],
    ["28000", asked("connect", "28000"), "Unavailable", "NotSent", "stops", /pg_hba\.conf.*sslmode/],
    [
      "28000 of a certificate",
      asked("connect", "28000", "connection requires a valid client certificate"),
      "Unavailable",
      "NotSent",
      "stops",
      /cert=FILE and key=FILE/
    ],
    ["3D000", asked("connect", "3D000"), "Unavailable", "NotSent", "stops", /create the database/],
    ["42704 at connect", asked("connect", "42704"), "Unavailable", "NotSent", "stops", /13/],
    ["57014", asked("query", "57014"), "Unavailable", "NotSent", "waits", /30 seconds/],
    ["55P03", asked("query", "55P03"), "Unavailable", "NotSent", "waits", /holds a lock/],
    ["25P02", asked("query", "25P02"), "Unavailable", "NotSent", "waits", /roll back/],
    ["a closed socket", asked("query", undefined, "Connection closed"), "Unavailable", "Unknown", "waits", /closed/],
    [
      "ECONNREFUSED",
      asked("connect", undefined, "x", network("ECONNREFUSED")),
      "Unavailable",
      "NotSent",
      "waits",
      /PostgreSQL runs there/
    ],
    [
      "ENOTFOUND",
      asked("connect", undefined, "x", network("ENOTFOUND")),
      "Unavailable",
      "NotSent",
      "waits",
      /host name/
    ],
    ["ETIMEDOUT", asked("connect", undefined, "x", network("ETIMEDOUT")), "Unavailable", "NotSent", "waits", /network/],
    [
      "an untrusted certificate",
      asked("connect", undefined, "x", network("SELF_SIGNED_CERT_IN_CHAIN")),
      "Unavailable",
      "NotSent",
      "waits",
      /ca=FILE.*sslmode/
    ],
    [
      "a certificate of another name",
      asked("connect", undefined, "x", network("ERR_TLS_CERT_ALTNAME_INVALID")),
      "Unavailable",
      "NotSent",
      "waits",
      /sslmode=verify-ca/
    ],
    [
      "a server without TLS",
      asked("connect", undefined, "The server does not support TLS"),
      "Unavailable",
      "NotSent",
      "waits",
      /turn TLS on.*sslmode=disable/
    ],
    [
      "a pooler that refuses settings",
      asked("connect", "08P01", "unsupported startup parameter: jit"),
      "Unavailable",
      "NotSent",
      "stops",
      /pooler at auto.*ignore_startup_parameters/
    ],
    [
      "a pooler without a server",
      asked("query", "08P01", "query_wait_timeout"),
      "Unavailable",
      "NotSent",
      "waits",
      /query_wait_timeout/
    ],
    [
      "a pooler whose server is lost",
      asked("query", "08P01", "server conn crashed?"),
      "Unavailable",
      "Unknown",
      "waits",
      /crashed/
    ],
    ["any other code", asked("query", "XX000"), "Unavailable", "NotSent", "waits", /text/]
  ]

  it.each(table)("%s", (_, error, reason, fate, does, says) => {
    const failed = failure("pg", "jobs", error)
    assert.strictEqual(failed.reason._tag, reason)
    assert.strictEqual("fate" in failed.reason ? failed.reason.fate : undefined, fate)
    assert.match(failed.message, says)
    assert.strictEqual(doneAbout(error), does)
  })

  it("a text of the server can't break a line of the log", () => {
    const failed = failure("pg", "jobs", asked("query", "XX000", "a\nb\u001b[2J" + "x".repeat(10_000)))
    assert.notMatch(failed.message, /[\n\u001b]/)
    assert.isBelow(failed.message.length, 3000)
  })

  it("only a refusal at connect is a pooler's", () => {
    assert.isTrue(isSettingsRefused(asked("connect", "08P01", "unsupported startup parameter: jit")))
    assert.isFalse(isSettingsRefused(asked("query", "08P01", "unsupported startup parameter: jit")))
    assert.isFalse(isSettingsRefused(asked("connect", "08P01", "no more connections allowed")))
  })
})

describe("a server", () => {
  it("that is older than 13 is refused, and so is one that takes no writes", () => {
    const old = objectionTo("pg", { isOldVersion: true, isPrimary: true, version: "12.22" })
    assert.deepStrictEqual(old, tooOld("pg", "12.22"))
    assert.match(old!.message, /12\.22.*13 or newer/)
    assert.isFalse(isWorthWaiting(old!))
    const standby = objectionTo("pg", { isOldVersion: false, isPrimary: false, version: "15.1" })
    assert.match(standby!.message, /name the primary/)
    assert.isTrue(isWorthWaiting(standby!))
    assert.isUndefined(objectionTo("pg", { isOldVersion: false, isPrimary: true, version: "15.1" }))
  })
})
