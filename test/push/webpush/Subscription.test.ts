/** Subscriptions, their endpoints, and the addresses behind them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { AddressGuard, Endpoints, Subscription } from "../../../src/push/webpush/index.ts"
import { browser, subscribe } from "./browser.ts"

const endpoint = "https://fcm.googleapis.com/fcm/send/secret-id"
const good = subscribe(browser(), endpoint)

describe("Subscription", () => {
  const decode = Schema.decodeUnknownExit(Subscription.Subscription)

  it("reads what a browser gives", () => {
    const given = JSON.parse(JSON.stringify({ ...good, expirationTime: null, extra: 1 }))
    assert.deepStrictEqual(decode(given), Exit.succeed({ ...good, expirationTime: null }))
  })

  it("reads standard base64 and padding, and gives base64url", () => {
    const own = browser()
    const given = {
      endpoint,
      keys: { p256dh: own.point.toString("base64"), auth: own.auth.toString("base64") }
    }
    assert.deepStrictEqual(decode(given), Exit.succeed(subscribe(own, endpoint)))
    assert.isTrue(Result.isSuccess(Subscription.read(given)))
  })

  const offCurve = Buffer.from(good.keys.p256dh, "base64url")
  offCurve[40]! ^= 1
  const zero = Buffer.alloc(65)
  zero[0] = 4
  const compressed = Buffer.alloc(65, 1)
  compressed[0] = 2
  const keys = good.keys

  const wrong: ReadonlyArray<readonly [field: string, rule: RegExp, value: unknown]> = [
    ["subscription", /subscription of a browser/, null],
    ["subscription", /subscription of a browser/, "secret-id"],
    ["endpoint", /a string/, { ...good, endpoint: undefined }],
    ["endpoint", /https/, { ...good, endpoint: "http://fcm.googleapis.com/secret-id" }],
    ["endpoint", /https/, { ...good, endpoint: "https:/fcm.googleapis.com/secret-id" }],
    ["endpoint", /https/, { ...good, endpoint: "/secret-id" }],
    ["endpoint", /user name/, { ...good, endpoint: "https://user@fcm.googleapis.com/secret-id" }],
    ["endpoint", /fragment/, { ...good, endpoint: `${endpoint}#secret-id` }],
    ["endpoint", /blanks/, { ...good, endpoint: "https://fcm.googleapis.com\\@evil.example/secret-id" }],
    ["endpoint", /blanks/, { ...good, endpoint: "https://fcm.goog\tleapis.com/secret-id" }],
    ["endpoint", /2048/, { ...good, endpoint: `${endpoint}${"x".repeat(2048)}` }],
    ["endpoint", /URL/, { ...good, endpoint: "https://[::1/secret-id" }],
    ["keys.p256dh", /65 bytes/, { ...good, keys: undefined }],
    ["keys.p256dh", /65 bytes/, { ...good, keys: { ...keys, p256dh: keys.auth } }],
    ["keys.p256dh", /65 bytes/, { ...good, keys: { ...keys, p256dh: `${keys.p256dh.slice(0, -1)}*` } }],
    ["keys.p256dh", /curve/, { ...good, keys: { ...keys, p256dh: offCurve.toString("base64url") } }],
    ["keys.p256dh", /curve/, { ...good, keys: { ...keys, p256dh: zero.toString("base64url") } }],
    ["keys.p256dh", /curve/, { ...good, keys: { ...keys, p256dh: compressed.toString("base64url") } }],
    ["keys.auth", /16 bytes/, { ...good, keys: { ...keys, auth: "AAAA" } }],
    ["keys.auth", /16 bytes/, { ...good, keys: { ...keys, auth: keys.p256dh } }],
    ["expirationTime", /milliseconds/, { ...good, expirationTime: "never" }],
    ["key", /VAPID key/, { ...good, key: "" }]
  ]

  it.each(wrong)("refuses a wrong %s: %s", (field, rule, value) => {
    const read = Subscription.read(value as Subscription.Subscription)
    assert.isTrue(Result.isFailure(read))
    if (Result.isFailure(read)) {
      assert.strictEqual(read.failure.field, field)
      assert.match(read.failure.rule, rule)
      assert.notInclude(read.failure.rule, "secret-id")
    }
    const decoded = decode(value)
    assert.isTrue(Exit.isFailure(decoded))
    assert.notInclude(String(decoded), "secret-id")
  })

  it("an endpoint's name shows its host and a hash", () => {
    const name = Subscription.nameOf(endpoint)
    assert.match(name, /^fcm\.googleapis\.com#[\w-]{10}$/)
    assert.strictEqual(Subscription.nameOf(endpoint), name)
    assert.notStrictEqual(Subscription.nameOf(`${endpoint}x`), name)
    assert.match(Subscription.nameOf("secret-id"), /^no host#/)
  })
})

describe("Endpoints", () => {
  const judge = (url: string, allowed: Endpoints.Allowed): boolean => {
    const read = Endpoints.parse(url)
    return Result.isSuccess(read) && Endpoints.rulesOf(allowed)(read.success) === undefined
  }

  const judged: ReadonlyArray<readonly [url: string, known: boolean, anyPublic: boolean]> = [
    ["https://fcm.googleapis.com/fcm/send/x", true, true],
    ["https://FCM.googleapis.COM/fcm/send/x", true, true],
    ["https://fcm.googleapis.com./fcm/send/x", true, true],
    ["https://fcm.googleapis.com:443/fcm/send/x", true, true],
    ["https://fcm.googleapis.com:8443/fcm/send/x", false, false],
    ["https://fcm.googleapis.com.evil.example/x", false, true],
    ["https://updates.push.services.mozilla.com/wpush/v2/x", true, true],
    ["https://autopush.stage.push.services.mozilla.com/x", true, true],
    ["https://web.push.apple.com/x", true, true],
    ["https://push.apple.com/x", false, true],
    ["https://evilpush.apple.com/x", false, true],
    ["https://wns2-by3p.notify.windows.com/w/?token=x", true, true],
    ["https://notify.windows.com.example/x", false, true],
    ["https://b\u00fccher.example/x", false, true],
    ["https://xn--bcher-kva.example/x", false, true],
    ["https://fcm\u3002googleapis.com/x", true, true],
    ["https://[::ffff:127.0.0.1]/x", false, false],
    ["https://[::1]/x", false, false],
    ["https://127.0.0.1/x", false, false],
    ["https://2130706433/x", false, false],
    ["https://0x7f.1/x", false, false],
    ["https://127.1/x", false, false],
    ["https://8.8.8.8/x", false, false],
    ["http://fcm.googleapis.com/x", false, false]
  ]

  it.each(judged)("judges %s: known %s, any public %s", (url, known, anyPublic) => {
    assert.strictEqual(judge(url, "known"), known)
    assert.strictEqual(judge(url, "anyPublic"), anyPublic)
  })

  it("a list names hosts, the names below one, and ports", () => {
    const list = [
      "push.example.com",
      "*.example.org",
      "other.example:8443",
      "localhost:*",
      "127.0.0.1",
      "B\u00fccher.example"
    ]
    const allowed = (url: string) => judge(url, list)
    assert.isUndefined(Endpoints.wrongAllowed(list))
    assert.isTrue(allowed("https://push.example.com/x"))
    assert.isFalse(allowed("https://a.push.example.com/x"))
    assert.isTrue(allowed("https://a.b.example.org/x"))
    assert.isFalse(allowed("https://example.org/x"))
    assert.isFalse(allowed("https://evilexample.org/x"))
    assert.isTrue(allowed("https://other.example:8443/x"))
    assert.isFalse(allowed("https://other.example/x"))
    assert.isTrue(allowed("https://localhost:1/x"))
    assert.isTrue(allowed("https://127.0.0.1/x"))
    assert.isTrue(allowed("https://xn--bcher-kva.example/x"))
    assert.isFalse(allowed("https://fcm.googleapis.com/x"))
  })

  it.each([[], "all", ["*"], ["*.127.0.0.1"], ["https://push.example.com"], ["push.example.com/x"], ["a@b"], [""], [
    7
  ]])(
    "refuses the list %j",
    (list) => assert.isDefined(Endpoints.wrongAllowed(list as Endpoints.Allowed))
  )
})

describe("AddressGuard", () => {
  const publicOnes = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8"
  ]
  const others = [
    "",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.1.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "localhost",
    "8.8.8.8.",
    "0177.0.0.1",
    "[::1]"
  ]

  it.each(publicOnes)("%s is public", (address) => assert.isTrue(AddressGuard.isPublic(address)))
  it.each(others)("%s is not public", (address) => assert.isFalse(AddressGuard.isPublic(address)))

  const look = (addresses: ReadonlyArray<string>) =>
    Effect.flatMap(AddressGuard.guard, ({ lookup }) => lookup("push.example.com")).pipe(
      Effect.provideService(AddressGuard.Resolver, () => Effect.succeed(addresses)),
      Effect.exit
    )

  it.effect("one address that is not public refuses the host", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* look(["8.8.8.8", "1.1.1.1"]), Exit.succeed(["8.8.8.8", "1.1.1.1"]))
      assert.match(String(yield* look(["8.8.8.8", "10.0.0.1"])), /not public/)
      assert.match(String(yield* look([])), /no address/)
    }))

  it.effect("a layer opens the guard", () =>
    Effect.gen(function*() {
      const opened = AddressGuard.layer((address) => address === "10.0.0.1")
      assert.deepStrictEqual(yield* Effect.provide(look(["10.0.0.1"]), opened), Exit.succeed(["10.0.0.1"]))
    }))
})
