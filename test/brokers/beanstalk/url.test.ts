/** `beanstalk://HOST:PORT` as a broker's URL: the settings that it reads, the errors, and the secrets that it never shows. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { run } from "../../cli/program.ts"
import { allow, withPrograms } from "../../support/limits.ts"

allow(withPrograms)

const errorOf = (url: string) => Result.getOrThrow(Result.flip(BrokerUrl.parse(url)))

describe("beanstalk:", () => {
  it.each([
    ["beanstalk://queue", "queue", 11300],
    ["beanstalk://queue:1", "queue", 1],
    ["beanstalk://queue:65535/", "queue", 65535],
    ["beanstalk://10.0.0.1:11301", "10.0.0.1", 11301],
    ["beanstalk://[::1]:11300", "::1", 11300],
    ["beanstalks://[2001:db8::7]?ca=/etc/a@b.pem", "2001:db8::7", 11300],
    ["beanstalk://b\u00fccher.example:1", "xn--bcher-kva.example", 1],
    ["beanstalk://b%C3%BCcher.example", "xn--bcher-kva.example", 11300],
    [" beanstalk://queue:11301 ", "queue", 11301],
    ["\tBEANSTALK://queue\r\n", "queue", 11300]
  ])("%s is read", (url, host, port) => {
    assert.deepInclude(Result.getOrThrow(BrokerUrl.parse(url)), { _tag: "Beanstalk", host, port })
  })

  it.each([
    ["beanstalk://::1:11300", /brackets.*\[::1\]/],
    ["beanstalk://::1", /brackets/],
    ["beanstalks://2001:db8::7:11300?ca=x", /brackets/],
    ["beanstalk://::1:11300/", /brackets/],
    ["beanstalk://fe80::1%eth0:11300", /brackets/],
    ["beanstalk://[fe80::1%25eth0]:11300", /zone/],
    ["beanstalk://[::1", /brackets/],
    ["beanstalk://::1]:11300", /brackets/],
    ["beanstalk://queue:11300:11300", /port must be a number/],
    ["beanstalk://a:1,b:2", /one server/],
    ["beanstalk://a,b:11300", /one server/],
    ["beanstalk://:11300", /host is missing/],
    ["beanstalk://que%20ue", /host must be a name or an address/],
    ["beanstalk://queue\u202egpj", /host must be a name or an address/],
    ["localhost:11300", /write beanstalk:\/\/localhost:11300/],
    ["10.0.0.1:11300", /write beanstalk:\/\/10\.0\.0\.1:11300/],
    ["\"beanstalk://queue\"", /without the quotes/],
    ["'sqlite:jobs.db'", /without the quotes/],
    ["beanstalk://queue:99999", /port must be a number from 1 to 65535/],
    ["beanstalk://queue:0", /port must be a number from 1 to 65535/],
    ["beanstalk://queue:http", /port must be a number/],
    ["beanstalk://", /host is missing/],
    ["beanstalk://queue/mail", /"\/mail" after the host/],
    ["beanstalk://queue#mail", /"#mail" at its end/],
    ["beanstalk://queue?connectTimeout=5s", /no option "connectTimeout", only connect-timeout, /],
    ["beanstalk://queue?max-job-size=9000", /the server sets max-job-size: start it with beanstalkd -z/],
    ["beanstalk://queue?ca=x.pem", /no option "ca"/],
    ["beanstalk://queue?reply-timeout=1s&reply-timeout=2s", /reply-timeout must be given once, but is given twice/],
    ["beanstalk://queue?reply-timeout=0s", /reply-timeout must be more than 0/],
    ["beanstalk://queue?connect-timeout=-5 seconds", /connect-timeout must not be negative/],
    ["beanstalk://queue?reconnect-for=soon", /reconnect-for must be a duration/],
    ["beanstalks://queue?min-version=1", /min-version must be TLSv1.2 or/],
    ["redis://queue", /no broker "redis:"/]
  ])("%s is refused", (url, says) => {
    assert.match(errorOf(url).detail, says)
  })
})

describe("a password in a URL", () => {
  const secrets: ReadonlyArray<string> = [
    "beanstalk://svc:s3cret@queue",
    "beanstalk://svc:s3/cret@queue",
    "beanstalk://svc/s3cret@queue",
    "beanstalk://svc:s3cret@in@queue:11300",
    "beanstalk://svc:1?s3cret@queue",
    "beanstalk://svc#s3cret@queue",
    "beanstalk://svc:s3\ncret@queue",
    "beanstalk://s3cret@queue?reply-timeout=soon",
    "beanstalks://:s3cret@queue",
    "beanstalks://svc:%s3cret@queue",
    "beanstalk://svc:s3cret@[::1",
    "beanstalk:svc:s3cret@queue",
    "BEANSTALK://svc:s3cret@queue",
    "beanstalkd://svc:s3cret@queue",
    "redis://:s3cret@queue:6379/0",
    "s3cret:x@queue",
    "svc:s3cret@queue:11300",
    "svc:s3cret@queue.db",
    "./s3cret@queue.db",
    "sqlite://svc:s3cret@queue/jobs.db",
    "memory://svc:s3cret@queue",
    ` beanstalk://svc:s3cret@queue`,
    "beanstalk://svc:s3cret%40queue:11300",
    "beanstalk://svc%3As3cret%40queue",
    "beanstalks://svc%3As3cret%40queue?ca=a.pem",
    "redis://:s3cret%40queue",
    `beanstalk://svc:s3cret@queue/${"x".repeat(30_000)}`
  ]

  it.each(secrets)("%j is hidden up to the last @", (url) => {
    const error = errorOf(url)
    for (const text of [error.url, error.detail, error.message, JSON.stringify(error)]) {
      assert.notMatch(text, /s3.{0,2}cret|cret@|svc/s)
    }
  })

  const pem = "-----BEGIN PRIVATE KEY-----\nMIIs3cret\n-----END PRIVATE KEY-----"

  it.each([
    ["beanstalk://queue?password=s3cret", /no option "password"/],
    ["beanstalk://queue?reply-timeout=1s&Access-Token=s3cret&x=1", /no option "Access-Token"/],
    ["sqlite:jobs.db?key=s3cret", /no option "key"/],
    ["memory:?pwd=s3cret", /no option "pwd"/],
    ["redis://queue?auth=s3cret", /no broker "redis:"/],
    ["postgres://queue/db?sslpassword=s3cret", /no option "sslpassword"/],
    ["beanstalk://queue:x?secret=s3%63ret%20s3cret", /port/],
    [`beanstalks://queue?key=${pem}`, /key must be the name of a file, not its content/],
    [`beanstalks://queue?key=${encodeURIComponent(pem)}&ca=a.pem`, /key must be the name of a file/],
    [`beanstalks://queue?cert=${pem}`, /cert must be the name of a file/],
    [`beanstalks://queue?ca=MII${"s3cret+/".repeat(20)}`, /ca must be the name of a file/]
  ])("%j is hidden if it is the value of an option", (url, says) => {
    const error = errorOf(url)
    for (const text of [error.url, error.detail, error.message, JSON.stringify(error)]) {
      assert.notMatch(text, /s3cret|s3%63|PRIVATE/)
    }
    assert.match(error.detail, says)
  })

  it("the rest is shown, and so is the path of a file", () => {
    assert.include(errorOf("beanstalk://svc:s3cret@queue:11300").message, "\"beanstalk://…@queue:11300\"")
    assert.include(errorOf("sqlite:a@b.db?speed=1").message, "\"sqlite:a@b.db?speed=1\"")
    assert.include(errorOf("sqlite:a@b.db?speed=1").detail, "\"speed\"")
  })

  it.live("the command does not show it either", () =>
    Effect.gen(function*() {
      const url = "beanstalk://svc:s3/cret@queue"
      for (const [args, env] of [[["queues", "--broker", url], {}], [["queues"], { BACKQ_BROKER: url }]] as const) {
        const { code, stderr, stdout } = yield* run([...args], undefined, env)
        assert.strictEqual(code, 1)
        assert.strictEqual(stdout, "")
        assert.match(stderr, /users and passwords/)
        assert.notInclude(stderr, "cret")
      }
    }))
})
