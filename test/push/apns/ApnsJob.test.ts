import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Broker from "../../../src/Broker.ts"
import * as BrokerError from "../../../src/BrokerError.ts"
import * as Inspector from "../../../src/Inspector.ts"
import * as Job from "../../../src/Job.ts"
import type { Outcome } from "../../../src/Outcome.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as DeadTokenJob from "../../../src/push/apns/DeadTokenJob.ts"
import type { Gateway } from "../../../src/push/apns/Gateway.ts"
import { ApnsPayload } from "../../../src/push/apns/notification/ApnsPayload.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import { uuidV5 } from "../../../src/push/apns/pushId.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import * as Worker from "../../../src/Worker.ts"

const hello = Notification.alert({ body: "Hello" })
const A = "aa".repeat(32)
const B = "bb".repeat(32)
const C = "cc".repeat(32)

/** Answers by token; what isn't named is accepted. */
const answers = (byToken: Record<string, TestApns.Answer>): TestApns.Options => ({
  answer: ({ token }) => byToken[token] ?? TestApns.accept
})

const notSent = TestApns.fail(new ApnsError.NotSent({ detail: "no connection" }))
const unknown = TestApns.fail(new ApnsError.Unknown({ detail: "the connection ended" }))
const timeout = (stage: "Queue" | "Answer") =>
  TestApns.fail(new ApnsError.Timeout({ stage, after: Duration.seconds(30) }))

const world = (options: TestApns.Options = {}) => Layer.merge(TestBroker.layer, TestApns.layer(options))

const publish = (tokens: ReadonlyArray<string>, options?: Publisher.PublishOptions) =>
  ApnsJob.publish(hello, tokens, options)

const drain = (options?: ApnsJob.Options) => TestBroker.drain(ApnsJob.handler(options))

const only = Effect.fnUntraced(function*(options?: ApnsJob.Options) {
  const outcomes = yield* drain(options)
  assert.lengthOf(outcomes, 1)
  return outcomes[0]!
})

/** What another language publishes, without saying when. */
const putForeign = (payload: object, envelope: object = {}) =>
  Broker.Broker.use((broker) =>
    broker.put(
      "apns",
      Result.getOrThrow(
        Broker.putRequest(Buffer.from(JSON.stringify({ backq: 1, id: "from-php", job: "apns", payload, ...envelope })))
      )
    )
  )

const tokensOf = (pushes: ReadonlyArray<{ readonly token: string }>) => pushes.map(({ token }) => token)

const delayOf = (outcome: Outcome) => outcome._tag === "Retried" ? Duration.format(outcome.delay) : outcome._tag

const captured = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.layer([Logger.make(({ logLevel, message }) => lines.push(`${logLevel}: ${String(message)}`))])
  }
}

describe("ApnsJob", () => {
  it.effect("pushes to all tokens of a job, once to each", () =>
    Effect.gen(function*() {
      yield* publish([A, B, C, B, C.toUpperCase()])
      const outcome = yield* only()
      assert.deepInclude(outcome, { _tag: "Done", result: { accepted: 3, dead: 0, dropped: 0, again: 0, buried: 0 } })
      assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, C])
    }).pipe(Effect.provide(world())))

  it.effect("pushes what another language has published", () =>
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

  it.effect("tells in the log of tokens that are of no use: as a warning where they are wrong", () =>
    Effect.gen(function*() {
      const { layer, lines } = captured()
      yield* publish([A, B, C])
      yield* publish([B])
      yield* Effect.provide(drain(), layer)
      assert.deepStrictEqual(lines.filter((line) => line.includes("device tokens")), [
        "Warn: 2 of 3 device tokens are of no use, and the application is told: 1 Unregistered, 1 BadDeviceToken",
        "Info: 1 of 1 device tokens are of no use, and the application is told: 1 Unregistered"
      ])
    }).pipe(
      Effect.provide(world(answers({
        [B]: TestApns.reject(410, "Unregistered", 1),
        [C]: TestApns.reject(400, "BadDeviceToken")
      })))
    ))

  it.effect("makes several jobs for many tokens", () =>
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
      const jobs = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
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
      ["a reason that nobody knows", TestApns.reject(400, "NewInAnyYear"), "Buried"],
      ["Unregistered", TestApns.reject(410, "Unregistered", 1), "Done"],
      ["BadDeviceToken", TestApns.reject(400, "BadDeviceToken"), "Done"]
    ]

    it.effect.each(cases)("%s: the job is %s%s", ([, answer, expected, options]) =>
      Effect.gen(function*() {
        yield* publish([A])
        assert.strictEqual(delayOf(yield* only(options)), expected)
        // the job itself is tried again, not a new one
        const waiting = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
        assert.lengthOf(waiting, expected.endsWith("d") || expected === "Done" ? 0 : 1)
        assert.lengthOf(yield* TestApns.pushes, 1)
      }).pipe(Effect.provide(world(answers({ [A]: answer })))))

    it.effect("that expired before it was sent, is not sent", () =>
      Effect.gen(function*() {
        yield* ApnsJob.publish(Notification.alert({ body: "Hello", expiration: 60 }), [A, B])
        yield* TestBroker.advance("60 seconds")
        const outcome = yield* only()
        assert.strictEqual(outcome._tag, "Discarded")
        assert.match(outcome._tag === "Discarded" ? outcome.reason : "", /expired/)
        assert.deepStrictEqual(yield* TestApns.pushes, [])
      }).pipe(Effect.provide(world())))

    it.effect("of Apple's own fault waits twice as long each time, and is buried at the end of the schedule", () =>
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
    )("of %s buries nothing, however long it lasts", ([, answer]) =>
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
    ])("after %s that the schedule did not outlast", (_, before) => {
      it.effect.each(
        [["of Apple's own fault", TestApns.reject(503, "Shutdown"), "1h"], ["Unknown", unknown, "5m"]] as const
      )(
        "%s: the job has its day",
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

    it.effect("of a job without a date, has its day from the end of the schedule on", () => {
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

    it.effect("and was perhaps sent, is repeated under the same id, until the end of the schedule, and for a day", () =>
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
    it.effect("become a new job, with what the first was published with", () => {
      const options = answers({ [B]: TestApns.reject(503, "ServiceUnavailable"), [C]: TestApns.reject(429) })
      return Effect.gen(function*() {
        yield* publish([A, B, C], { queue: "slow", id: "news", priority: 7, ttr: "5 minutes", deadline: "1 hour" })
        yield* TestBroker.advance("1 minute")
        const outcomes = yield* TestBroker.drainWith({ queue: "slow" }, ApnsJob.handler())
        assert.deepInclude(outcomes[0], {
          _tag: "Done",
          result: { accepted: 1, dead: 0, dropped: 0, again: 2, buried: 0 }
        })
        const [again, ...others] = yield* TestBroker.enqueued(ApnsJob.ApnsJob, { queue: "slow" })
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

    it.effect("go on counting attempts, and keep the ids of their pushes", () => {
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

    it.effect("wait as long as a broker can, and have the deadline that the first has, if any calendar has it", () => {
      const tooMany = new ApnsError.TooManyRequests({ status: 429, delay: Duration.days(1_000_000) })
      return Effect.gen(function*() {
        yield* putForeign({ tokens: [A, B], payload: { aps: { alert: "Hi" } } }, { expiresAt: 1e17 })
        const job = Job.make("apns", { payload: ApnsPayload, deadline: "1 hour" })
        assert.strictEqual(delayOf((yield* drain({ job }))[0]!), "Done")
        const [again] = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
        assert.deepStrictEqual(again!.delay, Broker.maxDelay)
        assert.isUndefined(again!.expiresAt)
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.fail(tooMany) }))))
    })

    it.effect("are not told by the id, which is the user's own", () =>
      Effect.gen(function*() {
        yield* publish([A], { id: "escalation#after-15" })
        yield* publish([A], { id: "escalation" })
        assert.deepStrictEqual((yield* drain()).map(delayOf), ["1s", "1s"])
        assert.strictEqual(new Set((yield* TestApns.pushes).map(({ apnsId }) => apnsId)).size, 2)
      }).pipe(Effect.provide(world(answers({ [A]: unknown })))))

    it.effect("have the patience that the first job has", () =>
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

    it.effect("and all of them, stay the same job, after the longest delay", () =>
      Effect.gen(function*() {
        yield* publish([A, B])
        assert.strictEqual(delayOf(yield* only()), "15m")
        assert.deepStrictEqual((yield* TestBroker.enqueued(ApnsJob.ApnsJob))[0]!.payload.tokens, [A, B])
      }).pipe(Effect.provide(world(answers({ [A]: notSent, [B]: TestApns.reject(500) })))))
  })

  describe("pushes that will never work", () => {
    const buriedJobs = TestBroker.enqueued(ApnsJob.ApnsJob, { state: "buried" })
    const pushesTo = (token: string) =>
      Effect.map(TestApns.pushes, (pushes) => pushes.filter((push) => push.token === token).length)

    it.effect("are buried without those that worked, and without another push", () =>
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

    it.effect("are not pushed again with those that wait", () =>
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

    it.effect("are not given up with others: those that were tried for long enough stay behind", () =>
      Effect.gen(function*() {
        const job = Job.make("apns", { payload: ApnsPayload, retry: Schedule.recurs(0) })
        yield* publish([A, B])
        yield* TestBroker.advance("2 days")
        yield* drain({ job })
        assert.deepStrictEqual((yield* buriedJobs)[0]!.payload.tokens, [A])
        assert.deepStrictEqual((yield* TestBroker.enqueued(ApnsJob.ApnsJob))[0]!.payload.tokens, [B])
      }).pipe(Effect.provide(world(answers({ [A]: TestApns.reject(500), [B]: notSent })))))

    it.effect("are pushed again when somebody kicks them", () => {
      let answer: TestApns.Answer = TestApns.reject(400, "BadTopic")
      return Effect.gen(function*() {
        yield* publish([A, B], { id: "news" })
        yield* drain()
        const kick = Inspector.Inspector.use((inspector) => inspector.kick("apns", 1))
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

  describe("dead tokens", () => {
    const options = answers({
      [A]: TestApns.reject(410, "Unregistered", 1_700_000_000_000),
      [B]: TestApns.reject(400, "DeviceTokenNotForTopic")
    })

    it.effect("are published for the application, told apart", () =>
      Effect.gen(function*() {
        yield* publish([A, B, "not hex", C])
        const outcome = yield* only()
        assert.deepInclude(outcome, { _tag: "Done", result: { accepted: 1, dead: 3, dropped: 0, again: 0, buried: 0 } })
        const jobs = yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob)
        const common = { topic: "com.example.app", environment: "sandbox" } as const
        assert.sameDeepMembers(jobs.map(({ payload }) => payload), [
          { ...common, token: A, kind: "Dead", reason: "Unregistered", timestamp: 1_700_000_000_000 },
          { ...common, token: B, kind: "Wrong", reason: "DeviceTokenNotForTopic" },
          { ...common, token: "not hex", kind: "Wrong", reason: "BadDeviceToken" }
        ])
        assert.strictEqual(jobs[0]!.queue, "apns-tokens")
      }).pipe(Effect.provide(world(options))))

    it.effect("are handed to a function instead", () => {
      const seen: Array<DeadTokenJob.DeadToken> = []
      return Effect.gen(function*() {
        yield* publish([A, B, C])
        yield* only()
        assert.sameMembers(tokensOf(seen), [A, B])
        assert.deepStrictEqual(yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob), [])
      }).pipe(
        Effect.provide(Layer.merge(world(options), DeadTokenJob.layer((dead) => Effect.sync(() => seen.push(...dead)))))
      )
    })

    it.effect("that the application can't take, keep the job", () =>
      Effect.gen(function*() {
        yield* publish([A])
        const fiber = yield* Effect.forkChild(only())
        yield* TestBroker.advance("1 minute")
        const outcome = yield* Fiber.join(fiber)
        assert.strictEqual(delayOf(outcome), "1s")
        assert.include(outcome._tag === "Retried" ? outcome.reason : "", "the database is away")
      }).pipe(
        Effect.provide(
          Layer.merge(world(options), DeadTokenJob.layer(() => Effect.fail("the database is away")))
        )
      ))

    it.effect.each<[string, Effect.Effect<never, string>]>([
      ["fails", Effect.fail("the database is away")],
      ["dies", Effect.die(new Error("no such table"))],
      ["is interrupted", Effect.interrupt]
    ])("are pushed to again, and nothing else, when the application's function %s", ([, failure]) => {
      let works = false
      const seen: Array<string> = []
      const hook = (dead: DeadTokenJob.DeadTokens) =>
        Effect.andThen(
          Effect.suspend(() => works ? Effect.void : failure),
          Effect.sync(() => seen.push(...tokensOf(dead)))
        )
      return Effect.gen(function*() {
        yield* publish([A, B, C], { id: "news" })
        const rounds = Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(drain())
          yield* TestBroker.advance("1 minute")
          return yield* Fiber.join(fiber)
        })
        const [done] = yield* rounds
        assert.deepInclude(done, { _tag: "Done", result: { accepted: 1, dead: 0, dropped: 0, again: 2, buried: 0 } })
        for (let i = 0; i < 20; i++) {
          yield* rounds
          yield* TestBroker.advance("5 minutes")
        }
        works = true
        yield* rounds
        assert.sameMembers(seen, [A, B])
        const pushes = yield* TestApns.pushes
        assert.lengthOf(pushes.filter(({ token }) => token === C), 1)
        assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 3)
        assert.lengthOf(yield* TestBroker.enqueued(ApnsJob.ApnsJob), 0)
        assert.lengthOf(yield* TestBroker.enqueued(ApnsJob.ApnsJob, { state: "buried" }), 0)
      }).pipe(Effect.provide(Layer.merge(world(options), DeadTokenJob.layer(hook))))
    })
  })

  describe("a worker that dies", () => {
    it.effect("after it has published, and before the job is settled, loses nothing", () => {
      const options = answers({ [A]: TestApns.reject(410, "Unregistered", 1), [B]: TestApns.reject(500) })
      return Effect.gen(function*() {
        yield* publish([A, B, C], { id: "news", ttr: "1 minute" })
        const broker = yield* Broker.Broker
        /** A broker that has lost the connection by the time when a job is settled. */
        const dying: Broker.Broker["Service"] = {
          ...broker,
          consume: (queues) =>
            Effect.map(broker.consume(queues), (consumer) => ({
              ...consumer,
              settle: (settlements) =>
                Effect.succeed(settlements.map(({ lease }) => Result.fail(BrokerError.leaseLost(lease))))
            }))
        }
        const outcome = yield* Effect.provideService(
          Stream.runHead(Worker.stream({ touch: false }, ApnsJob.handler())),
          Broker.Broker,
          dying
        )
        assert.deepInclude(Option.getOrThrow(outcome), { _tag: "LeaseLost", handled: true })
        assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, C])
        assert.lengthOf(yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob), 1)
        yield* TestBroker.advance("1 minute")

        // the job again in full, and the part that was published before: at least once, under the same ids
        const outcomes = yield* drain()
        assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Done"])
        yield* TestBroker.advance("15 minutes")
        const pushes = yield* TestApns.pushes
        assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 3)
        assert.deepStrictEqual(tokensOf(pushes), [A, B, C, A, B, C])
        assert.deepStrictEqual(
          (yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob)).map(({ payload }) => payload.token),
          [A, A]
        )
        const again = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
        assert.deepStrictEqual(again.map(({ payload }) => payload.tokens), [[B], [B]])
      }).pipe(Effect.provide(world(options)))
    })
  })

  describe("a broker that takes no jobs", () => {
    const broker = "test"
    const refusals: ReadonlyArray<[string, BrokerError.BrokerErrorReason]> = [
      ["is full", new BrokerError.OutOfMemory({ broker })],
      ["drains", new BrokerError.Draining({ broker })],
      ["is away", new BrokerError.Unavailable({ broker, fate: "NotSent", detail: "the connection ended" })]
    ]

    /** Has a publisher that refuses, while `refusal` says so. */
    const refusing = Effect.fnUntraced(function*<A, E, R>(
      effect: Effect.Effect<A, E, R>,
      refusal: () => BrokerError.BrokerErrorReason | undefined
    ) {
      const publisher = yield* Publisher.Publisher
      const refused = (job: Job.Job<any>) => {
        const reason = refusal()
        return reason && new Publisher.PublishError({ job: job.name, queue: job.queue, reason })
      }
      return yield* Effect.provideService(
        effect,
        Publisher.Publisher,
        Publisher.Publisher.of({
          ...publisher,
          publish: (job, payload, options) =>
            Effect.suspend(() => refused(job) ?? publisher.publish(job, payload, options)),
          publishAll: (job, payloads, options) =>
            Effect.suspend(() => {
              const error = refused(job)
              return error === undefined
                ? publisher.publishAll(job, payloads, options)
                : Effect.succeed(Array.from(payloads, () => Result.fail(error)))
            })
        })
      )
    })

    it.effect.each(refusals)("because it %s, is asked until it does: nothing is pushed again", ([, reason]) => {
      let refusal: BrokerError.BrokerErrorReason | undefined = reason
      const options = answers({ [B]: TestApns.reject(500), [C]: TestApns.reject(410, "Unregistered") })
      const { layer, lines } = captured()
      return Effect.gen(function*() {
        yield* publish([A, B, C], { ttr: "30 seconds" })
        const fiber = yield* Effect.forkChild(refusing(only(), () => refusal))
        for (let minutes = 0; minutes < 60; minutes++) {
          for (let i = 0; i < 6; i++) yield* TestBroker.advance("10 seconds")
        }
        assert.isUndefined(fiber.pollUnsafe())
        refusal = undefined
        yield* TestBroker.advance("20 seconds")
        assert.deepInclude(yield* Fiber.join(fiber), {
          _tag: "Done",
          result: { accepted: 1, dead: 0, dropped: 0, again: 2, buried: 0 }
        })
        assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, C])
        const [again, ...others] = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(again!.payload.tokens, [B, C])
        assert.lengthOf(lines.filter((line) => line.includes("is retried until it succeeds")), 1)
      }).pipe(Effect.provide(Layer.merge(world(options), layer)))
    })

    it.effect("and never will take this one: the job is buried, and nothing is pushed again", () =>
      Effect.gen(function*() {
        yield* publish([A, B])
        const reason = new BrokerError.JobTooBig({ queue: "apns", size: 2, limit: 1 })
        const outcome = yield* refusing(only(), () => reason)
        assert.match(outcome._tag === "Buried" ? outcome.reason : outcome._tag, /1 of 2 pushes.*limit of 1 bytes/)
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(500) })))))

    it.effect("of every size, gets what is left of a large one in several", () =>
      Effect.gen(function*() {
        const tokens = Array.from({ length: 900 }, (_, n) => n.toString(16).padStart(64, "0"))
        yield* putForeign({ tokens, payload: { aps: { alert: "Hi" } } })
        yield* only()
        const again = yield* TestBroker.enqueued(ApnsJob.ApnsJob)
        assert.deepStrictEqual(again.map(({ id, payload }) => [id, payload.tokens.length]), [
          ["from-php#after-1", 500],
          ["from-php#after-1/2", 399]
        ])
      }).pipe(
        Effect.provide(world({
          answer: ({ token }) => /^0+$/.test(token) ? TestApns.accept : TestApns.reject(500)
        }))
      ))
  })

  describe("a fault of the configuration", () => {
    const fault = TestApns.reject(403, "InvalidProviderToken")

    it.effect("is told once, with what to do, and again after it was mended and came back", () => {
      const { layer, lines } = captured()
      let answer: TestApns.Answer = fault
      const alarms = () => lines.filter((line) => line.startsWith("Error"))
      return Effect.gen(function*() {
        const handler = ApnsJob.handler()
        const round = Effect.gen(function*() {
          yield* TestBroker.drain(handler)
          yield* TestBroker.advance("5 minutes")
        })
        yield* Effect.forEach([A, B, C], (token) => publish([token]))
        yield* round
        yield* round
        assert.lengthOf(alarms(), 1)
        assert.match(alarms()[0]!, /Check that key file, key id and team id belong together.*kept/)
        answer = TestApns.accept
        yield* round
        answer = fault
        yield* publish([A])
        yield* round
        assert.lengthOf(alarms(), 2)
      }).pipe(Effect.provide(Layer.merge(world({ answer: () => answer }), layer)))
    })

    it.effect("of one app doesn't hide behind another that works", () => {
      const { layer, lines } = captured()
      const options: TestApns.Options = {
        answer: ({ notification }) => notification.topic === "com.example.bad" ? fault : TestApns.accept
      }
      return Effect.gen(function*() {
        const bad = Notification.alert({ body: "Hello", topic: "com.example.bad" })
        for (let i = 0; i < 3; i++) {
          yield* ApnsJob.publish(bad, [A])
          yield* publish([A])
        }
        yield* drain()
        assert.lengthOf(lines.filter((line) => line.startsWith("Error")), 1)
      }).pipe(Effect.provide(Layer.merge(world(options), layer)))
    })
  })

  it.effect("a worker tells what it did", () =>
    Effect.gen(function*() {
      yield* Effect.forEach([[A], [B], [C], [A, B, C]], (tokens) => publish(tokens))
      const exit = yield* Worker.run({ maxJobs: 4, concurrency: 1 }, ApnsJob.handler())
      assert.strictEqual(exit.reason, "MaxJobs")
      assert.deepInclude(exit.counts, { Done: 2, Retried: 1, Buried: 1 })
    }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(500), [C]: TestApns.reject(413) })))))
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

describe("the app of a dead token", () => {
  const dead = Result.fail(ApnsError.fromAnswer({ status: 410, reason: "Unregistered", timestamp: 1, token: B }))
  const accepted = Result.succeed({ apnsId: "", apnsUniqueId: undefined, attempts: 1, duration: 1 })

  /** The connections of a credential; `onPush` is called when one is made. */
  const gateway = (
    credential: Gateway["credential"],
    topics: () => ReadonlyArray<string>,
    onPush: (token: string) => void = () => {}
  ): Gateway => ({
    environment: "production",
    credential,
    get topics() {
      return topics()
    },
    get defaultTopic() {
      return topics()[0]
    },
    inFlight: 10,
    submit: ({ token }, settle) => {
      onPush(token)
      queueMicrotask(() => settle(token === B ? dead : accepted))
      return () => {}
    },
    exchange: () => Effect.never
  })

  const on = (...gateways: ReadonlyArray<Gateway>) =>
    Layer.merge(TestBroker.layer, Layer.effect(Apns.Apns, Apns.make(gateways)))

  it.effect("is the one that the push went to, where the kind of credential decided that", () =>
    Effect.gen(function*() {
      yield* ApnsJob.publish({ pushType: "location", payload: { aps: {} } }, [B])
      yield* drain()
      const told = yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob)
      assert.deepStrictEqual(told.map(({ payload }) => payload.topic), ["com.example.b"])
    }).pipe(
      Effect.provide(on(gateway("Certificate", () => ["com.example.a"]), gateway("Key", () => ["com.example.b"])))
    ))

  it.effect("may be gone when its certificate was replaced meanwhile: the token is told later, and nothing sent twice", () => {
    let topics = ["com.example.a"]
    const pushed: Array<string> = []
    return Effect.gen(function*() {
      yield* ApnsJob.publish(Notification.alert({ body: "Hello", topic: "com.example.a" }), [A, B])
      yield* drain()
      topics = ["com.example.a"]
      yield* TestBroker.advance("1 day")
      yield* drain()
      assert.deepStrictEqual(pushed.filter((token) => token === A), [A])
      assert.lengthOf(yield* TestBroker.enqueued(DeadTokenJob.DeadTokenJob), 1)
    }).pipe(Effect.provide(on(gateway("Certificate", () => topics, (token) => {
      if (token === B && !pushed.includes(B)) topics = ["com.example.b"]
      pushed.push(token)
    }))))
  })
})

describe("pushes that were buried as a part", () => {
  it.effect("are made when an operator moves their job to another queue", () => {
    let isMended = false
    return Effect.gen(function*() {
      yield* publish([A, B])
      yield* drain()
      const [buried] = yield* TestBroker.enqueued(ApnsJob.ApnsJob, { state: "buried" })
      isMended = true
      yield* Inspector.Inspector.use((inspector) => inspector.moveJob(buried!.jobId, "apns-again"))
      yield* TestBroker.drainWith({ queue: "apns-again" }, ApnsJob.handler())
      assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, B])
    }).pipe(Effect.provide(world({
      answer: ({ token }) => token === B && !isMended ? TestApns.reject(400, "BadTopic") : TestApns.accept
    })))
  })
})
