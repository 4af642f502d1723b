/** The deliveries of a worker, without a broker. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type { JobId, Lease } from "../../src/Broker.ts"
import { Worker } from "../../src/index.ts"
import { Attempts } from "../../src/worker/attempts.ts"
import * as Settings from "../../src/worker/options.ts"
import { Count } from "./harness.ts"

const leaseOf = (id: number): Lease => ({
  id: String(id) as JobId,
  queue: "q",
  body: new Uint8Array(),
  info: undefined
})

/** A handler that never ends. */
const run = () => Effect.runFork(Effect.never)

/** Deliveries for one handler. */
const make = Effect.gen(function*() {
  const handler = Worker.handler(Count, () => Effect.never)
  const settings = yield* Settings.make({ concurrency: 1, prefetch: 2 }, [handler])
  const attempts = new Attempts(settings, { now: () => 0, wallNow: () => 0 }, {
    startLimit: () => undefined,
    run
  })
  const decoded = {
    job: "count",
    id: "id",
    publishedAt: undefined,
    expiresAt: undefined,
    traceparent: undefined,
    next: { handler, payload: 1 }
  }
  return { attempts, deliver: (id: number) => attempts.make(leaseOf(id), decoded, 0) }
})

/** Takes those that ended, for their settlement. */
const next = (attempts: Attempts) =>
  Effect.tap(attempts.nextEnded, (ended) => Effect.sync(() => attempts.settling(ended)))

describe("the deliveries of a worker", () => {
  it.effect("a job that loses its lease while it waits leaves its place, any number of times", () =>
    Effect.gen(function*() {
      const { attempts, deliver } = yield* make
      attempts.admit([deliver(0)])
      assert.strictEqual(attempts.running, 1)
      for (let round = 1; round <= 100; round++) {
        const waiting = [deliver(2 * round), deliver(2 * round + 1)]
        attempts.admit(waiting)
        assert.strictEqual(attempts.waiting, 2)
        assert.strictEqual(attempts.capacity, 0)
        attempts.lose(waiting.map(({ lease }) => lease))
        assert.strictEqual(attempts.waiting, 0)
        attempts.remove(yield* next(attempts), [])
        assert.strictEqual(attempts.capacity, 2)
      }
    }))

  it.effect("waiting jobs end in order when the worker stops", () =>
    Effect.gen(function*() {
      const { attempts, deliver } = yield* make
      attempts.admit([deliver(0), deliver(1), deliver(2)])
      attempts.endWaiting({ _tag: "Requeue" })
      assert.deepStrictEqual((yield* next(attempts)).map(({ lease }) => lease.id), ["1", "2"])
      assert.strictEqual(attempts.waiting, 0)
      assert.strictEqual(attempts.running, 1)
    }))

  it.effect("those that ended come again until their settlement starts, and those that end meanwhile come next", () =>
    Effect.gen(function*() {
      const { attempts, deliver } = yield* make
      const ids = Effect.map(attempts.nextEnded, (ended) => ended.map(({ lease }) => lease.id))
      attempts.admit([deliver(0), deliver(1), deliver(2)])
      attempts.endWaiting({ _tag: "Requeue" })
      assert.deepStrictEqual(yield* ids, ["1", "2"])
      const ended = Array.from(yield* attempts.nextEnded)
      attempts.admit([deliver(3)])
      attempts.endWaiting({ _tag: "Requeue" })
      attempts.settling(ended)
      assert.deepStrictEqual(yield* ids, ["3"])
      attempts.settleAgain(ended)
      yield* Effect.forkChild(TestClock.adjust("1 second"))
      const again = yield* next(attempts)
      assert.deepStrictEqual(again.map(({ lease }) => lease.id), ["1", "2", "3"])
      assert.isTrue(again.every(({ isSettling }) => isSettling))
    }))
})
