/** What becomes of a job's pushes. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Broker from "../../../src/Broker.ts"
import * as Job from "../../../src/Job.ts"
import * as Operator from "../../../src/Operator.ts"
import type { Outcome } from "../../../src/Outcome.ts"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import { ApnsPayload } from "../../../src/push/apns/notification/ApnsPayload.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import { uuidV5 } from "../../../src/push/apns/pushId.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import { allow, withMuchData } from "../../support/limits.ts"
import {
  A,
  answers,
  B,
  C,
  captured,
  delayOf,
  drain,
  hello,
  only,
  publish,
  putForeign,
  tokensOf,
  world
} from "./jobHarness.ts"

allow(withMuchData)

const notSent = TestApns.fail(new ApnsError.NotSent({ detail: "no connection" }))

const unknown = TestApns.fail(new ApnsError.Unknown({ detail: "the connection ended" }))

const timeout = (stage: "Queue" | "Answer") =>
  TestApns.fail(new ApnsError.Timeout({ stage, after: Duration.seconds(30) }))

describe("ApnsJob", () => {
  it.effect("pushes once to each token of a job", () =>
    Effect.gen(function*() {
      yield* publish([A, B, C, B, C.toUpperCase()])
      const outcome = yield* only()
      assert.deepInclude(outcome, { _tag: "Done", result: { accepted: 3, dead: 0, dropped: 0, again: 0, buried: 0 } })
      assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, C])
    }).pipe(Effect.provide(world())))

  it.effect("pushes a job that another language published", () =>
    Effect.gen(function*() {
      yield* putForeign({
        tokens: [A, A, A.toUpperCase()],
        topic: "com.example.php",
        payload: { aps: { alert: "Hi", badge: 0 } }
      })
      assert.strictEqual((yield* only())._tag, "Done")
      const [push, ...others] = yield* TestApns.pushes
      assert.deepStrictEqual(others, [])
      assert.deepInclude(push!.encoded.headers, ["apns-topic", "com.example.php"])
    }).pipe(Effect.provide(world())))

  it.effect("logs dead tokens, and wrong tokens as a warning", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      yield* publish([A, B, C])
      yield* publish([B])
      yield* Effect.provide(drain(), layer)
      assert.deepStrictEqual(lines.filter((line) => line.includes("device tokens")), [
        "Warn: 2 of 3 device tokens are dead or wrong and were reported: 1 Unregistered, 1 BadDeviceToken",
        "Info: 1 of 1 device tokens are dead or wrong and were reported: 1 Unregistered"
      ])
    }).pipe(
      Effect.provide(world(answers({
        [B]: TestApns.reject(410, "Unregistered", 1),
        [C]: TestApns.reject(400, "BadDeviceToken")
      })))
    ))

  it.effect("publishes several jobs for many tokens", () =>
    Effect.gen(function*() {
      const tokens = Array.from({ length: 1201 }, (_, n) => n.toString(16).padStart(64, "0"))
      const published = yield* ApnsJob.publish(hello, [...tokens, ...tokens], { id: "news" })
      assert.lengthOf(published, 3)
      const long = yield* ApnsJob.publish(
        hello,
        Array.from({ length: 300 }, (_, n) => n.toString(16).padStart(320, "0"))
      )
      assert.lengthOf(long, 3)
      assert.lengthOf(yield* ApnsJob.publish(hello, []), 0)
      const jobs = yield* TestBroker.enqueued(ApnsJob.job)
      assert.deepStrictEqual(jobs.slice(0, 3).map(({ id, payload }) => [id, payload.tokens.length]), [
        ["news", 500],
        ["news/2", 500],
        ["news/3", 201]
      ])
      assert.sameMembers(jobs.slice(0, 3).flatMap(({ payload }) => payload.tokens), tokens)
    }).pipe(Effect.provide(world())))

  describe("one push that fails", () => {
    const cases: ReadonlyArray<[string, TestApns.Answer, string, ApnsJob.Options?]> = [
      ["NotSent", notSent, "1s"],
      ["Refused", TestApns.fail(new ApnsError.Refused({ detail: "GOAWAY" })), "1s"],
      ["IdleTimeout", TestApns.reject(400, "IdleTimeout"), "1s"],
      ["UnrelatedKeyIdInToken", TestApns.reject(403, "UnrelatedKeyIdInToken"), "1s"],
      ["a timeout in the queue", timeout("Queue"), "1s", { onUnknown: "Drop" }],
      ["Unknown", unknown, "1s"],
      ["a timeout of the answer", timeout("Answer"), "1s"],
      ["Unknown at most once", unknown, "Discarded", { onUnknown: "Drop" }],
      ["a timeout of the answer at most once", timeout("Answer"), "Discarded", { onUnknown: "Drop" }],
      ["TooManyRequests", TestApns.reject(429, "TooManyRequests"), "1m"],
      ["TooManyProviderTokenUpdates", TestApns.reject(429, "TooManyProviderTokenUpdates"), "1m"],
      ["InternalServerError", TestApns.reject(500, "InternalServerError"), "15m"],
      ["ServiceUnavailable", TestApns.reject(503, "ServiceUnavailable"), "15m"],
      ["Shutdown", TestApns.reject(503, "Shutdown"), "15m"],
      ["a status of 502 without a reason", TestApns.reject(502), "15m"],
      ["InvalidProviderToken", TestApns.reject(403, "InvalidProviderToken"), "5m"],
      ["TopicDisallowed", TestApns.reject(400, "TopicDisallowed"), "5m"],
      ["ExpiredProviderToken", TestApns.reject(403, "ExpiredProviderToken"), "5m"],
      ["a fault before the answer", TestApns.fail(new ApnsError.ConfigFault({ detail: "no certificate" })), "5m"],
      ["PayloadTooLarge", TestApns.reject(413, "PayloadTooLarge"), "Buried"],
      ["BadTopic", TestApns.reject(400, "BadTopic"), "Buried"],
      ["BadPath", TestApns.reject(404, "BadPath"), "Buried"],
      ["an unknown reason", TestApns.reject(400, "NewInAnyYear"), "Buried"],
      ["Unregistered", TestApns.reject(410, "Unregistered", 1), "Done"],
      ["BadDeviceToken", TestApns.reject(400, "BadDeviceToken"), "Done"]
    ]

    it.effect.each(cases)("%s: the job is %s%s", ([, answer, expected, options]) =>
      Effect.gen(function*() {
        yield* publish([A])
        assert.strictEqual(delayOf(yield* only(options)), expected)
        // the job itself is tried again, not a new one
        const waiting = yield* TestBroker.enqueued(ApnsJob.job)
        assert.lengthOf(waiting, expected.endsWith("d") || expected === "Done" ? 0 : 1)
        assert.lengthOf(yield* TestApns.pushes, 1)
      }).pipe(Effect.provide(world(answers({ [A]: answer })))))

    it.effect("that expires before it is sent is not sent", () =>
      Effect.gen(function*() {
        yield* ApnsJob.publish(Notification.alert({ body: "Hello", expiration: 60 }), [A, B])
        yield* TestBroker.advance("60 seconds")
        const outcome = yield* only()
        assert.strictEqual(outcome._tag, "Discarded")
        assert.match(outcome._tag === "Discarded" ? outcome.reason : "", /expired/)
        assert.deepStrictEqual(yield* TestApns.pushes, [])
      }).pipe(Effect.provide(world())))

    it.effect("because of an error at Apple waits twice as long each time, and is buried at the end of the schedule", () =>
      Effect.gen(function*() {
        yield* publish([A])
        const delays: Array<string> = []
        for (let attempt = 1; attempt <= 11; attempt++) {
          delays.push(delayOf(yield* only()))
          yield* TestBroker.advance("4 hours")
        }
        assert.deepStrictEqual(delays, ["15m", "30m", ...Array.from({ length: 8 }, () => "1h"), "Buried"])
      }).pipe(Effect.provide(world(answers({ [A]: TestApns.reject(500, "InternalServerError") })))))

    it.effect.each(
      [["an outage", notSent], ["a wrong key", TestApns.reject(403, "InvalidProviderToken")]] as const
    )("because of %s buries no job, however long it lasts", ([, answer]) =>
      Effect.gen(function*() {
        yield* publish([A])
        for (let attempt = 1; attempt <= 40; attempt++) {
          assert.strictEqual((yield* only())._tag, "Retried")
          yield* TestBroker.advance("5 minutes")
        }
      }).pipe(Effect.provide(world(answers({ [A]: answer })))))

    describe.each([
      ["an outage", notSent],
      ["a wrong key", TestApns.reject(403, "InvalidProviderToken")]
    ])("after %s longer than the schedule", (_, before) => {
      it.effect.each(
        [["of Apple's own fault", TestApns.reject(503, "Shutdown"), "1h"], ["Unknown", unknown, "5m"]] as const
      )(
        "is retried for at least a day: %s",
        ([, after, delay]) => {
          let answer: TestApns.Answer = before
          return Effect.gen(function*() {
            yield* publish([A])
            for (let attempt = 1; attempt <= 30; attempt++) {
              yield* only()
              yield* TestBroker.advance("5 minutes")
            }
            answer = after
            assert.strictEqual(delayOf(yield* only()), delay)
            yield* TestBroker.advance("1 day")
            assert.strictEqual(delayOf(yield* only()), "Buried")
          }).pipe(Effect.provide(world({ answer: () => answer })))
        }
      )
    })

    it.effect("of a job without a date is retried for a day from the end of the schedule on", () => {
      let answer: TestApns.Answer = notSent
      return Effect.gen(function*() {
        yield* putForeign({ tokens: [A], payload: { aps: { alert: "Hi" } } })
        for (let attempt = 1; attempt <= 30; attempt++) {
          yield* only()
          yield* TestBroker.advance("5 minutes")
        }
        answer = TestApns.reject(500)
        assert.strictEqual(delayOf(yield* only()), "1h")
        yield* TestBroker.advance("1 day")
        assert.strictEqual(delayOf(yield* only()), "Buried")
        assert.strictEqual(new Set((yield* TestApns.pushes).map(({ apnsId }) => apnsId)).size, 1)
      }).pipe(Effect.provide(world({ answer: () => answer })))
    })

    it.effect("and may have been sent is sent again with the same id, until the end of the schedule and for at least a day", () =>
      Effect.gen(function*() {
        const job = Job.make("apns", { payload: ApnsPayload, retry: Schedule.recurs(2) })
        yield* publish([A], { id: "order-42" })
        assert.deepStrictEqual((yield* drain({ job })).map(delayOf), ["0", "0", "5m"])
        yield* TestBroker.advance("1 day")
        assert.deepStrictEqual((yield* drain({ job })).map(delayOf), ["5m"])
        yield* TestBroker.advance("5 minutes")
        assert.deepStrictEqual((yield* drain({ job })).map(delayOf), ["Buried"])
        const ids = new Set((yield* TestApns.pushes).map(({ apnsId }) => apnsId))
        assert.strictEqual(ids.size, 1)
      }).pipe(Effect.provide(world(answers({ [A]: unknown })))))
  })

  describe("some of many that fail", () => {
    it.effect("become a new job with the options of the first", () => {
      const options = answers({ [B]: TestApns.reject(503, "ServiceUnavailable"), [C]: TestApns.reject(429) })
      return Effect.gen(function*() {
        yield* publish([A, B, C], { queue: "slow", id: "news", priority: 7, ttr: "5 minutes", deadline: "1 hour" })
        yield* TestBroker.advance("1 minute")
        const outcomes = yield* TestBroker.drainWith({ queue: "slow" }, ApnsJob.handler())
        assert.deepInclude(outcomes[0], {
          _tag: "Done",
          result: { accepted: 1, dead: 0, dropped: 0, again: 2, buried: 0 }
        })
        const [again, ...others] = yield* TestBroker.enqueued(ApnsJob.job, { queue: "slow" })
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(again!.payload, {
          tokens: [B, C],
          notification: hello,
          origin: { id: "news", attempts: 1, publishedAt: 0 }
        })
        assert.strictEqual(again!.priority, 7)
        assert.strictEqual(Duration.format(again!.ttr), "5m")
        assert.strictEqual(Duration.format(again!.delay), "15m")
        assert.strictEqual(again!.expiresAt, 3_600_000)
      }).pipe(Effect.provide(world(options)))
    })

    it.effect("continue the count of attempts, and keep the ids of their pushes", () => {
      const options = answers({ [B]: TestApns.reject(500), [C]: TestApns.reject(500) })
      return Effect.gen(function*() {
        yield* publish([A, B, C], { id: "news" })
        yield* drain()
        const delays: Array<string> = []
        for (let attempt = 2; attempt <= 11; attempt++) {
          yield* TestBroker.advance("4 hours")
          delays.push(delayOf(yield* only()))
        }
        assert.deepStrictEqual(delays, ["30m", ...Array.from({ length: 8 }, () => "1h"), "Buried"])
        const pushes = yield* TestApns.pushes
        assert.strictEqual(new Set(pushes.map(({ token }) => token)).size, 3)
        assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 3)
      }).pipe(Effect.provide(world(options)))
    })

    it.effect("wait at most as long as a broker can, and keep the deadline of the first job", () => {
      const tooMany = new ApnsError.TooManyRequests({ status: 429, delay: Duration.days(1_000_000) })
      return Effect.gen(function*() {
        yield* putForeign({ tokens: [A, B], payload: { aps: { alert: "Hi" } } }, { expiresAt: 1e17 })
        const job = Job.make("apns", { payload: ApnsPayload, deadline: "1 hour" })
        assert.strictEqual(delayOf((yield* drain({ job }))[0]!), "Done")
        const [again] = yield* TestBroker.enqueued(ApnsJob.job)
        assert.deepStrictEqual(again!.delay, Broker.maxDelay)
        assert.isUndefined(again!.expiresAt)
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.fail(tooMany) }))))
    })

    it.effect("are not recognised by the id, which is the user's", () =>
      Effect.gen(function*() {
        yield* publish([A], { id: "escalation#after-15" })
        yield* publish([A], { id: "escalation" })
        assert.deepStrictEqual((yield* drain()).map(delayOf), ["1s", "1s"])
        assert.strictEqual(new Set((yield* TestApns.pushes).map(({ apnsId }) => apnsId)).size, 2)
      }).pipe(Effect.provide(world(answers({ [A]: unknown })))))

    it.effect("keep the minimum retry period of the first job", () =>
      Effect.gen(function*() {
        yield* publish([A, B])
        yield* TestBroker.advance("23 hours")
        yield* drain()
        const outcomes: Array<Outcome> = []
        for (let hours = 0; hours < 12; hours++) {
          yield* TestBroker.advance("1 hour")
          outcomes.push(...(yield* drain()))
        }
        assert.strictEqual(delayOf(outcomes.at(-1)!), "Buried")
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(500) })))))

    it.effect("keep the job if all of them fail, with the longest delay", () =>
      Effect.gen(function*() {
        yield* publish([A, B])
        assert.strictEqual(delayOf(yield* only()), "15m")
        assert.deepStrictEqual((yield* TestBroker.enqueued(ApnsJob.job))[0]!.payload.tokens, [A, B])
      }).pipe(Effect.provide(world(answers({ [A]: notSent, [B]: TestApns.reject(500) })))))
  })

  describe("pushes that can't succeed", () => {
    const buriedJobs = TestBroker.enqueued(ApnsJob.job, { state: "buried" })
    const pushesTo = (token: string) =>
      Effect.map(TestApns.pushes, (pushes) => pushes.filter((push) => push.token === token).length)

    it.effect("are buried apart from accepted ones, without another push", () =>
      Effect.gen(function*() {
        yield* publish([A, B, C])
        const [done, buried, ...others] = yield* drain()
        assert.deepStrictEqual(others, [])
        assert.deepInclude(done, { _tag: "Done", result: { accepted: 2, dead: 0, dropped: 0, again: 0, buried: 1 } })
        assert.strictEqual(delayOf(buried!), "Buried")
        assert.match(buried!._tag === "Buried" ? buried!.reason : "", /1 of 3 pushes.*PayloadTooLarge/)
        assert.deepStrictEqual((yield* buriedJobs)[0]!.payload.tokens, [B])
        assert.strictEqual(yield* pushesTo(B), 1)
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(413, "PayloadTooLarge") })))))

    it.effect("are not sent again with the waiting ones", () =>
      Effect.gen(function*() {
        yield* publish([A, B, C])
        for (let hours = 0; hours < 30; hours += 2) {
          yield* drain()
          yield* TestBroker.advance("2 hours")
        }
        assert.strictEqual(yield* pushesTo(A), 1)
        assert.strictEqual(yield* pushesTo(B), 1)
        assert.strictEqual(yield* pushesTo(C), 14)
        assert.sameDeepMembers((yield* buriedJobs).map(({ payload }) => payload.tokens), [[B], [C]])
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(400, "BadTopic"), [C]: TestApns.reject(500) })))))

    it.effect("do not bury others: only those whose retries are exhausted are buried", () =>
      Effect.gen(function*() {
        const job = Job.make("apns", { payload: ApnsPayload, retry: Schedule.recurs(0) })
        yield* publish([A, B])
        yield* TestBroker.advance("2 days")
        yield* drain({ job })
        assert.deepStrictEqual((yield* buriedJobs)[0]!.payload.tokens, [A])
        assert.deepStrictEqual((yield* TestBroker.enqueued(ApnsJob.job))[0]!.payload.tokens, [B])
      }).pipe(Effect.provide(world(answers({ [A]: TestApns.reject(500), [B]: notSent })))))

    it.effect("are sent again when an operator kicks them", () => {
      let answer: TestApns.Answer = TestApns.reject(400, "BadTopic")
      return Effect.gen(function*() {
        yield* publish([A, B], { id: "news" })
        yield* drain()
        const kick = Operator.kick("apns", 1)
        yield* kick
        assert.deepStrictEqual((yield* drain()).map(delayOf), ["Buried"])
        answer = TestApns.accept
        yield* kick
        assert.deepStrictEqual((yield* drain()).map(delayOf), ["Done"])
        assert.strictEqual(yield* pushesTo(B), 3)
        assert.strictEqual(new Set((yield* TestApns.pushes).map(({ apnsId }) => apnsId)).size, 2)
      }).pipe(Effect.provide(world({ answer: ({ token }) => token === B ? answer : TestApns.accept })))
    })
  })
})

describe("the id of a push", () => {
  it("is a UUID v5", () => {
    // RFC 9562, appendix A.4
    assert.strictEqual(
      uuidV5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com"),
      "2ed6657d-e927-568b-95e1-2665a8aea6a2"
    )
  })
})
