/** What becomes of a job's messages, and of dead subscriptions. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Broker from "../../../src/Broker.ts"
import {
  DeadSubscriptionJob,
  TestWebPush,
  WebPushError,
  WebPushJob,
  WebPushPayload
} from "../../../src/push/webpush/index.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import * as Worker from "../../../src/Worker.ts"
import { browser, subscribe } from "./browser.ts"

const message = { body: { json: { title: "Hello" } }, ttl: 60 }

const own = browser()

const at = (name: string, key?: string) =>
  subscribe(own, `https://updates.push.services.mozilla.com/wpush/v2/${name}`, key)

const nameOf = ({ endpoint }: { readonly endpoint: string }) => endpoint.slice(endpoint.lastIndexOf("/") + 1)

/** Answers by the end of the endpoint; what isn't named is accepted. */
const answers = (byName: Record<string, TestWebPush.Answer>): TestWebPush.Options => ({
  answer: ({ subscription }) => byName[nameOf(subscription)] ?? TestWebPush.accept
})

const world = (options: TestWebPush.Options = {}) => Layer.merge(TestBroker.layer, TestWebPush.layer(options))

const gone = TestWebPush.reject(410, JSON.stringify({ code: 410, errno: 106, message: "gone" }))
const mismatch = TestWebPush.reject(
  401,
  JSON.stringify({ code: 401, errno: 109, message: "VAPID public key mismatch" })
)
const refused = TestWebPush.reject(400, JSON.stringify({ code: 400, errno: 110, message: "bad" }))
const down = TestWebPush.reject(503, JSON.stringify({ code: 503, errno: 201, message: "later" }))

const captured = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.layer([Logger.make(({ logLevel, message }) => lines.push(`${logLevel}: ${String(message)}`))])
  }
}

describe("WebPushJob", () => {
  it.effect("sends a job of the wire's form, and hands dead and wrong subscriptions over", () =>
    Effect.gen(function*() {
      const wrong = { ...at("wrong"), keys: { p256dh: "AAAA", auth: own.auth.toString("base64url") } }
      const hostile = { ...at("x"), endpoint: "https://10.0.0.1/internal" }
      const payload = { subscriptions: [at("a"), at("dead"), at("other"), wrong, hostile, at("a")], ...message }
      const body = Buffer.from(JSON.stringify({ backq: 1, id: "from-php", job: "webpush", payload }))
      yield* Broker.Broker.use((broker) => broker.put("webpush", Result.getOrThrow(Broker.putRequest(body))))
      const [outcome] = yield* TestBroker.drain(WebPushJob.handler())
      assert.deepInclude(outcome!, { _tag: "Done", result: { accepted: 1, dead: 4, dropped: 0, again: 0, buried: 0 } })
      assert.deepStrictEqual((yield* TestWebPush.pushes).map(({ subscription }) => nameOf(subscription)), [
        "a",
        "dead",
        "other"
      ])
      const reported: Array<DeadSubscriptionJob.DeadSubscription> = []
      yield* TestBroker.drain(
        Worker.handler(DeadSubscriptionJob.job, (dead) => Effect.sync(() => void reported.push(dead)))
      )
      assert.deepStrictEqual(
        reported.map(({ cause, endpoint, kind, status }) => [nameOf({ endpoint }), kind, cause, status]).sort(),
        [
          ["dead", "Dead", "DeadSubscription", 410],
          ["internal", "Wrong", "EndpointRefused", undefined],
          ["other", "Wrong", "WrongKey", 401],
          ["wrong", "Wrong", "InvalidSubscription", undefined]
        ]
      )
    }).pipe(Effect.provide(world(answers({ dead: gone, other: mismatch })))))

  it.effect("one subscription of any wrong form does not keep the message from the others", () =>
    Effect.gen(function*() {
      const forms: ReadonlyArray<object> = [
        { keys: undefined },
        { keys: null },
        { keys: "p256dh" },
        { keys: [] },
        { keys: { p256dh: 7, auth: null } },
        { key: 7 },
        { key: "" },
        { expirationTime: "soon" },
        { expirationTime: {} }
      ]
      const wrong = forms.map((form, index) => ({ ...at(`wrong-${index}`), ...form }))
      const payload = {
        subscriptions: [at("a"), ...wrong, { ...at("b"), key: null, expirationTime: null }],
        ...message
      }
      const body = Buffer.from(JSON.stringify({ backq: 1, id: "from-php", job: "webpush", payload }))
      yield* Broker.Broker.use((broker) => broker.put("webpush", Result.getOrThrow(Broker.putRequest(body))))
      const [outcome] = yield* TestBroker.drain(WebPushJob.handler())
      assert.deepInclude(outcome!, {
        _tag: "Done",
        result: { accepted: 2, dead: forms.length, dropped: 0, again: 0, buried: 0 }
      })
      const reported: Array<DeadSubscriptionJob.DeadSubscription> = []
      yield* TestBroker.drain(
        Worker.handler(DeadSubscriptionJob.job, (dead) => Effect.sync(() => void reported.push(dead)))
      )
      assert.strictEqual(reported.length, forms.length)
      for (const { cause, kind } of reported) assert.deepStrictEqual([kind, cause], ["Wrong", "InvalidSubscription"])
    }).pipe(Effect.provide(world())))

  it.effect("sends unfinished messages again in a new job, and buries those that can't succeed", () =>
    Effect.gen(function*() {
      yield* WebPushJob.publish(message, [at("a"), at("down"), at("bad")])
      const [outcome] = yield* TestBroker.drain(WebPushJob.handler())
      assert.deepInclude(outcome!, { _tag: "Done", result: { accepted: 1, dead: 0, dropped: 0, again: 1, buried: 1 } })
    }).pipe(Effect.provide(world(answers({ down, bad: refused })))))

  it.effect("a message that was sent and not answered is repeated or dropped, as the option says", () =>
    Effect.gen(function*() {
      yield* WebPushJob.publish(message, [at("a"), at("unknown")])
      const [outcome] = yield* TestBroker.drain(WebPushJob.handler({ onUnknown: "Drop" }))
      assert.deepInclude(outcome!, { _tag: "Done", result: { accepted: 1, dead: 0, dropped: 1, again: 0, buried: 0 } })
    }).pipe(
      Effect.provide(world(answers({ unknown: TestWebPush.fail(new WebPushError.Unknown({ detail: "it broke" })) })))
    ))

  it.effect("logs an error when most subscriptions belong to another key", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      yield* WebPushJob.publish(message, [at("a"), at("b"), at("c")])
      yield* Effect.provide(TestBroker.drain(WebPushJob.handler()), layer)
      const [line] = lines.filter((line) => line.includes("subscriptions"))
      assert.match(line!, /^Error: 2 of 3 subscriptions are dead or wrong.*2 WrongKey.*was a wrong key deployed/)
      assert.notInclude(lines.join(), "wpush/v2")
    }).pipe(Effect.provide(world(answers({ a: mismatch, b: mismatch })))))

  it.effect("a function of the application gets the dead ones instead of jobs", () => {
    const reported: Array<string> = []
    return Effect.gen(function*() {
      yield* WebPushJob.publish(message, [at("a"), at("dead")])
      yield* TestBroker.drain(WebPushJob.handler())
      assert.deepStrictEqual(reported, ["dead"])
    }).pipe(
      Effect.provide(Layer.merge(
        world(answers({ dead: gone })),
        DeadSubscriptionJob.layer((dead) => Effect.sync(() => void reported.push(...dead.map(nameOf))))
      ))
    )
  })

  it.effect("splits many subscriptions into jobs that fit into beanstalkd", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 500 }, (_, index) => at(`${"x".repeat(600)}-${index}`))
      const results = yield* WebPushJob.publish({ body: "x".repeat(3900), ttl: 1 }, many)
      assert.isTrue(results.every(Result.isSuccess))
      assert.isAtLeast(results.length, 8)
      const outcomes = yield* TestBroker.drain(WebPushJob.handler())
      assert.strictEqual(outcomes.length, results.length)
      assert.strictEqual((yield* TestWebPush.pushes).length, 500)
    }).pipe(Effect.provide(world())))

  it("a wrong message fails the job, and names the field", () => {
    const decode = Schema.decodeUnknownExit(WebPushPayload.WebPushPayload)
    const text = String(decode({ subscriptions: [at("a")], body: "x".repeat(5000), ttl: 1 }))
    assert.match(text, /body: must have at most 3993 bytes/)
    assert.match(String(decode({ subscriptions: [at("a")], body: "x" })), /ttl/)
    assert.match(String(decode({ subscriptions: [], body: "x", ttl: 1 })), /subscriptions/)
    const backqOrigin = { id: "a", attempts: -5, publishedAt: 0 }
    assert.match(String(decode({ subscriptions: [at("a")], ttl: 1, backqOrigin })), /attempts/)
  })
})
