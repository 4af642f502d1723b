/** The rules about puts, and the order of deliveries. */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type PutOptions, type PutRequest, putRequest } from "../../src/Broker.ts"
import { assertFails, bytes, reasonOf, take, takeMany, type Test, text } from "./Harness.ts"

const request = (body: Uint8Array, options: PutOptions = {}): PutRequest => Result.getOrThrow(putRequest(body, options))

const badQueues = ["", "a b", "a\r\ndelete 1", "-a", "ä", "a:b", "a".repeat(201)]

const goodQueues = ["a".repeat(200), "+/;.$_()-AZaz09", "123", "true", "1e5", "a/b/c"]

/** Registers the tests. */
export const putting = (test: Test): void => {
  test("put: a job is served unchanged, by the queue that it was put on", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("hello")
      const lease = yield* take(yield* h.consumer())
      assert.strictEqual(lease.id, id)
      assert.strictEqual(lease.queue, h.queue)
      assert.strictEqual(text(lease), "hello")
    }))

  test("put: ids are unique", (h) =>
    Effect.gen(function*() {
      const ids = yield* Effect.replicateEffect(h.put("x"), 20)
      assert.strictEqual(new Set(ids).size, 20)
    }))

  test("put: jobs of one priority are served oldest first", (h) =>
    Effect.gen(function*() {
      for (const body of ["a", "b", "c", "d"]) yield* h.put(body)
      const leases = yield* takeMany(yield* h.consumer(), 4)
      assert.deepStrictEqual(leases.map(text), ["a", "b", "c", "d"])
    }))

  test("put: jobs of the lowest priority number are served first, the oldest first among them", (h) =>
    Effect.gen(function*() {
      yield* h.put("last", { priority: 4294967295 })
      yield* h.put("default")
      yield* h.put("b", { priority: 10 })
      yield* h.put("first", { priority: 0 })
      yield* h.put("c", { priority: 10 })
      const leases = yield* takeMany(yield* h.consumer(), 5)
      assert.deepStrictEqual(leases.map(text), ["first", "b", "c", "default", "last"])
    }))

  test("put: a delayed job is served after its delay, not before", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const began = yield* Clock.currentTimeMillis
      yield* h.put("later", { delay: "2 seconds" })
      assert.include(yield* h.stats(), { ready: 0, delayed: 1 })
      const fiber = yield* h.reserveWaiting(consumer, 1)
      const isDelayed = Effect.map(h.stats(), (stats) => assert.include(stats, { ready: 0, delayed: 1 }))
      assert.deepStrictEqual((yield* h.endOf(fiber, began, isDelayed)).map(text), ["later"])
    }))

  test("put: a delay below the resolution is rounded up, not down", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("soon", { delay: "1 millis" })
      if (!h.isFine) assert.strictEqual((yield* h.inspector.statsJob(id)).state, "delayed")
      yield* h.pass("1 millis")
      assert.strictEqual(text(yield* take(yield* h.consumer())), "soon")
    }))

  test("put: a delayed job keeps its priority and its age", (h) =>
    Effect.gen(function*() {
      yield* h.put("older", { delay: "1 second" })
      yield* h.put("younger")
      yield* h.put("urgent", { delay: "1 second", priority: 1 })
      yield* h.pass("1 second")
      yield* h.until(h.stats(), (stats) => stats.ready === 3)
      const leases = yield* takeMany(yield* h.consumer(), 3)
      assert.deepStrictEqual(leases.map(text), ["urgent", "older", "younger"])
    }))

  test("put: a body can have any bytes", (h) =>
    Effect.gen(function*() {
      const consumer = yield* h.consumer()
      const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i)
      const bodies = [
        new Uint8Array(0),
        everyByte,
        bytes("\r\n"),
        bytes("ends with\r\n"),
        bytes("RESERVED 9 5\r\nhello\r\nDELETED\r\n"),
        Uint8Array.of(0, 0xff, 0, 0xff),
        bytes("ä €  😀")
      ]
      for (const body of bodies) yield* h.broker.put(h.queue, request(body))
      const leases = yield* takeMany(consumer, bodies.length)
      for (const [i, lease] of leases.entries()) assert.deepStrictEqual(Array.from(lease.body), Array.from(bodies[i]!))
    }))

  test("put: of a view of a larger buffer only the view is put", (h) =>
    Effect.gen(function*() {
      yield* h.broker.put(h.queue, request(bytes("before-body-after").subarray(7, 11)))
      assert.strictEqual(text(yield* take(yield* h.consumer())), "body")
    }))

  test("put: a later change of the caller's buffer does not change the job", (h) =>
    Effect.gen(function*() {
      const body = bytes("original")
      yield* h.broker.put(h.queue, request(body))
      body.fill(0)
      assert.strictEqual(text(yield* take(yield* h.consumer())), "original")
    }))

  test("put: a body can be as large as the limit, not larger", (h) =>
    Effect.gen(function*() {
      const { maxJobSize } = yield* h.inspector.stats
      yield* h.broker.put(h.queue, request(new Uint8Array(maxJobSize).fill(7)))
      const reason = yield* reasonOf(h.broker.put(h.queue, request(new Uint8Array(maxJobSize + 1))))
      if (reason._tag !== "JobTooBig") return assert.fail(reason._tag)
      assert.deepInclude({ ...reason }, { queue: h.queue, size: maxJobSize + 1, limit: maxJobSize })
      const lease = yield* take(yield* h.consumer())
      assert.strictEqual(lease.body.length, maxJobSize)
      assert.isTrue(lease.body.every((byte) => byte === 7))
      assert.strictEqual((yield* h.stats()).total, 1)
    }))

  test("putAll: returns for each body, in order, whether it was accepted", (h) =>
    Effect.gen(function*() {
      const { maxJobSize } = yield* h.inspector.stats
      const results = yield* h.broker.putAll(h.queue, [
        request(bytes("a")),
        request(new Uint8Array(maxJobSize + 1)),
        request(bytes("b"), { priority: 1 }),
        request(bytes("c"))
      ])
      assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true, true])
      assert.strictEqual(Result.isFailure(results[1]!) ? results[1].failure.reason._tag : "", "JobTooBig")
      const leases = yield* takeMany(yield* h.consumer(), 3)
      assert.deepStrictEqual(leases.map(text), ["b", "a", "c"])
      const ids = [results[2]!, results[0]!, results[3]!].map(Result.getOrThrow)
      assert.deepStrictEqual(leases.map((lease) => lease.id), ids)
    }))

  test("putAll: each job has its own priority, delay and ttr", (h) =>
    Effect.gen(function*() {
      const results = yield* h.broker.putAll(h.queue, [
        request(bytes("a"), { priority: 7, ttr: "30 seconds" }),
        request(bytes("b"), { priority: 9, delay: "1 hour", ttr: "30 seconds" }),
        request(bytes("c"), { priority: 9, ttr: "40 seconds" })
      ])
      const stats = yield* Effect.forEach(results, (id) => h.inspector.statsJob(Result.getOrThrow(id)))
      assert.deepStrictEqual(
        stats.map(({ priority, state, ttr }) => [priority, state, Duration.toSeconds(ttr)]),
        [[7, "ready", 30], [9, "delayed", 30], [9, "ready", 40]]
      )
    }))

  test("putAll: no bodies have no results", (h) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* h.broker.putAll(h.queue, []), [])
    }))

  test("putAll: an invalid queue name refuses each body", (h) =>
    Effect.gen(function*() {
      const results = yield* h.broker.putAll("not a queue", [request(bytes("a")), request(bytes("b"))])
      assert.deepStrictEqual(
        results.map((result) => Result.isFailure(result) ? result.failure.reason._tag : "accepted"),
        ["QueueNameInvalid", "QueueNameInvalid"]
      )
    }))

  for (const queue of badQueues) {
    test(`queue names: ${JSON.stringify(queue.slice(0, 20))} (${queue.length}) is refused by every operation`, (h) =>
      Effect.gen(function*() {
        const consume = Effect.scoped(h.consumer(queue))
        const consumeSecond = Effect.scoped(h.consumer(h.queue, queue))
        yield* assertFails(h.put("x", { queue }), "QueueNameInvalid")
        yield* assertFails(consume, "QueueNameInvalid")
        yield* assertFails(consumeSecond, "QueueNameInvalid")
        yield* assertFails(h.broker.idleWorkers(queue), "QueueNameInvalid")
        yield* assertFails(h.inspector.peekNext(queue, "ready"), "QueueNameInvalid")
        yield* assertFails(h.inspector.kick(queue, 1), "QueueNameInvalid")
        yield* assertFails(h.inspector.pause(queue, request(bytes("")).ttr), "QueueNameInvalid")
        yield* assertFails(h.inspector.resume(queue), "QueueNameInvalid")
        yield* assertFails(h.inspector.statsQueue(queue), "QueueNameInvalid")
      }))
  }

  for (const queue of goodQueues) {
    test(`queue names: ${queue.slice(0, 20)} (${queue.length}) is valid`, (h) =>
      Effect.gen(function*() {
        const consumer = yield* h.consumer(queue)
        const id = yield* h.put("x", { queue, priority: 0 })
        const lease = yield* take(consumer)
        assert.strictEqual(lease.queue, queue)
        assert.strictEqual((yield* h.inspector.statsJob(id)).queue, queue)
        assert.strictEqual((yield* h.stats(queue)).queue, queue)
        assert.include(yield* h.inspector.queues, queue)
        yield* consumer.settle([{ _tag: "Delete", lease }])
      }))
  }

  const badOptions: ReadonlyArray<readonly [string, PutOptions]> = [
    ["priority", { priority: -1 }],
    ["priority", { priority: 1.5 }],
    ["priority", { priority: NaN }],
    ["priority", { priority: 4294967296 }],
    ["priority", { priority: Infinity }],
    ["delay", { delay: -1 }],
    ["delay", { delay: "4294967296 seconds" }],
    ["delay", { delay: Infinity }],
    ["ttr", { ttr: 0 }],
    ["ttr", { ttr: -1000 }],
    ["ttr", { ttr: "4294967296 seconds" }]
  ]
  for (const [option, options] of badOptions) {
    test(`options: ${JSON.stringify(options)} is refused, and nothing is put`, (h) =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(h.put("x", options))
        if (reason._tag !== "OptionInvalid") return assert.fail(reason._tag)
        assert.strictEqual(reason.option, option)
        yield* assertFails(h.stats(), "NotFound")
      }))
  }

  test("options: the limits themselves are allowed", (h) =>
    Effect.gen(function*() {
      const id = yield* h.put("x", { priority: 4294967295, delay: "4294967295 seconds", ttr: "4294967295 seconds" })
      assert.include(yield* h.inspector.statsJob(id), { state: "delayed", priority: 4294967295 })
      yield* h.inspector.delete(id)
    }))
}
