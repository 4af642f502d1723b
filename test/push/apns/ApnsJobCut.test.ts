/** A push job whose attempt the worker cuts short. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import * as BrokerError from "../../../src/BrokerError.ts"
import * as Job from "../../../src/Job.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as DeadTokenJob from "../../../src/push/apns/DeadTokenJob.ts"
import { ApnsPayload } from "../../../src/push/apns/notification/ApnsPayload.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import * as TestBroker from "../../../src/testing/TestBroker.ts"
import type * as Worker from "../../../src/Worker.ts"
import { layerConsumer, only, pass, start, statsOf } from "../../worker/harness.ts"

const hello = Notification.alert({ body: "Hello" })
const accepted = "aa".repeat(32)
const dead = "dd".repeat(32)
const silent = "55".repeat(32)

/** Of one token nothing is ever heard. */
const apns = TestApns.layer({
  answer: ({ token }) =>
    token === silent ? Effect.never : token === dead ? TestApns.reject(410, "Unregistered", 1) : TestApns.accept
})

const world = Layer.merge(TestBroker.layer, apns)

const publish = (tokens: ReadonlyArray<string>, options?: Publisher.PublishOptions) =>
  Effect.map(ApnsJob.publish(hello, tokens, options), ([id]) => Result.getOrThrow(id!))

const seconds = (count: number) => Effect.repeat(pass("1 second"), { times: count - 1 })

/** A worker that stops on request, and returns the outcomes of its jobs. */
const startToStop = Effect.fnUntraced(function*(
  handler: ReturnType<typeof ApnsJob.handler>,
  options: Worker.Options = {}
) {
  const told = yield* Deferred.make<void>()
  const worker = yield* start({ ...options, stop: Deferred.await(told) }, handler)
  return { worker, stop: Deferred.succeed(told, undefined) }
})

const startAndStop = Effect.fnUntraced(function*(...args: Parameters<typeof startToStop>) {
  const { stop, worker } = yield* startToStop(...args)
  yield* stop
  yield* seconds(12)
  return worker
})

const pushesTo = (token: string) =>
  Effect.map(TestApns.pushes, (pushes) => pushes.filter((push) => push.token === token).length)

const waiting = TestBroker.enqueued(ApnsJob.job)
const told = TestBroker.enqueued(DeadTokenJob.job)

describe("a push job whose worker stops", () => {
  it.effect("is done, and pushes without an answer are published as a new job", () =>
    Effect.gen(function*() {
      yield* publish([accepted, dead, silent], { id: "news", priority: 7, ttr: "5 minutes", deadline: "1 hour" })
      const worker = yield* startAndStop(ApnsJob.handler(), { grace: "2 seconds" })
      assert.deepInclude(only(worker, "Discarded"), {
        reason: "interrupted: 1 accepted, 1 dead, 1 published as a new job"
      })
      const [again, ...others] = yield* waiting
      assert.deepStrictEqual(others, [])
      assert.deepInclude(again, { priority: 7, expiresAt: 3_600_000, state: "ready", ttr: Duration.minutes(5) })
      assert.deepStrictEqual(again!.payload, {
        tokens: [silent],
        notification: hello,
        origin: { id: "news", attempts: 1, publishedAt: 0 }
      })
      assert.deepStrictEqual((yield* told).map(({ payload }) => payload.token), [dead])
    }).pipe(Effect.provide(world)))

  it.effect("three times sends no accepted push again, and keeps the ids", () =>
    Effect.gen(function*() {
      yield* publish([accepted, silent])
      for (let i = 0; i < 3; i++) {
        const worker = yield* start({}, ApnsJob.handler())
        yield* Fiber.interrupt(worker.fiber)
      }
      const pushes = yield* TestApns.pushes
      assert.deepStrictEqual(pushes.map(({ token }) => token), [accepted, silent, silent, silent])
      assert.strictEqual(new Set(pushes.map(({ apnsId }) => apnsId)).size, 2)
    }).pipe(Effect.provide(world)))

  it.effect("before any push has ended is requeued unchanged", () =>
    Effect.gen(function*() {
      const id = yield* publish([silent])
      const worker = yield* startAndStop(ApnsJob.handler())
      only(worker, "Requeued")
      assert.include(yield* statsOf(id), { state: "ready", attempt: 0 })
    }).pipe(Effect.provide(world)))

  it.effect("is settled the same with a tracer", () =>
    Effect.gen(function*() {
      yield* publish([accepted, silent])
      const worker = yield* startAndStop(ApnsJob.handler())
      only(worker, "Discarded")
    }).pipe(
      Effect.provide(world),
      Effect.provideService(Tracer.Tracer, Tracer.make({ span: (options) => new Tracer.NativeSpan(options) }))
    ))

  it.effect("sends no push twice if unknown pushes are dropped", () =>
    Effect.gen(function*() {
      yield* publish([accepted, silent])
      yield* publish([silent])
      const worker = yield* startAndStop(ApnsJob.handler({ onUnknown: "Drop" }))
      assert.deepStrictEqual(worker.tags(), ["Discarded", "Discarded"])
      assert.deepStrictEqual(yield* waiting, [])
    }).pipe(Effect.provide(world)))

  it.effect("while the report of dead tokens fails keeps these too", () =>
    Effect.gen(function*() {
      yield* publish([accepted, dead, silent])
      const worker = yield* startAndStop(ApnsJob.handler())
      only(worker, "Discarded")
      assert.sameMembers((yield* waiting).flatMap(({ payload }) => payload.tokens), [dead, silent])
    }).pipe(Effect.provide(Layer.merge(world, DeadTokenJob.layer(() => Effect.fail("the database is away"))))))

  describe("while the broker refuses jobs", () => {
    const refusal = new Publisher.PublishError({
      job: "apns",
      queue: "apns",
      reason: new BrokerError.OutOfMemory({ broker: "test" })
    })

    /** A publisher that refuses while `isFull` says so. */
    const refusing = (isFull: () => boolean) =>
      Layer.effect(
        Publisher.Publisher,
        Publisher.Publisher.useSync((publisher) =>
          Publisher.Publisher.of({
            ...publisher,
            publish: (job, payload, options) =>
              Effect.suspend(() => isFull() ? refusal : publisher.publish(job, payload, options))
          })
        )
      ).pipe(Layer.provideMerge(world))

    it.effect("has a few more seconds", () => {
      let isFull = true
      return Effect.gen(function*() {
        yield* publish([accepted, silent])
        const { stop, worker } = yield* startToStop(ApnsJob.handler())
        yield* stop
        yield* seconds(2)
        assert.deepStrictEqual(worker.tags(), [])
        isFull = false
        yield* seconds(4)
        only(worker, "Discarded")
        assert.deepStrictEqual((yield* waiting).map(({ payload }) => payload.tokens), [[silent]])
      }).pipe(Effect.provide(refusing(() => isFull)))
    })

    it.effect("for longer is requeued as a whole, and nothing is published afterwards", () => {
      let isFull = true
      return Effect.gen(function*() {
        const id = yield* publish([accepted, silent])
        const worker = yield* startAndStop(ApnsJob.handler())
        only(worker, "Requeued")
        assert.include(yield* statsOf(id), { state: "ready", attempt: 0 })
        isFull = false
        yield* seconds(60)
        assert.lengthOf(yield* waiting, 1)
      }).pipe(Effect.provide(refusing(() => isFull)))
    })
  })
})

describe("a push job whose attempt takes too long", () => {
  it.effect("sends no accepted push again; pushes without an answer have their own attempts", () =>
    Effect.gen(function*() {
      const job = Job.make("apns", { payload: ApnsPayload, timeout: "2 seconds" })
      yield* publish([accepted, dead, silent])
      const worker = yield* start({}, ApnsJob.handler({ job }))
      yield* seconds(10)
      assert.deepStrictEqual(worker.tags().slice(0, 2), ["Discarded", "Retried"])
      assert.strictEqual(yield* pushesTo(accepted), 1)
      assert.strictEqual(yield* pushesTo(dead), 1)
      assert.isAbove(yield* pushesTo(silent), 2)
      assert.lengthOf(yield* told, 1)
    }).pipe(Effect.provide(world)))
})

describe("a push job that expires while it is pushed", () => {
  it.effect("ends, and its known dead tokens are reported", () =>
    Effect.gen(function*() {
      yield* publish([accepted, dead, silent], { deadline: "2 seconds" })
      const worker = yield* start({}, ApnsJob.handler())
      yield* pass("2 seconds")
      only(worker, "Expired")
      assert.deepStrictEqual((yield* told).map(({ payload }) => payload.token), [dead])
      assert.deepStrictEqual(yield* waiting, [])
    }).pipe(Effect.provide(world)))
})

describe("a push job whose lease is lost", () => {
  it.effect("is not published again: it runs again as a whole", () => {
    let published = 0
    const counting = Layer.effect(
      Publisher.Publisher,
      Publisher.Publisher.useSync((publisher) =>
        Publisher.Publisher.of({
          ...publisher,
          publish: (job, payload, options) =>
            Effect.suspend(() => (published++, publisher.publish(job, payload, options)))
        })
      )
    )
    return Effect.gen(function*() {
      yield* publish([accepted, dead, silent], { ttr: "4 seconds" })
      const worker = yield* start({}, ApnsJob.handler())
      yield* pass("2 seconds")
      only(worker, "LeaseLost")
      assert.strictEqual(published, 0)
    }).pipe(Effect.provide(counting.pipe(
      Layer.provideMerge(layerConsumer(() => ({
        touch: (leases) => Effect.succeed(leases.map((lease) => Result.fail(BrokerError.leaseLost(lease))))
      }))),
      Layer.merge(apns)
    )))
  })
})
