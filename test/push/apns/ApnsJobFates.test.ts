/** Dead tokens, workers that die, brokers that take no jobs, and faults of the configuration: no push is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Broker from "../../../src/Broker.ts"
import * as BrokerError from "../../../src/BrokerError.ts"
import * as Job from "../../../src/Job.ts"
import * as Operator from "../../../src/Operator.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as DeadTokenJob from "../../../src/push/apns/DeadTokenJob.ts"
import type { Gateway } from "../../../src/push/apns/Gateway.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import * as Worker from "../../../src/Worker.ts"
import { allow, withMuchData } from "../../support/limits.ts"
import { A, answers, B, C, captured, delayOf, drain, only, publish, putForeign, tokensOf, world } from "./jobHarness.ts"

allow(withMuchData)

describe("ApnsJob", () => {
  describe("dead tokens", () => {
    const options = answers({
      [A]: TestApns.reject(410, "Unregistered", 1_700_000_000_000),
      [B]: TestApns.reject(400, "DeviceTokenNotForTopic")
    })

    it.effect("are published for the application, dead and wrong ones apart", () =>
      Effect.gen(function*() {
        yield* publish([A, B, "not hex", C])
        const outcome = yield* only()
        assert.deepInclude(outcome, { _tag: "Done", result: { accepted: 1, dead: 3, dropped: 0, again: 0, buried: 0 } })
        const jobs = yield* TestBroker.enqueued(DeadTokenJob.job)
        const common = { topic: "com.example.app", environment: "sandbox" } as const
        assert.sameDeepMembers(jobs.map(({ payload }) => payload), [
          { ...common, token: A, kind: "Dead", reason: "Unregistered", timestamp: 1_700_000_000_000 },
          { ...common, token: B, kind: "Wrong", reason: "DeviceTokenNotForTopic" },
          { ...common, token: "not hex", kind: "Wrong", reason: "BadDeviceToken" }
        ])
        assert.strictEqual(jobs[0]!.queue, "apns-tokens")
      }).pipe(Effect.provide(world(options))))

    it.effect("are passed to a function instead", () => {
      const seen: Array<DeadTokenJob.DeadToken> = []
      return Effect.gen(function*() {
        yield* publish([A, B, C])
        yield* only()
        assert.sameMembers(tokensOf(seen), [A, B])
        assert.deepStrictEqual(yield* TestBroker.enqueued(DeadTokenJob.job), [])
      }).pipe(
        Effect.provide(Layer.merge(world(options), DeadTokenJob.layer((dead) => Effect.sync(() => seen.push(...dead)))))
      )
    })

    it.effect("keep the job if their report fails", () =>
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
    ])("are the only ones pushed to again when the application's function %s", ([, failure]) => {
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
        assert.lengthOf(yield* TestBroker.enqueued(ApnsJob.job), 0)
        assert.lengthOf(yield* TestBroker.enqueued(ApnsJob.job, { state: "buried" }), 0)
      }).pipe(Effect.provide(Layer.merge(world(options), DeadTokenJob.layer(hook))))
    })
  })

  describe("a worker that dies", () => {
    it.effect("after it has published and before the job is settled loses nothing", () => {
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
        assert.lengthOf(yield* TestBroker.enqueued(DeadTokenJob.job), 1)
        yield* TestBroker.advance("1 minute")

        // the job again in full, and the part that was published before: at least once, under the same ids
        const outcomes = yield* drain()
        assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Done"])
        yield* TestBroker.advance("15 minutes")
        const pushes = yield* TestApns.pushes
        assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 3)
        assert.deepStrictEqual(tokensOf(pushes), [A, B, C, A, B, C])
        assert.deepStrictEqual(
          (yield* TestBroker.enqueued(DeadTokenJob.job)).map(({ payload }) => payload.token),
          [A, A]
        )
        const again = yield* TestBroker.enqueued(ApnsJob.job)
        assert.deepStrictEqual(again.map(({ payload }) => payload.tokens), [[B], [B]])
      }).pipe(Effect.provide(world(options)))
    })
  })

  describe("a broker that refuses jobs", () => {
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

    it.effect.each(refusals)("because it %s is retried until it accepts: nothing is pushed again", ([, reason]) => {
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
        const [again, ...others] = yield* TestBroker.enqueued(ApnsJob.job)
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(again!.payload.tokens, [B, C])
        assert.lengthOf(lines.filter((line) => line.includes("is retried until it succeeds")), 1)
      }).pipe(Effect.provide(Layer.merge(world(options), layer)))
    })

    it.effect("permanently: the job is buried, and nothing is pushed again", () =>
      Effect.gen(function*() {
        yield* publish([A, B])
        const reason = new BrokerError.JobTooBig({ queue: "apns", size: 2, limit: 1 })
        const outcome = yield* refusing(only(), () => reason)
        assert.match(outcome._tag === "Buried" ? outcome.reason : outcome._tag, /1 of 2 pushes.*limit of 1 bytes/)
      }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(500) })))))

    it.effect("over a size gets the rest of a large job as several jobs", () =>
      Effect.gen(function*() {
        const tokens = Array.from({ length: 900 }, (_, n) => n.toString(16).padStart(64, "0"))
        yield* putForeign({ tokens, payload: { aps: { alert: "Hi" } } })
        yield* only()
        const again = yield* TestBroker.enqueued(ApnsJob.job)
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

  describe("a configuration fault", () => {
    const fault = TestApns.reject(403, "InvalidProviderToken")

    it.effect("is logged once with what to do, and again after it was fixed and came back", () => {
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
        assert.match(alarms()[0]!, /Check that the key file, key id and team id belong together.*kept/)
        answer = TestApns.accept
        yield* round
        answer = fault
        yield* publish([A])
        yield* round
        assert.lengthOf(alarms(), 2)
      }).pipe(Effect.provide(Layer.merge(world({ answer: () => answer }), layer)))
    })

    it.effect("of one app is logged even while another app works", () => {
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

  it.effect("the worker's outcomes carry the summary", () =>
    Effect.gen(function*() {
      yield* Effect.forEach([[A], [B], [C], [A, B, C]], (tokens) => publish(tokens))
      const exit = yield* Worker.run({ maxJobs: 4, concurrency: 1 }, ApnsJob.handler())
      assert.strictEqual(exit.reason, "MaxJobs")
      assert.deepInclude(exit.counts, { Done: 2, Retried: 1, Buried: 1 })
    }).pipe(Effect.provide(world(answers({ [B]: TestApns.reject(500), [C]: TestApns.reject(413) })))))
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

  it.effect("is the app that the push went to, if the kind of credential decided that", () =>
    Effect.gen(function*() {
      yield* ApnsJob.publish({ pushType: "location", payload: { aps: {} } }, [B])
      yield* drain()
      const told = yield* TestBroker.enqueued(DeadTokenJob.job)
      assert.deepStrictEqual(told.map(({ payload }) => payload.topic), ["com.example.b"])
    }).pipe(
      Effect.provide(on(gateway("Certificate", () => ["com.example.a"]), gateway("Key", () => ["com.example.b"])))
    ))

  it.effect("may be unknown after its certificate was replaced: the token is reported later, and nothing is sent twice", () => {
    let topics = ["com.example.a"]
    const pushed: Array<string> = []
    return Effect.gen(function*() {
      yield* ApnsJob.publish(Notification.alert({ body: "Hello", topic: "com.example.a" }), [A, B])
      yield* drain()
      topics = ["com.example.a"]
      yield* TestBroker.advance("1 day")
      yield* drain()
      assert.deepStrictEqual(pushed.filter((token) => token === A), [A])
      assert.lengthOf(yield* TestBroker.enqueued(DeadTokenJob.job), 1)
    }).pipe(Effect.provide(on(gateway("Certificate", () => topics, (token) => {
      if (token === B && !pushed.includes(B)) topics = ["com.example.b"]
      pushed.push(token)
    }))))
  })
})

describe("pushes that were buried apart", () => {
  it.effect("are sent when an operator moves their job to another queue", () => {
    let isMended = false
    return Effect.gen(function*() {
      yield* publish([A, B])
      yield* drain()
      const [buried] = yield* TestBroker.enqueued(ApnsJob.job, { state: "buried" })
      isMended = true
      yield* Operator.moveJob(buried!.jobId, "apns-again")
      yield* TestBroker.drainWith({ queue: "apns-again" }, ApnsJob.handler())
      assert.deepStrictEqual(tokensOf(yield* TestApns.pushes), [A, B, B])
    }).pipe(Effect.provide(world({
      answer: ({ token }) => token === B && !isMended ? TestApns.reject(400, "BadTopic") : TestApns.accept
    })))
  })
})
