/** URLs of PostgreSQL: what they mean, what is refused, and that no message shows a password. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import * as PostgresUrl from "../../../src/internal/postgresUrl.ts"

const messageOf = (url: string) => Result.getOrThrow(Result.flip(BrokerUrl.parse(url))).message

describe("a URL of PostgreSQL", () => {
  it("names hosts, a user, a password and a database", () => {
    const { password, query, ...address } = Result.getOrThrow(
      PostgresUrl.parse("postgres://a%40b:p%3A%2F@db1,[::1]:5433/app%20one?schema=jobs")
    )
    assert.deepStrictEqual(address, {
      hosts: [{ host: "db1", port: 5432 }, { host: "::1", port: 5433 }],
      user: "a@b",
      database: "app one"
    })
    assert.strictEqual(Redacted.value(password!), "p:/")
    assert.strictEqual(query.get("schema"), "jobs")
  })

  it("has options", () => {
    const parsed = Result.getOrThrow(
      BrokerUrl.parse(
        "postgresql://u:p@db/app?schema=jobs&migrate=false&durability=normal&history=1d&sslmode=require&reconnect-for=5m" +
          "&pooler=transaction&poll=200ms&listen=postgres%3A%2F%2Fdb%3A5432%2Fapp"
      )
    )
    if (parsed._tag !== "Postgres") return assert.fail(parsed._tag)
    const { history, listen, poll, reconnectFor, url, ...rest } = parsed
    assert.deepStrictEqual(history, Duration.days(1))
    assert.strictEqual(Redacted.value(url), "postgresql://u:p@db/app")
    assert.deepStrictEqual(reconnectFor, Duration.minutes(5))
    assert.deepStrictEqual(poll, Duration.millis(200))
    assert.strictEqual(Redacted.value(listen!), "postgres://db:5432/app")
    assert.deepStrictEqual(rest, {
      _tag: "Postgres",
      hosts: [{ host: "db", port: 5432 }],
      schema: "jobs",
      migrate: false,
      durability: "normal",
      sslmode: "require",
      pooler: "transaction",
      tls: {},
      connectTimeout: undefined
    })
  })

  const refused: ReadonlyArray<readonly [url: string, why: string]> = [
    ["postgres:app", "postgres://USER:PASSWORD@HOST:PORT/DATABASE"],
    ["postgres:///app", "the host is missing"],
    ["postgres://db,/app", "the host is missing"],
    ["postgres://db:0/app", "the port must be a number"],
    ["postgres://db:99999/app", "the port must be a number"],
    ["postgres://::1/app", "brackets"],
    ["postgres://db/app?sslmode=prefer", "sslmode must be disable, require, verify-ca or verify-full"],
    ["postgres://db/app?pooler=session", "pooler must be auto, none or transaction"],
    ["postgres://db/app?poll=0s", "must be more than 0"],
    ["postgres://db/app?listen=db", "listen must be a URL of PostgreSQL"],
    ["postgres://db/app?listen=postgres%3A%2F%2Fdb%3Fa%3Db", "listen must be a URL of PostgreSQL without options"],
    ["postgres://db/app?migrate=yes", "migrate must be true or false"],
    ["postgres://db/app?colour=red", "there is no option"],
    ["postgres://db/app?schema=a&schema=b", "must be given once"],
    ["postgres://db/app?connect-timeout=0s", "must be more than 0"],
    ["postgres://db/app?ca=-----BEGIN%20CERTIFICATE-----", "ca must be the name of a file, not its content"],
    ["postgres://db/%ff", "percent-encoded"],
    ["postgres://app:123/4@db/app", "write / in a password as %2F"],
    ["postgres://u@db/app&sslmode=require", "options after ?"],
    ["postgres://u@db/app;schema=jobs", "options after ?"]
  ]

  it.each(refused)("%s is refused", (url, why) => assert.include(messageOf(url), why))

  it.each([
    "postgres://u:verysecret@db:99999/app",
    "postgres://u:verysecret@/app",
    "postgres://u:very@secret:verysecret@db/app?x=1",
    "postgres://u:verysecret%40db/app",
    "postgres://u:verysecret@db/app?password=verysecret",
    "postgres://u:123/verysecret@db/app",
    "postgres://u@db/app&password=verysecret",
    "postgres://u@db/app;pwd=verysecret?schema=jobs",
    "postgres://u@db/app password = 'verysecret verysecret'",
    "host=db user=u password=verysecret",
    "host=db user=u password='very secret verysecret' port=5432",
    "postgresql://verysecret@db/app?key=-----BEGIN verysecret",
    "postgresql://db/app?pooler=x&listen=postgres%3A%2F%2Fu%3Averysecret%40db"
  ])("no message shows the password of %s", (url) => {
    assert.notInclude(messageOf(url), "verysecret")
  })
})
