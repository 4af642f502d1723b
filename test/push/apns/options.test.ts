/** A configuration that can't be meant is refused at the start, by the name of the option or variable. */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Publisher from "../../../src/Publisher.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsConfig from "../../../src/push/apns/ApnsConfig.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import type * as Credential from "../../../src/push/apns/credential/Credential.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as OptionRules from "../../../src/push/apns/options.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import { TestBroker } from "../../../src/testing/index.ts"
import { run } from "../../cli/command.ts"

const token = "a1".repeat(32)

const badTopics = [
  "com.example.app\n",
  "\ncom.example.app",
  " com.example.app",
  "com.example app",
  "\"com.example.app\"",
  "com..example",
  ".com.example",
  "com.example.",
  "com.example.app/",
  "https://example.com",
  "com.example.app.push-type.liveactivity",
  "com.example.app.voip-ptt",
  "com.example.app.pushkit.fileprovider",
  "com.example.app.location-query",
  "com.example.*",
  ""
]
const goodTopics = ["com.example.app", "com.example.voip", "web.com.example", "com.apple.mgmt.External.0a-1B_2"]

const badIds = ["abc123defg", "ABC123DEF", "ABC123DEFGH", "ABC123DEFG ", "ABC 23DEFG", "ABC123DEFG\n", "'ABC123DEF", ""]

const badHosts = [
  "https://api.push.apple.com",
  "api.push.apple.com/3/device",
  "api.push.apple.com:443",
  "me@api.push.apple.com",
  "api.push.apple.com\n",
  " api.push.apple.com",
  "api push",
  "\"localhost\"",
  "api..apple.com",
  ".apple.com",
  "[::1]",
  "localhost:2197",
  ""
]
const goodHosts = [
  "api.push.apple.com",
  "localhost",
  "127.0.0.1",
  "::1",
  "fe80::1",
  "apns_1",
  "bücher.example",
  "host."
]

describe("an option", () => {
  it.each(badTopics)("a topic is not %j", (topic) => assert.isString(OptionRules.defaultTopic(topic)))
  it.each(goodTopics)("a topic may be %j", (topic) => assert.isUndefined(OptionRules.defaultTopic(topic)))
  it.each(badIds)("an id is not %j", (id) => assert.isString(OptionRules.id(id)))
  it.each(badHosts)("a host is not %j", (host) => assert.isString(OptionRules.host(host)))
  it.each(goodHosts)("a host may be %j", (host) => assert.isUndefined(OptionRules.host(host)))

  it("that is wrong is not shown, and the error names what surrounds it", () => {
    assert.match(OptionRules.topic("com.example.app\n")!, /line end/)
    assert.match(OptionRules.topic("com.example .app")!, /blanks/)
    assert.match(OptionRules.topic("'com.example.app'")!, /quotes/)
    for (const rule of [OptionRules.topic("s3cret!"), OptionRules.id("s3cret"), OptionRules.host("s3cret/")]) {
      assert.notInclude(rule!, "s3cret")
    }
  })
})

const build = (options: Partial<Apns.Options>, credential: Partial<Credential.KeyOptions> = {}) =>
  Effect.gen(function*() {
    const { key, keyId, teamId } = yield* Key.makeKey()
    const all = { credential: { key, keyId, teamId, topic: "com.example.app", ...credential }, ...options }
    return yield* Effect.scoped(Effect.result(Layer.build(Apns.layer(all))))
  })

const untyped = (value: unknown): any => value

describe("Apns.layer", () => {
  it.effect.each<[string, Partial<Apns.Options>, Partial<Credential.KeyOptions>]>([
    ["topic", {}, { topic: "com.example.app\n" }],
    ["topic", {}, { topic: "com.example.app.push-type.widgets" }],
    ["topics", {}, { topics: ["com.example.app", "com.example b"] }],
    ["keyId", {}, { keyId: "abc123defg" }],
    ["teamId", {}, { teamId: "DEF123GHI " }],
    ["host", { host: "https://api.push.apple.com" }, {}],
    ["host", { host: "api.push.apple.com:443" }, {}],
    ["broadcast.host", { broadcast: { host: "a b" } }, {}],
    ["channels.host", { channels: { host: "a/b" } }, {}],
    ["port", { port: 70_000 }, {}],
    ["port", { port: NaN }, {}],
    ["port", { port: untyped("443") }, {}],
    ["proxy.host", { proxy: { host: "http://proxy", port: 3128 } }, {}],
    ["proxy.port", { proxy: { host: "proxy", port: 0 } }, {}],
    ["environment", { environment: untyped("Sandbox") }, {}],
    ["environment", { environment: untyped("toString") }, {}],
    ["credential", { credential: untyped([]) }, {}],
    ["credential", { credential: untyped(null) }, {}],
    ["credential", { credential: untyped({}) }, {}],
    ["key", {}, { key: untyped("-----BEGIN PRIVATE KEY-----") }],
    ["key", {}, { key: untyped({ file: undefined }) }],
    ["key", {}, { key: Redacted.make(untyped(undefined)) }],
    ["ca", {}, { ca: untyped(["PEM"]) }],
    ["certificate", {}, untyped({ certificate: { file: "push.p12" } })],
    ["passphrase", { credential: untyped({ certificate: { file: "a.p12" }, passphrase: "s3cret" }) }, {}],
    ["topics", {}, { topics: [] }],
    ["topics", {}, { topics: untyped("com.example.app") }],
    ["topics", {}, { topics: untyped([undefined]) }],
    ["topic", {}, { topic: "com.example.other", topics: ["com.example.app"] }],
    ["proxy.host", { proxy: untyped("http://proxy:3128") }, {}],
    ["proxy.port", { proxy: untyped({ host: "proxy" }) }, {}],
    ["proxy.username", { proxy: { host: "proxy", port: 3128, username: "a:b" } }, {}],
    ["proxy.username", { proxy: { host: "proxy", port: 3128, username: "a\r\nX: y" } }, {}],
    ["proxy.password", { proxy: { host: "proxy", port: 3128, username: "a", password: Redacted.make("a\n") } }, {}],
    ["proxy.password", { proxy: untyped({ host: "proxy", port: 3128, username: "a", password: "s3cret" }) }, {}],
    ["host", { host: "api.sandbox.push.apple.com" }, {}],
    ["host", { host: "API.development.push.apple.com." }, {}],
    ["host", { host: "api.push.apple.com", environment: "sandbox" }, {}],
    ["host", { host: "gateway.sandbox.push.apple.com" }, {}],
    ["host", { host: "feedback.push.apple.com" }, {}],
    ["host", { host: "api-manage-broadcast.push.apple.com" }, {}],
    ["port", { port: 2195 }, {}]
  ])("names a wrong %s: %j %j", ([option, options, credential]) =>
    Effect.gen(function*() {
      const error = Result.getOrThrow(Result.flip(yield* build(options, credential)))
      assert.include({ ...error.reason }, { _tag: "OptionInvalid", option })
      assert.match(error.message, new RegExp(`^the APNs option ${option} must `))
    }))

  it.effect("accepts valid options", () =>
    Effect.gen(function*() {
      for (
        const [options, credential] of [
          [{ host: "::1", port: 2197, environment: "sandbox" }, {}],
          [{ proxy: { host: "proxy.example.com", port: 3128 } }, { topics: ["com.example.app.voip"] }],
          [{ host: "api.sandbox.push.apple.com", environment: "sandbox", proxy: untyped(null) }, {}],
          [{ host: "api.push.apple.com", port: 2197 }, untyped({ certificate: undefined })],
          [{ host: "localhost", port: 2195 }, {}]
        ] as const
      ) assert.isTrue(Result.isSuccess(yield* build(options, credential)))
    }))
})

describe("Apns.layerConfig", () => {
  const load = (variables: Record<string, string>) =>
    Effect.gen(function*() {
      const { key, keyId, teamId } = yield* Key.makeKey()
      const env = {
        BACKQ_APNS_KEY: Redacted.value(key),
        BACKQ_APNS_KEY_ID: keyId,
        BACKQ_APNS_TEAM_ID: teamId,
        ...variables
      }
      return yield* Effect.result(ApnsConfig.load).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
      )
    })

  it.effect("ignores the line end of a secret from echo", () =>
    Effect.gen(function*() {
      for (const end of ["\n", "\r\n", "\n\n"]) {
        const { key } = yield* Key.makeKey()
        const values = {
          BACKQ_APNS_KEY: Redacted.value(key).trim(),
          BACKQ_APNS_KEY_ID: "ABC123DEFG",
          BACKQ_APNS_TEAM_ID: "DEF123GHIJ",
          BACKQ_APNS_TOPIC: "com.example.app",
          BACKQ_APNS_ENVIRONMENT: "sandbox",
          BACKQ_APNS_HOST: "localhost",
          BACKQ_APNS_PORT: "2197",
          BACKQ_APNS_CA: "ca.pem",
          BACKQ_APNS_PROXY: "http://me:secret@proxy:3128"
        }
        const variables = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value + end]))
        const { credential, endpoint } = Result.getOrThrow(yield* load(variables))
        assert.include(credential, { keyId: "ABC123DEFG", teamId: "DEF123GHIJ", topic: "com.example.app" })
        assert.deepStrictEqual(credential.ca, { file: "ca.pem" })
        assert.include(endpoint, { environment: "sandbox", host: "localhost", port: 2197 })
        assert.strictEqual(Redacted.value(endpoint.proxy!.password!), "secret")
        const certificate = { BACKQ_APNS_CERTIFICATE: `push.p12${end}`, BACKQ_APNS_PASSPHRASE: `se cret ${end}` }
        const other = yield* ApnsConfig.load.pipe(
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: certificate })))
        )
        assert.isTrue("certificate" in other.credential)
        if (!("certificate" in other.credential)) return
        assert.deepStrictEqual(other.credential.certificate, { file: "push.p12" })
        assert.strictEqual(Redacted.value(other.credential.passphrase!), "se cret ")
      }
    }))

  it.effect("treats a variable with only line ends as absent", () =>
    Effect.gen(function*() {
      const empty = Object.fromEntries(
        ["TOPIC", "HOST", "PORT", "PROXY", "CA", "ENVIRONMENT", "CERTIFICATE"].map((
          name
        ) => [`BACKQ_APNS_${name}`, "\n"])
      )
      const { credential, endpoint } = Result.getOrThrow(yield* load(empty))
      assert.isUndefined(credential.topic)
      assert.deepStrictEqual({ ...endpoint }, {
        environment: undefined,
        host: undefined,
        port: undefined,
        proxy: undefined
      })
    }))

  it.effect.each<[string, string, RegExp]>([
    ["PROXY", "http://proxy:0", /its port must /],
    ["PROXY", "http://proxy..example:3128", /its host must /],
    ["PROXY", "http://a%3Ab:c@proxy:3128", /its username must .*colon/],
    ["PROXY", "http://a:s3cret%0A@proxy:3128", /its password must .*control/],
    ["PROXY", "http://a:b\tc@proxy:3128", /tab/],
    ["HOST", "api.sandbox.push.apple.com", /sandbox when the environment is production/],
    ["HOST", "gateway.push.apple.com", /binary protocol/],
    ["PORT", "2195", /443 or 2197/]
  ])(
    "names the variable %s even if its option is checked later: %j",
    ([name, value, words]) =>
      Effect.gen(function*() {
        const { key, keyId, teamId } = yield* Key.makeKey()
        const env = {
          BACKQ_APNS_KEY: Redacted.value(key),
          BACKQ_APNS_KEY_ID: keyId,
          BACKQ_APNS_TEAM_ID: teamId,
          [`BACKQ_APNS_${name}`]: value
        }
        const error = yield* Effect.scoped(Effect.flip(Layer.build(Apns.layerConfig()))).pipe(
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
        )
        assert.match(error.message, new RegExp(`the APNs option BACKQ_APNS_${name} (must|can't be used: its) `))
        assert.match(error.message, words)
        assert.notInclude(error.message, "s3cret")
      })
  )

  it.effect.each<[string, ReadonlyArray<string>]>([
    ["TOPIC", badTopics.filter((topic) => topic.trim() !== "" && topic !== "com.example.app\n")],
    ["KEY_ID", badIds.filter((id) => id !== "" && id !== "ABC123DEFG\n")],
    ["TEAM_ID", badIds.filter((id) => id !== "" && id !== "ABC123DEFG\n")],
    ["HOST", badHosts.filter((host) => host !== "" && host !== "api.push.apple.com\n")],
    ["PORT", ["0x1BB", "99999", "-1", "443 443", "https"]],
    ["ENVIRONMENT", ["Sandbox", "sandbox ", "\"sandbox\""]],
    ["PROXY", ["proxy:3128", "https://proxy", "http://", "http://proxy/x"]]
  ])("names the variable of a wrong %s", ([name, values]) =>
    Effect.gen(function*() {
      for (const value of values) {
        const result = yield* load({ [`BACKQ_APNS_${name}`]: value })
        assert.isTrue(Result.isFailure(result), value)
        assert.include(Result.getOrThrow(Result.flip(result)).message, `BACKQ_APNS_${name}`)
      }
    }))

  it.effect("builds the service or says why not", () =>
    Effect.gen(function*() {
      const built = yield* Effect.exit(Effect.scoped(Layer.build(Apns.layerConfig()))).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { BACKQ_APNS_TOPIC: "com example" } })))
      )
      assert.isTrue(Exit.isFailure(built))
      assert.match(String(built), /BACKQ_APNS_TOPIC must .*blanks/)
    }))
})

describe("backq", () => {
  it.live.each(
    [
      [["--topic", "com.example.app.push-type.widgets"], /--topic \(or BACKQ_APNS_TOPIC\) must .*widgets/],
      [["--topic", "com example"], /--topic \(or BACKQ_APNS_TOPIC\) must .*blanks/],
      [["--key-id", "abc123defg"], /--key-id \(or BACKQ_APNS_KEY_ID\) must .*capital/],
      [["--team-id", "DEF"], /--team-id \(or BACKQ_APNS_TEAM_ID\) must .*10 capital/],
      [["--host", "https://localhost"], /--host \(or BACKQ_APNS_HOST\) must .*URL/],
      [["--port", "99999"], /--port/],
      [["--proxy", "proxy:3128"], /--proxy \(or BACKQ_APNS_PROXY\) must be a URL/]
    ] as const
  )("work apns refuses %j", ([flags, words]) =>
    Effect.gen(function*() {
      const ids = ["--key", "none.p8", "--key-id", "ABC123DEFG", "--team-id", "DEF123GHIJ"]
      const given = ids.flatMap((name, i) => i % 2 === 0 && name !== flags[0] ? [name, ids[i + 1]!] : [])
      const { code, stderr } = yield* run(["work", "apns", "--broker", "memory:", ...given, ...flags])
      assert.strictEqual(code, 1, stderr)
      assert.match(stderr, words)
    }))
})

describe("a topic that turns out to be wrong", () => {
  const notification = Notification.alert({ body: "a" })

  it.effect.each(["com example", "com.example.app.push-type.liveactivity"])(
    "is a configuration fault if it is the service's, and the jobs are kept: %j",
    (defaultTopic) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Apns.send(notification, token))
        assert.strictEqual(error.reason._tag, "ConfigFault")
        assert.match(error.message, /the default topic must/)
        const apns = yield* Apns.Apns
        assert.strictEqual((yield* Effect.flip(apns.listChannels())).action, "FixConfiguration")
        yield* Publisher.publish(ApnsJob.job, { tokens: [token], notification })
        const [outcome] = yield* TestBroker.drain(ApnsJob.handler())
        assert.strictEqual(outcome!._tag, "Retried")
      }).pipe(Effect.provide([TestApns.layer({ defaultTopic }), TestBroker.layer]))
  )

  it.effect("is a fault of the notification if it is the notification's", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Apns.send({ ...notification, topic: "com example" }, token))
      assert.strictEqual(error.reason._tag, "InvalidNotification")
      const apns = yield* Apns.Apns
      assert.strictEqual((yield* Effect.flip(apns.listChannels({ topic: "com example" }))).action, "FixNotification")
    }).pipe(Effect.provide(TestApns.layer())))
})
