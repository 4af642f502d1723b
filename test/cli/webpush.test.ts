/** `backq push webpush`, `publish webpush`, `work webpush` and `vapid-keys`, to the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { VapidKey } from "../../src/push/webpush/index.ts"
import { Script, WebPushSimulator } from "../../src/testing/webpush/index.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"

allow(withPrograms)

/** A simulator with three subscriptions, the last of which is dead, and the flags to push to it. */
const world = Effect.fnUntraced(function*(script: Script.Script = {}) {
  const path = yield* folder
  const { stdout } = yield* run(["vapid-keys", "--json"])
  const pair = JSON.parse(stdout) as { readonly publicKey: string; readonly privateKey: string }
  const simulator = yield* WebPushSimulator.make({ name: "localhost", script })
  const subscribed = yield* Effect.replicateEffect(simulator.subscribe({ applicationServerKey: pair.publicKey }), 3)
  yield* simulator.unsubscribe(subscribed[2]!)
  const file = (name: string, content: string) => {
    writeFileSync(join(path, name), content)
    return join(path, name)
  }
  const by = [
    ["--key", file("vapid.json", stdout), "--subject", "mailto:ops@example.com", "--ca", file("ca.pem", simulator.ca)],
    ["--allow", simulator.allow, "--allow-address", "127.0.0.1"]
  ].flat()
  const all = file("all.json", JSON.stringify(subscribed))
  const lines = file("lines.txt", subscribed.slice(0, 2).map((one) => JSON.stringify(one)).join("\n"))
  return { path, pair, simulator, subscribed, by, all, lines, broker: ["--broker", `sqlite:${join(path, "queue.db")}`] }
})

describe("vapid-keys", () => {
  it.live("prints a pair whose public key belongs to the private one", () =>
    Effect.gen(function*() {
      const { stdout } = yield* run(["vapid-keys"])
      const [, publicKey, secret] = /^public key   ([\w-]{87})\nprivate key  ([\w-]{43})$/.exec(stdout)!
      const read = yield* VapidKey.read({ privateKey: Redacted.make(secret!), publicKey: publicKey! })
      assert.strictEqual(read.publicKey, publicKey)
    }))
})

describe("push webpush", () => {
  it.live("sends a text to each subscription of a file of lines, and prints no endpoint", () =>
    Effect.gen(function*() {
      const { by, lines, simulator } = yield* world()
      const message = ["--body", "Hello", "--ttl", "10m", "--urgency", "high", "--topic", "news"]
      const { code, stderr, stdout } = yield* run(["push", "webpush", "--subscriptions", lines, ...message, ...by])
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^accepted by localhost#\S+\naccepted by localhost#\S+$/)
      const pushes = yield* simulator.pushes
      assert.deepStrictEqual(pushes.map(({ text }) => text), ["Hello", "Hello"])
      assert.deepInclude(pushes[0]!.headers, { ttl: "600", urgency: "high" })
    }))

  it.live("prints the result of each message as JSON, and ends with 4 if one is dead", () =>
    Effect.gen(function*() {
      const { all, by, path } = yield* world()
      writeFileSync(join(path, "news.json"), "{\"title\":\"Hi\"}")
      const message = ["--payload", join(path, "news.json"), "--ttl", "0s", "--json"]
      const { code, stdout } = yield* run(["push", "webpush", "--subscriptions", all, ...message, ...by])
      assert.strictEqual(code, 4)
      const lines = stdout.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.sameMembers(lines.map(({ action, status }) => action ?? status), [201, 201, "DropToken"])
    }))

  it.live("dials no address of this machine unless a flag allows it", () =>
    Effect.gen(function*() {
      const { all, by, simulator } = yield* world()
      const { code, stderr } = yield* run(
        ["push", "webpush", "--subscriptions", all, "--ttl", "0s", ...by.slice(0, -2)]
      )
      assert.strictEqual(code, 4)
      assert.include(stderr, "must not resolve to an address that is not public")
      assert.strictEqual((yield* simulator.counts).connections, 0)
    }))

  it.live("says what is wrong with a file, a message or a key, without the subscription", () =>
    Effect.gen(function*() {
      const { all, by, path, subscribed } = yield* world()
      const failing = Effect.fnUntraced(function*(args: ReadonlyArray<string>, says: RegExp) {
        const { code, stderr } = yield* run(["push", "webpush", ...args])
        assert.strictEqual(code, 1, stderr)
        assert.match(stderr, says)
        for (const { endpoint, keys } of subscribed) {
          assert.notInclude(stderr, endpoint)
          assert.notInclude(stderr, keys.auth)
        }
      })
      const bad = join(path, "bad.json")
      const { keys: { auth }, ...rest } = subscribed[0]!
      writeFileSync(bad, JSON.stringify([subscribed[1], { ...rest, keys: { auth, p256dh: "AAAA" } }]))
      yield* failing(["--subscriptions", bad, "--ttl", "1h", ...by], /subscription 2 must be .*p256dh/)
      writeFileSync(bad, "{")
      yield* failing(["--subscriptions", bad, "--ttl", "1h", ...by], /line 1 is not JSON/)
      writeFileSync(bad, "[]")
      yield* failing(["--subscriptions", bad, "--ttl", "1h", ...by], /must have at least one subscription/)
      yield* failing(["--subscriptions", all, "--body", "x".repeat(4000), "--ttl", "1h", ...by], /at most 3993 bytes/)
      yield* failing(["--subscriptions", all, "--ttl", "1h"], /--key \(or BACKQ_WEBPUSH_PRIVATE_KEY\)/)
      yield* failing(
        ["--subscriptions", all, "--ttl", "1h", ...by, "--subject", "ops@example.com"].filter((_, i, a) =>
          i !== a.indexOf("mailto:ops@example.com") && i !== a.indexOf("--subject")
        ),
        /subject must be a contact/
      )
    }))
})

describe("publish webpush and work webpush", () => {
  it.live("send the messages of a queue, and report dead subscriptions", () =>
    Effect.gen(function*() {
      const { all, broker, by, simulator, subscribed } = yield* world()
      const published = yield* run(
        ["publish", "webpush", "--subscriptions", all, "--body", "Hello", "--ttl", "1h", ...broker]
      )
      assert.strictEqual(published.code, 0, published.stderr)
      const worked = yield* run(["work", "webpush", "--max-jobs", "1", ...by, ...broker])
      assert.strictEqual(worked.code, 0, worked.stderr)
      assert.notInclude(worked.stderr, subscribed[2]!.endpoint)
      assert.deepStrictEqual((yield* simulator.pushes).flatMap(({ text }) => text ?? []), ["Hello", "Hello"])
      const { stdout } = yield* run(["peek", "webpush-subscriptions", "--json", ...broker])
      assert.include(stdout, subscribed[2]!.endpoint)
      assert.include(stdout, "\"kind\":\"Dead\"")
    }))
})
