/**
 * The rules about what an operator does with single jobs: listing them, putting
 * them aside, moving them, and seeing what they failed with.
 */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Features, type JobId, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import type { RestoreRequest } from "../../src/Inspector.ts"
import {
  assertFails,
  assertInfo,
  bury,
  bytes,
  done,
  listAll,
  release,
  type SuiteOptions,
  take,
  takeMany,
  type Test,
  text,
  texts,
  uniqueQueue
} from "./Harness.ts"

const listing = (test: Test) => {
  test("list: each state in the order in which its jobs will be served, page by page", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      for (const body of ["b1", "b2", "b3", "r1", "r2"]) yield* h.put(body)
      const [b1, b2, b3, r1, r2] = yield* takeMany(consumer, 5)
      for (const lease of [b2, b1, b3]) yield* bury(consumer, lease!)
      yield* h.put("d2", { delay: "200 seconds" })
      yield* h.put("d1", { delay: "100 seconds", priority: 5000 })
      for (const [body, priority] of [["second", 7], ["third", 7], ["first", 5], ["last", 9]] as const) {
        yield* h.put(body, { priority })
      }
      for (const limit of [1, 2, 3, 1000]) {
        assert.deepStrictEqual(texts(yield* listAll(h, "buried", limit)), ["b2", "b1", "b3"])
        assert.deepStrictEqual(texts(yield* listAll(h, "delayed", limit)), ["d1", "d2"])
        assert.deepStrictEqual(texts(yield* listAll(h, "ready", limit)), ["first", "second", "third", "last"])
        assert.sameMembers(texts(yield* listAll(h, "reserved", limit)), ["r1", "r2"])
      }
      for (const lease of [r1, r2]) yield* done(consumer, lease!)
    }))

  test("list: shows the figures of statsJob, and the body", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      yield* h.put("a", { delay: "100 seconds", priority: 3, ttr: "7 seconds" })
      yield* h.put("b")
      yield* bury(consumer, yield* take(consumer), "no good")
      for (const state of ["delayed", "buried"] as const) {
        const [job] = (yield* h.inspector.list(h.queue, { state })).jobs
        const { age: _, timeLeft: __, ...stats } = yield* h.inspector.statsJob(job!.id)
        const { age, body, finishedAt, timeLeft, ...listed } = job!
        assert.deepStrictEqual(listed, stats)
        assert.isUndefined(finishedAt)
        assert.strictEqual(text({ body }), state === "delayed" ? "a" : "b")
        assert.isBelow(Duration.toSeconds(age), 20)
        assert.isAtMost(Duration.toSeconds(timeLeft), 100)
      }
      assert.strictEqual((yield* h.inspector.list(h.queue, { state: "buried" })).jobs[0]!.reason, "no good")
    }))

  test("list: a job that stays is listed exactly once, while any number of others come and go between two pages", (h) =>
    Effect.gen(function*() {
      const stay: Array<string> = []
      for (let i = 0; i < 12; i++) {
        yield* h.put(`stays ${i}`, { priority: i % 3 })
        stay.push(`stays ${i}`)
      }
      const goes: Array<JobId> = []
      for (let i = 0; i < 12; i++) goes.push(yield* h.put(`goes ${i}`, { priority: i % 3 }))
      let n = 0
      const comeAndGo = Effect.gen(function*() {
        const id = goes.pop()
        if (id === undefined) return
        yield* h.inspector.delete(id)
        yield* h.put(`comes ${n}`, { priority: n++ % 3 })
      })
      const seen = texts(yield* listAll(h, "ready", 2, comeAndGo))
      assert.sameMembers(seen.filter((body) => body.startsWith("stays")), stay)
      assert.strictEqual(new Set(seen).size, seen.length)
    }))

  test("list: a queue that does not exist has no jobs", (h) =>
    Effect.gen(function*() {
      for (const state of ["ready", "done"] as const) {
        assert.deepStrictEqual(yield* h.inspector.list(h.queue, { state }), { jobs: [], next: undefined })
      }
    }))

  test("list: refuses limits out of range, and pages of another list", (h) =>
    Effect.gen(function*() {
      for (let i = 0; i < 2; i++) yield* h.put("a")
      for (const limit of [0, -1, 1001, 1.5, NaN]) {
        yield* assertFails(h.inspector.list(h.queue, { state: "ready", limit }), "OptionInvalid")
      }
      const { next } = yield* h.inspector.list(h.queue, { state: "ready", limit: 1 })
      yield* assertFails(h.inspector.list(h.queue, { state: "buried", after: next }), "OptionInvalid")
      yield* assertFails(h.inspector.list(h.queue, { state: "ready", after: "made up" }), "OptionInvalid")
      yield* assertFails(h.inspector.list("not a queue", { state: "ready" }), "QueueNameInvalid")
    }))
}

const burying = (test: Test) => {
  test("buryJob: buries ready and delayed jobs, and no others", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const held = yield* h.put("held")
      const lease = yield* take(consumer)
      const ready = yield* h.put("ready", { priority: 7, ttr: "9 seconds" })
      const delayed = yield* h.put("delayed", { delay: "100 seconds" })
      for (const id of [ready, delayed]) {
        yield* h.inspector.buryJob(id, "not now")
        const { buries, abandoned, state } = yield* h.inspector.statsJob(id)
        assert.deepStrictEqual({ buries, abandoned, state }, { buries: 1, abandoned: 0, state: "buried" })
        yield* assertFails(h.inspector.buryJob(id, "again"), "NotFound")
      }
      const { priority, ttr } = yield* h.inspector.statsJob(ready)
      assert.deepStrictEqual({ priority, ttr: Duration.toSeconds(ttr) }, { priority: 7, ttr: 9 })
      yield* assertFails(h.inspector.buryJob(held, "held"), "NotFound")
      yield* done(consumer, lease)
      yield* assertFails(h.inspector.buryJob(held, "gone"), "NotFound")
      yield* assertFails(h.inspector.buryJob("not an id" as JobId, "none"), "NotFound")
      assert.include(yield* h.stats(), { ready: 0, delayed: 0, reserved: 0, buried: 2 })
      assert.strictEqual(text(Option.getOrThrow(yield* h.inspector.peekNext(h.queue, "buried"))), "ready")
    }))

  test("buryJob: counts as an attempt, and a kick allows one more", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      yield* release(consumer, yield* take(consumer))
      yield* h.inspector.buryJob(id, "not now")
      yield* h.inspector.kickJob(id)
      const lease = yield* take(consumer)
      yield* assertInfo(consumer, lease, { attempt: 2, abandoned: 0 })
      yield* release(consumer, lease)
      yield* assertInfo(consumer, yield* take(consumer), { attempt: 3, abandoned: 0 })
    }))
}

const moving = (test: Test) => {
  test("moveJob: puts a copy on another queue and deletes the job, in any state but reserved", (h) =>
    Effect.gen(function*() {
      const other = uniqueQueue()
      const consumer = yield* h.consumer()
      yield* h.put("buried", { priority: 3, ttr: "9 seconds" })
      yield* release(consumer, yield* take(consumer))
      const lease = yield* take(consumer)
      yield* bury(consumer, lease)
      const ids = [lease.id, yield* h.put("ready"), yield* h.put("delayed", { delay: "100 seconds" })]
      const moved: Array<JobId> = []
      for (const id of ids) moved.push(yield* h.inspector.moveJob(id, other))
      assert.include(yield* h.stats(), { ready: 0, delayed: 0, reserved: 0, buried: 0 })
      assert.include(yield* h.stats(other), { ready: 3, delayed: 0, reserved: 0, buried: 0, total: 3 })
      const { priority, ttr, ...stats } = yield* h.inspector.statsJob(moved[0]!)
      assert.include(stats, { queue: other, state: "ready", attempt: 0, abandoned: 0, buries: 0 })
      assert.deepStrictEqual({ priority, ttr: Duration.toSeconds(ttr) }, { priority: 3, ttr: 9 })
      const there = yield* h.consumer(other)
      const leases = yield* takeMany(there, 3)
      assert.deepStrictEqual(leases.map(text), ["buried", "ready", "delayed"])
      assert.deepStrictEqual(leases.map(({ id }) => id), moved)
      yield* assertInfo(there, leases[0]!, { attempt: 1, abandoned: 0 })
    }))

  test("moveJob: refuses a reserved job, a missing job, and an invalid queue name", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      yield* assertFails(h.inspector.moveJob(id, "not a queue"), "QueueNameInvalid")
      const lease = yield* take(consumer)
      yield* assertFails(h.inspector.moveJob(id, uniqueQueue()), "NotFound")
      yield* done(consumer, lease)
      yield* assertFails(h.inspector.moveJob(id, uniqueQueue()), "NotFound")
      yield* assertFails(h.inspector.moveJob("not an id" as JobId, uniqueQueue()), "NotFound")
    }))

  test("moveJob: moves a job to its own queue", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("a", { delay: "100 seconds" })
      const moved = yield* h.inspector.moveJob(id, h.queue)
      assert.include(yield* h.stats(), { ready: 1, delayed: 0 })
      assert.strictEqual((yield* h.inspector.statsJob(moved)).state, "ready")
    }))

  test("moveJob: wakes a waiting consumer", (h) =>
    Effect.gen(function*() {
      const other = uniqueQueue()
      const id = yield* h.put("a", { queue: other, delay: "100 seconds" })
      const fiber = yield* h.reserveWaiting(yield* h.consumer(), 1)
      const moved = yield* h.inspector.moveJob(id, h.queue)
      assert.strictEqual((yield* Fiber.join(fiber))[0].id, moved)
    }))
}

const failing = (test: Test) => {
  test("lastFailure: is the failure of the last failed attempt, until the next one fails", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const id = yield* h.put("a")
      const failureOf = Effect.map(h.inspector.statsJob(id), ({ lastFailure }) => lastFailure)
      assert.isUndefined(yield* failureOf)
      yield* release(consumer, yield* take(consumer), { failure: { tag: "Timeout", message: "too slow" } })
      const first = yield* failureOf
      assert.deepInclude(first, { tag: "Timeout", message: "too slow" })
      assert.isTrue(Number.isInteger(first!.at))
      yield* release(consumer, yield* take(consumer))
      assert.deepStrictEqual(yield* failureOf, first)
      yield* bury(consumer, yield* take(consumer), "the last", { tag: "Refused", message: "" })
      assert.deepInclude(yield* failureOf, { tag: "Refused", message: "" })
      yield* h.inspector.kickJob(id)
      yield* h.inspector.buryJob(id, "by hand")
      assert.deepInclude(yield* failureOf, { tag: "Refused", message: "" })
      assert.strictEqual((yield* h.inspector.statsJob(id)).reason, "by hand")
    }))
}

const restoring = (test: Test, features: Features) => {
  const request = (body: string, options: Partial<RestoreRequest> = {}): RestoreRequest => ({
    ...Result.getOrThrow(putRequest(bytes(body))),
    isBuried: false,
    attempts: 0,
    abandoned: 0,
    buries: 0,
    reason: undefined,
    lastFailure: undefined,
    ...options
  })
  const idsOf = (results: ReadonlyArray<Result.Result<JobId, BrokerError>>) => results.map(Result.getOrThrow)

  test("restore: puts ready, delayed and buried jobs, in their order", (h) =>
    Effect.gen(function*() {
      const buried = features.canBury
        ? ["b1", "b2", "b3"].map((body) => request(body, { isBuried: true, buries: 1 }))
        : []
      const requests = [
        request("r2"),
        request("d", { delay: Duration.seconds(100), priority: 7 }),
        request("r1", { priority: 3, ttr: Duration.seconds(9) }),
        ...buried
      ]
      const ids = idsOf(yield* h.inspector.restore(h.queue, requests))
      assert.strictEqual(new Set(ids).size, requests.length)
      assert.include(yield* h.stats(), { ready: 2, delayed: 1, reserved: 0, buried: buried.length })
      const delayed = yield* h.inspector.statsJob(ids[1]!)
      assert.include(delayed, { state: "delayed", priority: 7, queue: h.queue })
      assert.isAbove(Duration.toSeconds(delayed.timeLeft), 90)
      assert.isAtMost(Duration.toSeconds(delayed.timeLeft), 100)
      const consumer = yield* h.consumer()
      const leases = yield* takeMany(consumer, 2)
      assert.deepStrictEqual(leases.map(text), ["r1", "r2"])
      assert.strictEqual(Duration.toSeconds((yield* h.inspector.statsJob(leases[0]!.id)).ttr), 9)
      for (const lease of leases) yield* done(consumer, lease)
      if (!features.canBury) return
      assert.strictEqual(yield* h.inspector.kick(h.queue, 2), 2)
      assert.deepStrictEqual((yield* takeMany(consumer, 2)).map(text), ["b1", "b2"])
    }))

  test("restore: wakes a worker that waits", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const fiber = yield* h.reserveWaiting(consumer, 1)
      yield* h.inspector.restore(h.queue, [request("a")])
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(text), ["a"])
    }))

  test(`restore: ${features.keepsAttempts ? "keeps" : "forgets"} how often a job was attempted`, (h) =>
    Effect.gen(function*() {
      const was = { attempts: 4, abandoned: 2, buries: 1 }
      yield* h.inspector.restore(h.queue, [request("a", was)])
      const consumer = yield* h.consumer()
      const lease = yield* take(consumer)
      yield* assertInfo(
        consumer,
        lease,
        features.keepsAttempts ? { attempt: 5, abandoned: 2 } : { attempt: 1, abandoned: 0 }
      )
      assert.strictEqual((yield* h.inspector.statsJob(lease.id)).buries, features.keepsAttempts ? 1 : 0)
    }))

  test(`restore: ${features.keepsReasons ? "keeps" : "forgets"} why a job failed`, (h) =>
    Effect.gen(function*() {
      const was = { reason: "not yet", lastFailure: { tag: "Timeout", message: "too slow", at: 1_700_000_000_123 } }
      const [id] = idsOf(yield* h.inspector.restore(h.queue, [request("a", was)]))
      const { lastFailure, reason } = yield* h.inspector.statsJob(id!)
      assert.deepStrictEqual(
        { lastFailure, reason },
        features.keepsReasons ? was : { lastFailure: undefined, reason: undefined }
      )
    }))

  test("restore: a job that is too big fails alone, and so does a bad name", (h) =>
    Effect.gen(function*() {
      const { maxJobSize } = yield* h.inspector.stats
      const big = request("", { body: new Uint8Array(maxJobSize + 1) })
      const results = yield* h.inspector.restore(h.queue, [request("a"), big, request("b")])
      assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true])
      assert.strictEqual(Option.getOrThrow(Result.getFailure(results[1]!)).reason._tag, "JobTooBig")
      assert.include(yield* h.stats(), { ready: 2 })
      assert.deepStrictEqual(yield* h.inspector.restore(h.queue, []), [])
      const [bad] = yield* h.inspector.restore("no name", [request("a")])
      assert.strictEqual(Option.getOrThrow(Result.getFailure(bad!)).reason._tag, "QueueNameInvalid")
    }))

  test(`restore: ${features.canBury ? "a buried job keeps its body" : "refuses a buried job"}, however large`, (h) =>
    Effect.gen(function*() {
      const body = new Uint8Array(9000).fill(7)
      const [result] = yield* h.inspector.restore(h.queue, [request("", { body, isBuried: true })])
      if (!features.canBury) return yield* assertFails(Effect.fromResult(result!), "Unsupported")
      const { body: kept } = Option.getOrThrow(yield* h.inspector.peek(Result.getOrThrow(result!)))
      assert.isTrue(Buffer.from(kept).equals(body))
    }))
}

/** Registers the tests of the broker's features. `Features.ts` tests that it refuses the rest. */
export const managing = (test: Test, { features }: SuiteOptions): void => {
  if (features.canList) listing(test)
  if (features.keepsReasons) failing(test)
  if (features.canBury) burying(test)
  if (features.canMove) moving(test)
  restoring(test, features)
}
